"""What is to be learnt follows from the target, and classes keep their names."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brainnet.data.targets import TargetInference
from brainnet.errors import InputError


def answered(*columns, task=None, parts=1):
    frame = pd.DataFrame({f"y{place}": cells for place, cells in enumerate(columns)})
    survey = TargetInference(frame.head(40), list(frame.columns), task, Path("rows.csv"))
    for part in np.array_split(np.arange(len(frame)), parts):
        survey.count(survey.encode(frame.iloc[part]))
    return survey.finish()


@pytest.mark.parametrize(
    ("cells", "task", "class_names", "targets"),
    [
        (["b", "a", "b"] * 4, "binary", ("a", "b"), [1, 0, 1]),
        (["None", "NA", "Mild"] * 4, "multiclass", ("Mild", "NA", "None"), [2, 1, 0]),
        (["No", "Yes"] * 4, "binary", ("No", "Yes"), [0, 1]),
        ([True, False] * 4, "binary", ("False", "True"), [1, 0]),
        (["1", "0"] * 4, "binary", ("0", "1"), [1, 0]),
        (["10", "9.0", "9"] * 4, "binary", ("9", "10"), [1, 0, 0]),
        (["007", "008"] * 4, "binary", ("007", "008"), [0, 1]),
        ([2, 1, 0] * 4, "multiclass", ("0", "1", "2"), [2, 1, 0]),
        ([1.0, 0.0] * 4, "binary", ("0", "1"), [1, 0]),
    ],
)
def test_words_and_few_whole_numbers_are_classes(cells, task, class_names, targets):
    found = answered(cells)
    assert (found.task, found.class_names) == (task, class_names)
    assert found.targets[: len(targets)].tolist() == targets
    assert found.targets.dtype.is_signed


@pytest.mark.parametrize(
    "cells",
    [
        ["1.5", "2.5", "1.5"] * 4,
        [place * 7 for place in range(30)],
        ["$1,200", "$3,000.50", "$7"] * 4,
        [1.25, 2.5] * 4,
    ],
)
def test_other_numbers_are_predicted(cells):
    found = answered(cells)
    assert (found.task, found.class_names, found.names) == ("regression", (), ("y0",))
    assert found.targets.shape == (len(cells), 1)


def test_many_rows_may_take_back_that_numbers_are_classes():
    cells = [str(place // 40) for place in range(4000)]  # one only among the first
    found = answered(cells, parts=7)
    assert found.task == "regression"
    assert found.targets[:, 0].tolist() == list(map(float, cells))
    assert answered(["1", "2"] * 20 + ["1.5"], parts=3).task == "regression"


def test_several_numbers_are_predicted_at_once():
    found = answered(["1", "2", "1"], [0.5, 1.5, 2.5])
    assert (found.task, found.names) == ("regression", ("y0", "y1"))
    assert found.targets.tolist() == [[1, 0.5], [2, 1.5], [1, 2.5]]


def test_the_task_can_be_asked_for():
    assert answered([1, 2, 1, 2], task="regression").targets.tolist() == [[1], [2], [1], [2]]
    assert answered([0.5, 1.5] * 3, task="classification").class_names == ("0.5", "1.5")
    assert answered(["a", "b"] * 3, task="multiclass").task == "multiclass"


@pytest.mark.parametrize(
    ("columns", "task", "said"),
    [
        ([["a"] * 5], None, "is the same in all 5 rows of rows.csv, a: where"),
        ([[1.5] * 5], None, "is the same in all 5 rows of rows.csv, 1.5: where"),
        ([[f"word {place}" for place in range(30)]], None, "30 different values in 30 rows"),
        ([["2024-01-05", "2024-02-05"] * 5], None, "holds dates"),
        ([["a", "b", "c"] * 5], "binary", "has 3: a, b, c"),
        ([["a", "b"] * 5], "regression", r"numbers to predict, but not in row 1 \('a'\)"),
        ([["1.5"] * 9 + ["tall"]], None, r"numbers to predict, but not in row 10 \('tall'\)"),
        ([["1.5"] * 9 + ["inf"]], None, r"finite numbers to predict, but not in row 10"),
        ([["1"] * 5, ["a"] * 5], None, r"'y1' holds numbers to predict"),
        ([["1", "2"], ["1", "2"]], "binary", "data.task=binary answers one question; got 2"),
    ],
)
def test_what_cannot_be_learnt_is_told_of(columns, task, said):
    with pytest.raises(InputError, match=said):
        answered(*columns, task=task)


def test_other_rows_are_answered_with_the_same_classes():
    found = answered(["9.0", "10", "9"] * 3)
    other = pd.DataFrame({"y0": ["10.0", "9", None]})
    codes = found.encode(other)[:, 0]
    assert codes[:2].tolist() == [1, 0]
    assert np.isnan(codes[2])
    with pytest.raises(InputError, match=r"the classes 9, 10, but not in row 1 \('11'\)"):
        found.encode(pd.DataFrame({"y0": ["11"]}))


@pytest.mark.parametrize(
    ("labels", "decimal", "names"),
    [
        (["1", "1,000", "500"], "", ("1", "500", "1,000")),
        (["1", "1,000", "500"], ".", ("1", "500", "1,000")),
        (["1.000", "2.000"], ",", ("1.000", "2.000")),
        (["1.000", "2.000"], ".", ("1", "2")),
        (["1,0", "2"], ",", ("1", "2")),
        (["v1.0", "v2"], "", ("v1.0", "v2")),
    ],
)
def test_thousands_are_no_fraction(labels, decimal, names):
    frame = pd.DataFrame({"y": labels * 6})
    survey = TargetInference(frame, ["y"], "classification", Path("rows.csv"), decimal)
    survey.count(survey.encode(frame))
    found = survey.finish()
    assert sorted(found.class_names) == sorted(names)
    codes = found.encode(frame.head(len(labels)))[:, 0]
    assert codes.tolist() == found.targets[: len(labels)].tolist()
    assert len(set(codes)) == len(labels)


def test_words_of_classes_are_taken_as_they_are_written():
    found = answered(["v1", "v2"] * 6)
    with pytest.raises(InputError, match=r"not in row 1 \('v1\.0'\)"):
        found.encode(pd.DataFrame({"y0": ["v1.0"]}))


def test_labels_of_rows_left_out_are_no_classes():
    frame = pd.DataFrame({"y": ["ghost", *["b", "a"] * 6]})
    survey = TargetInference(frame, ["y"], None, Path("rows.csv"))
    survey.count(survey.encode(frame)[1:])
    found = survey.finish()
    assert (found.task, found.class_names) == ("binary", ("a", "b"))
    assert found.targets[:3].tolist() == [1, 0, 1]


@pytest.mark.parametrize("written", [float, str])
def test_numbers_that_32_bits_merge_are_told(written, caplog):
    cells = [1.7e9 + place * 50.5 for place in range(60)]
    found = answered([written(cell) for cell in cells], parts=3)
    assert found.targets.unique().numel() < 60
    (said,) = [record.getMessage() for record in caplog.records]
    assert "the target 'y0' goes from 1700000000 to 1700002979.5, so close together" in said
    assert "Subtract 1700000000 from it in the file" in said


def test_numbers_that_32_bits_make_one_are_not_said_to_be_one():
    said = "goes from 1700000000 to 1700000005.9, .* all 60 rows become 1700000000. Subtract 17"
    with pytest.raises(InputError, match=said):
        answered([1.7e9 + place / 10 for place in range(60)])
    with pytest.raises(InputError, match="goes from 1700000000 to 1700000059"):
        answered([str(1700000000 + place) for place in range(60)], parts=3)


@pytest.mark.parametrize("missing", ["NA", "NaN", "null", ""])
def test_what_stands_for_no_answer_among_numbers_is_no_class(missing):
    frame = pd.DataFrame({"y": ["0", "1", missing, "1"] * 5})
    survey = TargetInference(frame, ["y"], None, Path("rows.csv"))
    found = survey.encode(frame)
    assert np.isnan(found[2::4]).all()
    survey.count(found[~np.isnan(found[:, 0])])
    answers = survey.finish()
    assert answers.class_names == ("0", "1")
    assert np.isnan(answers.encode(frame)[2::4]).all()


def test_what_may_stand_for_no_answer_among_words_is_told(caplog):
    assert answered(["ja", "nein", "NA"] * 4).class_names == ("NA", "ja", "nein")
    assert "'NA' is a class of the target 'y0'" in caplog.text
