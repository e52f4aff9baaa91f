"""Cells are read as people write them: numbers with their signs, yes and no, dates."""

import numpy as np
import pandas as pd
import pytest

from brainnet.data.cells import (
    YES_AND_NO,
    booleans,
    date_format,
    date_numbers,
    parse_dates,
    parse_numbers,
    parse_texts,
)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1.5", 1.5),
        (" 7 ", 7),
        ("-3e2", -300),
        ("$1,200.50", 1200.5),
        ("-$5", -5),
        ("1.200,50 €", 1200.5),
        ("0,25", 0.25),
        ("1 234", 1234),
        ("1'234", 1234),
        ("12 %", 12),
        ("\u22123.5", -3.5),
        ("1,234,567", 1234567),
    ],
)
def test_a_number_is_read_as_it_is_written(written, value):
    values, wrong = parse_numbers(pd.Series([written]))
    assert values.tolist() == [value]
    assert not wrong.any()


@pytest.mark.parametrize("written", ["", "?", "NA", "null", None, float("nan"), "  "])
def test_a_number_may_be_missing(written):
    values, wrong = parse_numbers(pd.Series([written, "1"], dtype=object))
    assert np.isnan(values).tolist() == [True, False]
    assert not wrong.any()


@pytest.mark.parametrize(
    "written",
    ["tall", "1.2.3", "12 cm", "--1", "1,23,4", "+49 170 123456", "+49 100 300", "2020-01-05"],
)
def test_what_is_no_number_is_told(written):
    values, wrong = parse_numbers(pd.Series(["1", written]))
    assert wrong.tolist() == [False, True]
    assert np.isnan(values[1])


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (pd.Series([1.0, 2.5, None]), ["1", "2.5", None]),
        (pd.Series([7, 8]), ["7", "8"]),
        (pd.Series([True, False]), ["True", "False"]),
        (pd.Series([" a ", "b", None]), ["a", "b", None]),
        (pd.Series(["u", None, "v"], dtype="category"), ["u", None, "v"]),
        (pd.Series([1, None], dtype="Int64"), ["1", None]),
        (pd.Series(["x", 3, None], dtype=object), ["x", "3", None]),
    ],
)
def test_words_are_told_alike_however_they_are_stored(cells, told):
    found = parse_texts(cells)
    assert [None if pd.isna(word) else word for word in found] == told


def test_yes_and_no_become_one_and_zero():
    values, wrong = booleans(pd.Series(["Yes", "NO", None, "maybe"]), ("no", "yes"))
    assert values[:2].tolist() == [1, 0]
    assert np.isnan(values[2])
    assert wrong.tolist() == [False, False, False, True]
    assert booleans(pd.Series([True, False]), ("no", "yes"))[0].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("written", "form"),
    [
        (["2024-02-29", "2023-12-31"], "ISO8601"),
        (["2024-02-29T10:30:00Z", "2024-02-29 10:30"], "ISO8601"),
        (["24.12.2025", "1.2.2026"], "%d.%m.%Y"),
        (["12/24/2025", "01/02/2026"], "%m/%d/%Y"),
        (["24/12/2025", "01/02/2026"], "%d/%m/%Y"),
        (["24 Dec 2025", "01 Feb 2026"], "%d %b %Y"),
        (["12/24/2025 5:07 PM"], "%m/%d/%Y %I:%M %p"),
        (["soon", "later"], None),
        (["2024", "1999"], None),
        (["12:30", "13:45"], None),
    ],
)
def test_dates_are_known_by_all_of_them(written, form):
    assert date_format(pd.Series(written)) == form


def test_a_date_becomes_numbers_that_can_be_followed():
    moments, wrong = parse_dates(pd.Series(["2024-07-01 12:00", "2023-01-01", None]), "ISO8601")
    year, day, weekday, hour = date_numbers(moments, hours=True)
    assert not wrong.any()
    assert year[0] == pytest.approx(2024 + (182 + 0.5) / 366)
    assert (day[:2].tolist(), weekday[:2].tolist(), hour[:2].tolist()) == (
        [183, 1],
        [0, 6],
        [12, 0],
    )
    assert np.isnan([year[2], day[2], weekday[2], hour[2]]).all()


def test_true_and_false_among_gaps_are_yes_and_no():
    values, wrong = booleans(
        pd.Series([True, None, np.False_, "yes", 3], dtype=object), YES_AND_NO[1]
    )
    assert values[[0, 2, 3]].tolist() == [1, 0, 1]
    assert np.isnan(values[[1, 4]]).all()
    assert wrong.tolist() == [False, False, False, False, True]


def test_bytes_are_the_text_they_hold():
    assert parse_texts(pd.Series([b"red ", "blue"], dtype=object)).tolist() == ["red", "blue"]


def test_an_imaginary_part_is_no_number():
    values, wrong = parse_numbers(pd.Series([1 + 0j, 2 + 1j]))
    assert values.tolist() == [1, 2]
    assert wrong.tolist() == [False, True]
