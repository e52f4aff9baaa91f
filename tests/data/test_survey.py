"""What columns hold is found out from their cells, and what tells nothing is left out aloud."""

import logging

import numpy as np
import pandas as pd
import pytest

from brainnet.data.column_types import ColumnInference
from brainnet.errors import InputError

MANY = 60


def surveyed(frame, **options):
    """The columns of a frame that is read at once, and its inputs."""
    frame = pd.DataFrame(frame)
    survey = ColumnInference(frame, list(frame.columns), **options)
    found = survey.encode(frame)
    survey.count(found)
    columns, recoding = survey.finish()
    return columns, columns.expand(recoding.apply(found))


def kinds(frame, **options):
    return {column.name: column.kind for column in surveyed(frame, **options)[0].columns}


def cycle(*values):
    return [values[place % len(values)] for place in range(MANY)]


def test_kinds_follow_from_the_cells():
    frame = {
        "number": cycle("1.5", "2", ""),
        "price": cycle("$1,200", "$3,000.50"),
        "flag": cycle("yes", "No"),
        "colour": cycle("red", "green", "7"),
        "day": cycle("2024-01-05", "2024-02-05"),
        "half": cycle("yes", "no", ""),
        "typed": np.arange(MANY) / 3,
        "truth": cycle(True, False),
        "moment": pd.date_range("2024-01-01", periods=MANY, freq="7h"),
    }
    assert kinds(frame) == {
        "number": "number", "price": "number", "flag": "boolean", "colour": "category",
        "day": "date", "half": "category", "typed": "number", "truth": "boolean", "moment": "date",
    }  # fmt: skip
    assert kinds({"zip": cycle("01234", "99999")}, categories=["zip"]) == {"zip": "category"}


def test_inputs_are_those_that_the_columns_would_make():
    frame = pd.DataFrame(
        {
            "c": cycle("red", "", "blue"),
            "n": cycle("3", "1", "2"),
            "d": cycle("1.2.2024", "3.2.2024"),
        }
    )
    columns, inputs = surveyed(frame)
    assert np.array_equal(inputs, columns.apply(frame))
    assert columns.names[:4] == ("c=(missing)", "c=blue", "c=red", "n")
    assert inputs[:3, :4].tolist() == [[0, 0, 1, 3], [1, 0, 0, 1], [0, 1, 0, 2]]


def test_many_words_become_codes_in_order():
    words = [f"town {place % 40:02}" for place in range(400)]
    columns, inputs = surveyed({"town": words[::-1]})
    assert columns.embedded == {0: 41}
    assert inputs[:, 0].tolist() == [float(word[-2:]) + 1 for word in words[::-1]]


def test_a_slip_among_numbers_is_refused_with_its_row():
    with pytest.raises(InputError, match=r"column 'n' holds numbers, but not in row 60 \('tall'\)"):
        surveyed({"n": [*map(str, range(59)), "tall"]})


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["5"] * MANY, "is the same in every row"),
        (["red"] * MANY, "is the same in every row"),
        ([""] * MANY, "nothing stands in x"),
        ([f"person {place}" for place in range(MANY)], "60 different words in 60 rows"),
    ],
)
def test_what_tells_nothing_is_left_out_and_told(cells, said, caplog):
    with caplog.at_level(logging.WARNING):
        assert kinds({"x": cells, "n": cycle("1", "2")}) == {"n": "number"}
    assert said in caplog.text


def test_what_was_named_stays(caplog):
    with caplog.at_level(logging.WARNING):
        names = [f"person {place}" for place in range(MANY)]
        assert kinds({"x": names, "c": ["a"] * MANY}, chosen=True) == {
            "x": "category",
            "c": "category",
        }
    assert "It is kept, as you named it." in caplog.text


def test_many_columns_that_never_change_are_told_of_at_once(caplog):
    pixels = {f"pixel {place}": ["0"] * MANY for place in range(9)}
    with caplog.at_level(logging.WARNING):
        assert kinds(pixels | {"n": cycle("1", "2")}) == {"n": "number"}
    assert len(caplog.records) == 1
    assert "9 columns are the same in every row (pixel 0, pixel 1," in caplog.text


@pytest.mark.parametrize(
    ("name", "kept"),
    [("id", False), ("Unnamed: 0", False), ("row_id", True), ("x", True)],
)
def test_a_count_of_the_rows_is_left_out_by_its_name(name, kept, caplog):
    with caplog.at_level(logging.WARNING):
        found = kinds({name: list(map(str, range(5, MANY + 5))), "n": cycle("1", "2")})
    assert (name in found) == kept
    assert repr(name) in caplog.text


def test_nothing_left_is_an_error():
    with pytest.raises(InputError, match="no column is left to learn from"):
        surveyed({"x": ["a"] * MANY})


def test_numbers_that_float32_merges_are_not_called_the_same(caplog):
    seconds = 1_700_000_000 + np.arange(MANY) % 50
    columns, _ = surveyed({"t": seconds, "a": cycle("1.5", "2")})
    assert columns.raw_names == ("a",)
    assert "'t' goes from 1700000000 to 1700000049" in caplog.text
    assert "Subtract 1700000000" in caplog.text
    assert "same in every row" not in caplog.text
