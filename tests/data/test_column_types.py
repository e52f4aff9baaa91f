"""The types of columns are inferred, and uninformative columns are dropped with a warning."""

import logging

import numpy as np
import pandas as pd
import pytest

from brainnet.data.column_types import (
    infer_column,
    infer_columns,
    infer_date_format,
    is_empty,
    select_columns,
)
from brainnet.data.preprocessing import TableEncoder
from brainnet.errors import InputError

MANY = 60


def infer(frame, kept=(), **options):
    """The encoder for a frame that is read in one chunk, and its inputs."""
    frame = pd.DataFrame(frame)
    draft = TableEncoder(infer_columns(frame, list(frame.columns), kept=kept, **options))
    encoded = draft.encode(frame, unknown=None)
    encoder, positions = select_columns(draft, encoded, kept)
    return encoder, encoder.expand(encoded[:, positions])


def kinds(frame, **options):
    return {column.name: column.kind for column in infer(frame, **options)[0].columns}


def cycle(*values):
    return [values[place % len(values)] for place in range(MANY)]


def dated(*texts):
    return pd.Series(texts * 8, dtype=object)


def test_kinds_follow_from_the_cells():
    frame = {
        "number": cycle("1.5", "2", ""),
        "price": cycle("$1,200", "$3,000.50"),
        "flag": cycle("yes", "No"),
        "color": cycle("red", "green", "7"),
        "day": cycle("2024-01-05", "2024-02-05"),
        "half": cycle("yes", "no", ""),
        "typed": np.arange(MANY) / 3,
        "truth": cycle(True, False),
        "moment": pd.date_range("2024-01-01", periods=MANY, freq="7h"),
    }
    assert kinds(frame) == {
        "number": "number", "price": "number", "flag": "boolean", "color": "category",
        "day": "date", "half": "category", "typed": "number", "truth": "boolean", "moment": "date",
    }  # fmt: skip
    assert kinds({"zip": cycle("01234", "99999")}, categories=["zip"]) == {"zip": "category"}


@pytest.mark.parametrize(
    ("cells", "kind", "column_format"),
    [
        (["1.5", "2", "", "NA", "3"], "number", ""),
        (["1", "2", "3", "4", "x"], "number", ""),
        (["1", "2", "3", "x", "y"], "category", ""),
        (["yes", "no", "yes"], "boolean", ""),
        (["yes", "no", ""], "category", ""),
        (["2026-01-31", "2026-02-01"], "date", "ISO8601"),
        (["31.01.2026 14:30", "01.02.2026 9:05"], "date", "%d.%m.%Y %H:%M"),
        (["14:30", "9:05", "10:00"], "category", ""),
        (["", ""], "number", ""),
    ],
)
def test_texts_have_the_kind_of_most_cells(cells, kind, column_format):
    column = infer_column("x", pd.Series(cells, dtype=object))
    assert (column.name, column.kind, column.format) == ("x", kind, column_format)


@pytest.mark.parametrize(
    ("texts", "date_format"),
    [
        (["2024-02-29", "2023-12-31"], "ISO8601"),
        (["2024-02-29T10:30:00Z", "2024-02-29 10:30"], "ISO8601"),
        (["24.12.2025", "1.2.2026"], "%d.%m.%Y"),
        (["12/24/2025", "01/02/2026"], "%m/%d/%Y"),
        (["24/12/2025", "01/02/2026"], "%d/%m/%Y"),
        (["24 Dec 2025", "01 Feb 2026"], "%d %b %Y"),
        (["12/24/2025 5:07 PM"], "%m/%d/%Y %I:%M %p"),
        (["soon", "later"], ""),
        (["2024", "1999"], ""),
        (["12:30", "13:45"], ""),
    ],
)
def test_date_formats_are_inferred(texts, date_format):
    assert infer_date_format("x", pd.Series(texts)) == date_format


def test_typed_cells_keep_their_kind():
    assert infer_column("x", pd.Series([1, 2])).kind == "number"
    assert infer_column("x", pd.Series([True, False])).kind == "boolean"
    moment = infer_column("x", pd.to_datetime(pd.Series(["2026-01-31 14:30"])))
    assert (moment.kind, moment.has_time) == ("date", True)


def test_ambiguous_dates_are_reported(caplog):
    assert infer_column("born", dated("03/04/2024", "05/12/2023")).format == "%m/%d/%Y"
    (message,) = [record.getMessage() for record in caplog.records]
    assert "the dates of column 'born', such as 03/04/2024, are read as month/day/year" in message
    assert "2024-03-25" in message
    for texts in (("03/25/2024", "03/04/2024"), ("25/03/2024",), ("03.04.2024",), ("2024-03-04",)):
        assert infer_column("born", dated(*texts)).kind == "date"
    assert len(caplog.records) == 1


def test_day_and_month_have_the_order_that_more_dates_allow():
    texts = pd.Series(["03/04/2024"] * 9 + ["25/03/2024"], dtype=object)
    assert infer_column("born", texts).format == "%d/%m/%Y"


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["01234", "99999", "10115", ""], "category"),
        (["007", "NA", "008"], "category"),
        (["0", "1", "10"], "number"),
        (["0.5", "0", "00.5"], "number"),
        (["-05", "3", "12"], "number"),
        (["1.5", "2.5", "3.5", "4.5", "05"], "number"),
    ],
)
def test_digits_with_leading_zeros_are_categories(cells, kind, caplog):
    assert infer_column("zip", pd.Series(cells * 6, dtype=object)).kind == kind
    message = "column 'zip' has digits that begin with 0, such as 0"
    assert (message in caplog.text) == (kind == "category")


def test_empty_cells_are_empty():
    assert is_empty(pd.Series(["", " ", None], dtype=object))
    assert is_empty(pd.Series([np.nan, np.nan]))
    assert not is_empty(pd.Series(["", "-"], dtype=object))


def test_inputs_equal_those_of_the_encoder():
    frame = pd.DataFrame(
        {
            "c": cycle("red", "", "blue"),
            "n": cycle("3", "1", "2"),
            "d": cycle("1.2.2024", "3.2.2024"),
        }
    )
    encoder, inputs = infer(frame)
    assert np.array_equal(inputs, encoder.transform(frame))
    assert encoder.names[:4] == ("c=(missing)", "c=blue", "c=red", "n")
    assert inputs[:3, :4].tolist() == [[0, 0, 1, 3], [1, 0, 0, 1], [0, 1, 0, 2]]


def test_many_categories_become_codes_in_order():
    towns = [f"town {place % 40:02}" for place in range(400)]
    encoder, inputs = infer({"town": towns[::-1]})
    assert encoder.embeddings == {0: 41}
    assert inputs[:, 0].tolist() == [float(town[-2:]) + 1 for town in towns[::-1]]


def test_texts_among_numbers_are_rejected_by_row():
    with pytest.raises(
        InputError, match=r"column 'n' contains numbers, but not in row 60 \('tall'\)"
    ):
        infer({"n": [*map(str, range(59)), "tall"]})


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["5"] * MANY, "same value in every row (x)"),
        (["red"] * MANY, "same value in every row (x)"),
        ([""] * MANY, "without a value in the first 60 rows (x)"),
        ([f"person {place}" for place in range(MANY)], "60 different texts in 60 rows"),
    ],
)
def test_uninformative_columns_are_dropped_with_a_warning(cells, message, caplog):
    with caplog.at_level(logging.WARNING):
        assert kinds({"x": cells, "n": cycle("1", "2")}) == {"n": "number"}
    assert message in caplog.text


def test_named_columns_are_kept(caplog):
    with caplog.at_level(logging.WARNING):
        names = [f"person {place}" for place in range(MANY)]
        assert kinds({"x": names, "c": ["a"] * MANY}, kept=["x", "c"]) == {
            "x": "category",
            "c": "category",
        }
    assert not caplog.text


def test_constant_columns_are_reported_together(caplog):
    pixels = {f"pixel {place}": ["0"] * MANY for place in range(9)}
    with caplog.at_level(logging.WARNING):
        assert kinds(pixels | {"n": cycle("1", "2")}) == {"n": "number"}
    assert len(caplog.records) == 1
    assert "9 columns with the same value in every row (pixel 0, pixel 1," in caplog.text


@pytest.mark.parametrize(
    ("name", "is_kept"),
    [("id", False), ("Unnamed: 0", False), ("row_id", True), ("x", True)],
)
def test_row_numbers_are_dropped_by_their_name(name, is_kept, caplog):
    with caplog.at_level(logging.WARNING):
        found = kinds({name: list(map(str, range(5, MANY + 5))), "n": cycle("1", "2")})
    assert (name in found) == is_kept
    assert (f"that count the rows ({name})" in caplog.text) == (not is_kept)


def test_columns_called_like_row_numbers_are_kept_if_they_do_not_count():
    assert set(kinds({"id": cycle("3", "1", "2"), "n": cycle("1", "2")})) == {"id", "n"}


def test_a_table_without_informative_columns_is_rejected():
    with pytest.raises(InputError, match="no column is left to learn from"):
        infer({"x": ["a"] * MANY})


def test_numbers_that_float32_merges_are_reported(caplog):
    seconds = 1_700_000_000 + np.arange(MANY) % 50
    encoder, _ = infer({"t": seconds, "a": cycle("1.5", "2")})
    assert encoder.raw_names == ("a",)
    assert "'t' ranges from 1700000000 to 1700000049" in caplog.text
    assert "Subtract 1700000000" in caplog.text
