"""Raw rows become the same inputs always, whatever order and type their columns come in."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from brainnet.data.preprocessing import (
    MOST_INPUTS_OF_A_CATEGORY,
    ColumnEncoder,
    TableEncoder,
    in_order,
)
from brainnet.errors import InputError

TOWNS = tuple(f"town {place:02}" for place in range(MOST_INPUTS_OF_A_CATEGORY + 1))
COLUMNS = TableEncoder(
    (
        ColumnEncoder("age"),
        ColumnEncoder("member", "boolean", ("no", "yes")),
        ColumnEncoder("colour", "category", ("", "blue", "red")),
        ColumnEncoder("town", "category", TOWNS),
        ColumnEncoder("born", "date", form="%d.%m.%Y"),
    ),
    imputes=True,
)
ROW = {"age": 3.5, "member": "Yes", "colour": "red", "town": "town 01", "born": "01.01.2000"}


def frame(**changed):
    return pd.DataFrame([ROW | changed])


def test_every_kind_becomes_its_inputs():
    assert COLUMNS.names == (
        "age", "member", "colour=(missing)", "colour=blue", "colour=red", "town",
        "born (year)", "born (day of the year)", "born (weekday)",
    )  # fmt: skip
    assert COLUMNS.apply(frame()).tolist() == [[3.5, 1, 0, 0, 1, 2, 2000, 1, 5]]
    assert COLUMNS.apply(frame()).dtype == np.float32
    assert COLUMNS.raw_names == ("age", "member", "colour", "town", "born")
    assert COLUMNS.text_names == ("member", "colour", "town", "born")
    assert COLUMNS.embedded == {5: len(TOWNS) + 1}


def test_what_is_missing_is_nan_and_a_missing_word_one_of_its_own():
    found = COLUMNS.apply(frame(age=None, member=None, colour=None, born=None))[0]
    assert np.isnan(found[[0, 1, 6, 7, 8]]).all()
    assert found[2:5].tolist() == [1, 0, 0]


def test_a_word_never_seen_is_none_of_the_others_or_refused():
    never = frame(colour="pink", town="Atlantis")
    assert COLUMNS.apply(never)[0, 2:6].tolist() == [0, 0, 0, 0]
    with pytest.raises(
        InputError, match=r"'colour' holds words seen in training.*row 1 \('pink'\)"
    ):
        COLUMNS.apply(never, unseen="refuse")


def test_the_order_of_columns_and_more_of_them_do_no_harm():
    mixed = frame(extra=9)[["extra", "town", "born", "age", "colour", "member"]]
    assert np.array_equal(COLUMNS.apply(mixed), COLUMNS.apply(frame()))


def test_types_do_not_matter():
    codes = TableEncoder(
        (
            ColumnEncoder("code", "category", ("7", "8")),
            ColumnEncoder("flag", "boolean", ("no", "yes")),
        )
    )
    for code in (["8", "7"], [8, 7], [8.0, 7.0], pd.Categorical(["8", "7"])):
        for flag in (["yes", "no"], [True, False], [1, 0]):
            rows = pd.DataFrame({"code": code, "flag": flag})
            assert codes.apply(rows).tolist() == [[0, 1, 1], [1, 0, 0]]


def test_they_come_back_from_json_as_they_were():
    stored = json.loads(json.dumps(COLUMNS.to_dict()))
    assert stored["kind"] == "columns"
    assert TableEncoder.from_dict(stored) == COLUMNS


def test_numbers_stay_what_they_are():
    plain = TableEncoder.numbers(["a", "b"])
    assert plain.apply(pd.DataFrame({"b": [2, 4], "a": [1.5, 3]})).tolist() == [[1.5, 2], [3, 4]]
    assert (plain.embedded, plain.text_names, plain.imputes) == ({}, (), False)
    assert plain.apply(pd.DataFrame({"a": [], "b": []})).shape == (0, 2)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"age": "tall"}, r"column 'age' holds numbers, but not in row 1 \('tall'\)"),
        ({"age": np.inf}, r"'age' holds finite numbers, but not in row 1 \('inf'\)"),
        ({"age": 1e60}, r"'age' holds finite numbers, but not in row 1 \('1e\+60'\)"),
        ({"member": "maybe"}, r"'member' holds no and yes, but not in row 1 \('maybe'\)"),
        ({"born": "31.02.2000"}, r"'born' holds dates, but not in row 1 \('31\.02\.2000'\)"),
    ],
)
def test_a_cell_of_another_kind_is_named(changed, said):
    with pytest.raises(InputError, match=said):
        COLUMNS.apply(frame(**changed))


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(InputError, match=r"no column 'age'\. Did you mean Age\?"):
        COLUMNS.apply(frame().rename(columns={"age": "Age"}))


def test_many_finite_numbers_may_have_an_infinite_sum():
    large = pd.DataFrame({"a": np.full(10, 3e38)})
    assert np.isfinite(TableEncoder.numbers(["a"]).apply(large)).all()


def test_words_and_numbers_stand_in_order():
    assert in_order(["b", "", "10", "nan", "9", "a"]) == ["", "9", "10", "a", "b", "nan"]


def test_a_number_finds_its_word_however_it_was_written():
    codes = TableEncoder((ColumnEncoder("code", "category", ("007", "1", "2.50", "red")),))
    for cells in (["007", "1", "2.50"], ["007", "1.0", "2.50"], [7.0, 1.0, 2.5], [7, 1, 2.5]):
        found = codes.apply(pd.DataFrame({"code": cells}))
        assert found.argmax(axis=1).tolist() == [0, 1, 2]
        assert found.sum() == 3
    assert codes.apply(pd.DataFrame({"code": [9, np.inf]})).sum() == 0
    assert codes.apply(pd.DataFrame({"code": ["7"]})).sum() == 0


def test_rows_may_be_called_the_same():
    rows = pd.concat([frame(), frame()])
    assert len(COLUMNS.apply(rows)) == 2 * len(frame())
    twice = pd.DataFrame({"code": [1.0, None]}, index=[0, 0])
    codes = TableEncoder((ColumnEncoder("code", "category", ("", "1")),))
    assert codes.apply(twice).tolist() == [[0, 1], [1, 0]]


def test_rows_are_called_as_their_frame_calls_them():
    numbers = TableEncoder.numbers(["a"])
    for index, called in (
        (None, "row 2 ('x'); rows count"),
        ([7, 9], "row 9 ('x'); rows are"),
        (["u", "v"], "row 'v' ('x'); rows are called as the index"),
    ):
        with pytest.raises(InputError, match=re.escape(called)):
            numbers.apply(pd.DataFrame({"a": ["1", "x"]}, index=index))


def test_a_number_whose_word_no_training_row_has_counts_as_never_seen():
    codes = TableEncoder((ColumnEncoder("code", "category", ("007", "8"), unlearnt=("007",)),))
    assert codes.apply(pd.DataFrame({"code": [7, 8, 9]})).tolist() == [[0, 0], [0, 1], [0, 0]]
