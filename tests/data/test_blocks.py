"""Rows come out as they went in, and their memory goes back to the system as they do."""

import numpy as np
import pytest

from brainnet.data import table_files as blocks
from brainnet.data.table_files import Blocks, empty_table


@pytest.mark.parametrize("parts", [[5], [3, 4, 1], [0, 7], [1] * 9])
def test_rows_come_out_in_order(parts, monkeypatch):
    monkeypatch.setattr(blocks, "_BLOCK_BYTES", 4 * 2 * 3)  # three rows of two columns
    monkeypatch.setattr(blocks, "_ROWS_AT_ONCE", 2)
    rows = np.arange(2.0 * sum(parts)).reshape(-1, 2)
    grown, start = Blocks(2), 0
    for part in parts:
        grown.add(rows[start : start + part])
        start += part
    assert len(grown) == len(rows)
    taken = list(grown.take())
    assert max(map(len, taken)) <= 2
    assert np.array_equal(np.concatenate(taken), rows)
    assert len(grown) == 0
    assert list(grown.take()) == []


def test_it_may_be_filled_again():
    grown = Blocks(1)
    for value in (1.0, 2.0):
        grown.add(np.full((2, 1), value))
        assert np.concatenate(list(grown.take())).tolist() == [[value], [value]]


@pytest.mark.parametrize("shape", [(0, 3), (5, 0), (7, 2)])
def test_an_empty_table_is_zeros_to_write_into(shape):
    table = empty_table(*shape)
    assert table.dtype == np.float32
    assert np.array_equal(table, np.zeros(shape))
    table += 2
    assert (table == 2).all()
