"""Raw cells become the same inputs for every type and order of columns."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from brainnet.data.preprocessing import (
    MAX_ONE_HOT_VALUES,
    ColumnEncoder,
    TableEncoder,
    compute_date_parts,
    parse_booleans,
    parse_dates,
    parse_numbers,
    parse_texts,
    sort_labels,
    warn_merged_numbers,
)
from brainnet.errors import InputError

TOWNS = tuple(f"town {place:02}" for place in range(MAX_ONE_HOT_VALUES + 1))
ENCODER = TableEncoder(
    (
        ColumnEncoder("age"),
        ColumnEncoder("member", "boolean", ("no", "yes")),
        ColumnEncoder("color", "category", ("", "blue", "red")),
        ColumnEncoder("town", "category", TOWNS),
        ColumnEncoder("born", "date", format="%d.%m.%Y"),
    ),
    imputes=True,
)
ROW = {"age": 3.5, "member": "Yes", "color": "red", "town": "town 01", "born": "01.01.2000"}


def frame(**changed):
    return pd.DataFrame([ROW | changed])


# Parsing of cells


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.5", 1.5),
        (" 7 ", 7),
        ("-3e2", -300),
        ("$1,200.50", 1200.5),
        ("-$5", -5),
        ("1 234", 1234),
        ("1'234", 1234),
        ("12 %", 12),
        ("\u22123.5", -3.5),
        ("1,234,567", 1234567),
    ],
)
def test_numbers_are_parsed_with_currency_percent_and_groups(text, value):
    values, wrong = parse_numbers(pd.Series([text]))
    assert values.tolist() == [value]
    assert not wrong.any()


@pytest.mark.parametrize(
    ("text", "decimal", "number"),
    [
        ("1.234", ",", 1234),
        ("1.234", ".", 1.234),
        ("1,234", ".", 1234),
        ("1,234", ",", 1.234),
        ("-1.234,5", ",", -1234.5),
        ("1.200,50 €", ",", 1200.5),
        ("1,5e3", ",", 1500),
        ("1.5", ",", None),
        ("1,5", ".", None),
    ],
)
def test_the_decimal_separator_decides_how_numbers_are_read(text, decimal, number):
    values, wrong = parse_numbers(pd.Series([text], dtype=object), decimal)
    assert wrong[0] == (number is None)
    assert number is None or values[0] == number


@pytest.mark.parametrize("text", ["", "?", "NA", "null", None, float("nan"), "  "])
def test_missing_markers_are_nan(text):
    values, wrong = parse_numbers(pd.Series([text, "1"], dtype=object))
    assert np.isnan(values).tolist() == [True, False]
    assert not wrong.any()


@pytest.mark.parametrize("text", ["tall", "1.2.3", "12 cm", "--1", "1,23,4", "2020-01-05"])
def test_other_texts_are_not_numbers(text):
    values, wrong = parse_numbers(pd.Series(["1", text]))
    assert wrong.tolist() == [False, True]
    assert np.isnan(values[1])


@pytest.mark.parametrize(
    ("cells", "texts"),
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
def test_texts_do_not_depend_on_the_type_of_the_cells(cells, texts):
    parsed = parse_texts(cells)
    assert [None if pd.isna(text) else text for text in parsed] == texts


def test_booleans_are_one_and_zero():
    values, wrong = parse_booleans(pd.Series(["Yes", "NO", None, "maybe"]), ("no", "yes"))
    assert values[:2].tolist() == [1, 0]
    assert np.isnan(values[2:]).all()
    assert wrong.tolist() == [False, False, False, True]
    assert parse_booleans(pd.Series([True, False]), ("no", "yes"))[0].tolist() == [1, 0]


def test_booleans_between_missing_cells_are_parsed():
    cells = pd.Series([True, None, False, "yes", 3], dtype=object)
    values, wrong = parse_booleans(cells, ("no", "yes"))
    assert values[[0, 2, 3]].tolist() == [1, 0, 1]
    assert np.isnan(values[[1, 4]]).all()
    assert wrong.tolist() == [False, False, False, False, True]


def test_dates_become_year_day_weekday_and_hour():
    moments, wrong = parse_dates(pd.Series(["2024-07-01 12:00", "2023-01-01", None]), "ISO8601")
    year, day, weekday, hour = compute_date_parts(moments, has_time=True)
    assert not wrong.any()
    assert year[0] == pytest.approx(2024 + (182 + 0.5) / 366)
    assert (day[:2].tolist(), weekday[:2].tolist()) == ([183, 1], [0, 6])
    assert hour[:2].tolist() == [12, 0]
    assert np.isnan([year[2], day[2], weekday[2], hour[2]]).all()


# Encoding of rows


def test_each_kind_becomes_its_inputs():
    assert ENCODER.names == (
        "age", "member", "color=(missing)", "color=blue", "color=red", "town",
        "born (year)", "born (day of the year)", "born (weekday)",
    )  # fmt: skip
    assert ENCODER.transform(frame()).tolist() == [[3.5, 1, 0, 0, 1, 2, 2000, 1, 5]]
    assert ENCODER.transform(frame()).dtype == np.float32
    assert ENCODER.raw_names == ("age", "member", "color", "town", "born")
    assert ENCODER.text_names == ("member", "color", "town", "born")
    assert ENCODER.embeddings == {5: len(TOWNS) + 1}


def test_missing_numbers_are_nan_and_missing_categories_are_categories():
    inputs = ENCODER.transform(frame(age=None, member=None, color=None, born=None))[0]
    assert np.isnan(inputs[[0, 1, 6, 7, 8]]).all()
    assert inputs[2:5].tolist() == [1, 0, 0]
    codes = ENCODER.encode(frame(color=None), missing_as_nan=True)[0]
    assert np.isnan(codes).tolist() == [False, False, True] + [False] * 4


def test_unknown_categories_are_zeros_or_rejected():
    unknown = frame(color="pink", town="Atlantis")
    assert ENCODER.transform(unknown)[0, 2:6].tolist() == [0, 0, 0, 0]
    with pytest.raises(
        InputError, match=r"'color' contains categories seen in training.*row 1 \('pink'\)"
    ):
        ENCODER.transform(unknown, unknown="error")


def test_order_and_number_of_columns_do_not_matter():
    mixed = frame(extra=9)[["extra", "town", "born", "age", "color", "member"]]
    assert np.array_equal(ENCODER.transform(mixed), ENCODER.transform(frame()))


def test_types_of_cells_do_not_matter():
    encoder = TableEncoder(
        (
            ColumnEncoder("code", "category", ("7", "8")),
            ColumnEncoder("flag", "boolean", ("no", "yes")),
        )
    )
    for code in (["8", "7"], [8, 7], [8.0, 7.0], ["8.0", "7"], pd.Categorical(["8", "7"])):
        for flag in (["yes", "no"], [True, False], [1, 0]):
            rows = pd.DataFrame({"code": code, "flag": flag})
            assert encoder.transform(rows).tolist() == [[0, 1, 1], [1, 0, 0]]


def test_encoders_are_restored_from_json():
    stored = json.loads(json.dumps(ENCODER.to_dict()))
    assert stored["kind"] == "columns"
    assert TableEncoder.from_dict(stored) == ENCODER
    german = TableEncoder(ENCODER.columns, decimal=",", thousands=".")
    assert TableEncoder.from_dict(german.to_dict()) == german


def test_numbers_stay_as_they_are():
    encoder = TableEncoder.from_names(["a", "b"])
    rows = pd.DataFrame({"b": [2, 4], "a": [1.5, 3]})
    assert encoder.transform(rows).tolist() == [[1.5, 2], [3, 4]]
    assert (encoder.embeddings, encoder.text_names, encoder.imputes) == ({}, (), False)
    assert encoder.transform(pd.DataFrame({"a": [], "b": []})).shape == (0, 2)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"age": "tall"}, r"column 'age' contains numbers, but not in row 1 \('tall'\)"),
        ({"age": np.inf}, r"'age' contains finite numbers, but not in row 1 \('inf'\)"),
        ({"age": 1e60}, r"'age' contains finite numbers, but not in row 1 \('1e\+60'\)"),
        ({"member": "maybe"}, r"'member' contains no and yes, but not in row 1 \('maybe'\)"),
        ({"born": "31.02.2000"}, r"'born' contains dates .*, but not in row 1 \('31\.02\.2000'\)"),
    ],
)
def test_cells_of_another_kind_are_rejected_by_row(changed, message):
    with pytest.raises(InputError, match=message):
        ENCODER.transform(frame(**changed))


def test_missing_columns_are_rejected_by_name():
    with pytest.raises(InputError, match=r"no column 'age'\. Did you mean Age\?"):
        ENCODER.transform(frame().rename(columns={"age": "Age"}))


def test_finite_numbers_with_an_infinite_sum_are_accepted():
    large = pd.DataFrame({"a": np.full(10, 3e38)})
    assert np.isfinite(TableEncoder.from_names(["a"]).transform(large)).all()


def test_labels_are_sorted_by_size_then_by_text():
    assert sort_labels(["b", "", "10", "nan", "9", "a"]) == ["", "9", "10", "a", "b", "nan"]


def test_rows_with_equal_labels_are_encoded():
    assert len(ENCODER.transform(pd.concat([frame(), frame()]))) == 2
    twice = pd.DataFrame({"code": [1.0, None]}, index=[0, 0])
    encoder = TableEncoder((ColumnEncoder("code", "category", ("", "1")),))
    assert encoder.transform(twice).tolist() == [[0, 1], [1, 0]]


def test_messages_name_rows_by_the_index_of_the_frame():
    encoder = TableEncoder.from_names(["a"])
    for index, label in (
        (None, "row 2 ('x')"),
        ([7, 9], "row 9 ('x')"),
        (["u", "v"], "row 'v' ('x')"),
    ):
        with pytest.raises(InputError, match=re.escape(label)):
            encoder.transform(pd.DataFrame({"a": ["1", "x"]}, index=index))


def test_categories_without_a_training_row_are_unknown():
    encoder = TableEncoder((ColumnEncoder("code", "category", ("7", "8"), unseen=("7",)),))
    rows = pd.DataFrame({"code": [7, 8, 9]})
    assert encoder.transform(rows).tolist() == [[0, 0], [0, 1], [0, 0]]


def test_columns_of_numbers_are_encoded_together_as_alone():
    random = np.random.default_rng(0)
    rows = pd.DataFrame(random.normal(size=(40, 60)), columns=[f"x{i}" for i in range(60)])
    for place in range(0, 60, 7):
        rows[f"x{place}"] = random.integers(-5, 5, 40)
    rows["x3"] = rows["x3"].astype(np.float32)
    rows["x5"] = pd.array(random.integers(0, 9, 40), dtype="Int64")
    rows["x9"] = [f"{number:.3f}" for number in rows["x9"]]
    rows["x11"] = pd.date_range("2024-01-01", periods=40)
    rows.loc[4, "x12"] = np.nan
    dates = {"x11": ColumnEncoder("x11", "date", format="ISO8601")}
    columns = [dates.get(name, ColumnEncoder(name)) for name in rows.columns]
    encoded = TableEncoder(tuple(columns)).encode(rows)
    alone = [part for column in columns for part in column.encode(rows[column.name])]
    expected = np.stack(alone, axis=1).astype(np.float32)
    assert encoded.dtype == np.float32
    assert np.array_equal(encoded, expected, equal_nan=True)


@pytest.mark.parametrize(
    ("values", "is_merged"),
    [
        (1.7e9 + np.arange(50), True),
        (1_700_000_000 + np.arange(50), True),
        (1.7e9 + np.arange(50) * 86_400.0, False),
        (1e7 + np.arange(50), False),  # whole numbers that float32 represents
        (np.full(50, 0.1), False),
        (0.1 + np.arange(50) * 0.01, False),
        (np.array([np.nan, 1.7e9, 1.7e9 + 1]), True),
        (np.array([np.nan]), False),
        ((1.7e9 + np.arange(50)).astype(np.float32), False),
        (np.random.default_rng(0).normal(size=10_000), False),
        (np.array([-np.inf, 1.0]), False),
    ],
)
def test_numbers_that_float32_merges_are_reported(values, is_merged, caplog):
    warn_merged_numbers(values[:, None], ["t"])
    assert ("column 't' ranges from" in caplog.text) == is_merged
