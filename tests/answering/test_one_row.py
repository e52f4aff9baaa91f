"""The row that is asked about is found in its file, and in whatever somebody holds it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from brainnet.data.preprocessing import TableEncoder
from brainnet.errors import InputError
from brainnet.inference.inputs import alone, row_of

COLUMNS = TableEncoder.from_names(["age", "size"])


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rows.csv"
    pd.DataFrame({"age": range(70_000), "size": 2, "grade": "01"}).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("number", [0, 65_535, 65_536, 69_999])
def test_a_row_is_found_however_far_down_it_stands(file, number):
    row = row_of(file, number, COLUMNS, ["grade"], classes=True)
    assert row["age"].tolist() == [number]
    assert row["grade"].tolist() == ["01"]  # a class in words stays as it is written


def test_a_row_that_is_not_there_is_refused_with_the_range(file):
    with pytest.raises(InputError, match="has rows 0 to 69,999; got 70000"):
        row_of(file, 70_000, COLUMNS)
    with pytest.raises(InputError, match="counted from 0; got -1"):
        row_of(file, -1, COLUMNS)


def test_a_row_without_names_goes_by_position(tmp_path):
    (tmp_path / "rows.csv").write_text("7,1.5\n8,2.5\n")
    with pytest.raises(InputError, match=r"If it is a row, put a line above .*: age, size\.$"):
        row_of(tmp_path / "rows.csv", 1, COLUMNS)
    row = row_of(tmp_path / "rows.csv", 1, COLUMNS, ["grade"], header=False)
    assert row.to_dict("list") == {"age": [8], "size": [2.5]}
    (tmp_path / "named.csv").write_text("a,b\n7,1.5\n8,2.5\n")
    numbered = TableEncoder.from_names(["input_0", "input_1"])
    row = row_of(tmp_path / "named.csv", 0, numbered)
    assert row.to_dict("list") == {"input_0": [7], "input_1": [1.5]}


def test_a_row_is_read_by_the_signs_of_its_file_whatever_others_hold(tmp_path):
    learnt = replace(COLUMNS, decimal=".")
    lines = "age;size;price\n1,500;2,250;3,125\ntall;2,250;3,125\n"
    (tmp_path / "rows.csv").write_text(lines)
    row = row_of(tmp_path / "rows.csv", 0, learnt, ["price"])
    assert row.to_dict("list") == {"age": [1.5], "size": [2.25], "price": [3.125]}
    row = row_of(tmp_path / "rows.csv", 0, learnt, ["price"], classes=True)
    assert row["price"].tolist() == ["3,125"]


def test_plain_values_become_a_table_of_one_row():
    assert alone([1.0, 2.0]) == [[1.0, 2.0]]
    assert alone([[1.0, 2.0]]) == [[1.0, 2.0]]
    assert np.shape(alone(np.zeros(3))) == (1, 3)
    assert alone(torch.zeros(3))[0].shape == (3,)
    assert alone({"age": 1.0}) == {"age": 1.0}
    series = pd.Series([1.0, 2.0], index=["age", "size"])
    assert alone(series).columns.tolist() == ["age", "size"]
    words = alone([1, "red"])
    assert words[0].tolist() == [1, "red"]
