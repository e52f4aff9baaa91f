"""Rows as people hold them become a table with the columns of the run."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from brainnet.data.preprocessing import ColumnEncoder, TableEncoder
from brainnet.errors import InputError
from brainnet.inference.inputs import (
    build_frame,
    check_complete,
    find_unseen_categories,
    nameless,
    note_never_seen,
)

TABLE = [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    "rows",
    [
        TABLE,
        np.array(TABLE),
        torch.tensor(TABLE, requires_grad=True),
        {"b": [2.0, 4.0], "a": [1.0, 3.0], "more": ["x", "y"]},
        {"b": torch.tensor([2.0, 4.0]), "a": np.array([1.0, 3.0])},
        [{"b": 2.0, "a": 1.0}, {"a": 3.0, "b": 4.0}],
        pd.DataFrame({"more": [0, 0], "b": [2.0, 4.0], "a": [1.0, 3.0]}),
    ],
    ids=["list", "array", "tensor", "columns", "mixed", "records", "frame"],
)
def test_columns_go_by_name_and_arrays_by_position(rows):
    found = build_frame(rows, ["a", "b"])
    assert list(found.columns) == ["a", "b"]
    assert found.to_numpy().tolist() == TABLE


def test_columns_called_by_numbers_are_found_by_their_names():
    found = build_frame(pd.DataFrame(TABLE, columns=[1, 0]), ["0", "1"])
    assert found.to_numpy().tolist() == [[2.0, 1.0], [4.0, 3.0]]


def test_a_run_on_arrays_takes_as_many_columns_by_position():
    assert nameless(["input_0", "input_1"])
    found = build_frame(pd.DataFrame(TABLE, columns=["x", "y"]), ["input_0", "input_1"])
    assert found.to_numpy().tolist() == TABLE
    with pytest.raises(InputError, match="lack the columns input_0, input_1"):
        build_frame(pd.DataFrame(TABLE, columns=["x", "y"])[["x"]], ["input_0", "input_1"])


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"a": [1]}, "lack the column b, which the network learnt from; they have a"),
        ([1.0, 2.0], r"\[row\]"),
        (3.0, r"got \(\)"),
        ([[1.0], [2.0, 3.0]], "NumPy cannot read"),
        ({"a": [1, 2], "b": [1]}, r"columns of one length.*got a 2, b 1 \("),
        ({"a": [[1], [1, 2]], "b": [1, 2]}, "columns of one length"),
        ([{"a": 1, "b": 2}, 3], "all be mappings where the first is one; one is int"),
        (pd.DataFrame([[1, 2, 3]], columns=["a", "b", "b"]), "2 columns that are called 'b'"),
        (pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 0), ("b", 0)])),
         r"names of 2 levels; the network learnt from a, b\."),
    ],
)  # fmt: skip
def test_what_is_no_such_table_is_told(rows, said):
    with pytest.raises(InputError, match=said):
        build_frame(rows, ["a", "b"])


def test_a_missing_number_is_named_by_its_raw_column_and_row():
    columns = TableEncoder((ColumnEncoder("c", "category", ("x", "y")), ColumnEncoder("n")))
    measured = np.array([[1, 0, 5], [0, 1, np.nan], [0, 1, np.nan]], np.float32)
    check_complete(measured[:1], columns, pd.RangeIndex(1))
    with pytest.raises(InputError, match=r"column 'n' is empty in row 12, .*\(2 of these 3"):
        check_complete(measured, columns, pd.RangeIndex(10, 13))


def test_words_never_seen_are_counted_by_column():
    many = tuple(map(str, range(40)))
    columns = TableEncoder(
        (
            ColumnEncoder("n"),
            ColumnEncoder("few", "category", ("x", "y")),
            ColumnEncoder("many", "category", many),
        )
    )
    measured = torch.tensor([[0.0, 1, 0, 3], [0, 0, 0, 0], [5, 0, 1, 0], [5, 0, 0, 40]])
    assert find_unseen_categories(columns, measured) == {"few": 2, "many": 2}


def test_words_never_seen_are_told(caplog):
    columns = TableEncoder((ColumnEncoder("few", "category", ("x", "y")),))
    note_never_seen(columns, torch.tensor([[0.0, 1]]))
    assert not caplog.text
    note_never_seen(columns, torch.tensor([[0.0, 1], [0, 0]]))
    assert "taken for none of those it saw: few in 1 row." in caplog.text


@pytest.mark.parametrize("rows", ["rows.csv", Path("rows.csv")])
def test_the_name_of_a_file_is_met_with_how_to_read_it(rows):
    with pytest.raises(InputError, match=r"pandas\.read_csv\('rows\.csv'\)"):
        build_frame(rows, ["a", "b"])


def test_a_series_is_met_with_how_to_take_a_row_of_a_table():
    frame = pd.DataFrame({"a": [1.0], "b": ["x"]})
    with pytest.raises(InputError, match=r"frame\.iloc\[\[0\]\]"):
        build_frame(frame.iloc[0], ["a", "b"])
