"""The task follows from the target column, and classes keep their names."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brainnet.data.targets import finish_targets, infer_target
from brainnet.errors import InputError


def infer(*columns, task=None, parts=1, decimal="."):
    """The task, targets and encoder of target columns that are read in several parts."""
    frame = pd.DataFrame({f"y{place}": cells for place, cells in enumerate(columns)})
    names = list(frame.columns)
    draft, encoded = infer_target(frame.head(40), names, task, decimal), []
    for part in np.array_split(np.arange(len(frame)), parts):
        draft = draft.learn_classes(frame.iloc[part])
        encoded.append(draft.encode(frame.iloc[part]).astype(np.float32))
    return finish_targets(draft, np.concatenate(encoded), task, Path("rows.csv"))


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
def test_texts_and_few_whole_numbers_are_classes(cells, task, class_names, targets):
    found_task, labels, encoder = infer(cells)
    assert (found_task, encoder.class_names) == (task, class_names)
    assert labels[: len(targets)].tolist() == targets
    assert not labels.is_floating_point()


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["1.5", "2.5", "1.5"] * 4, [1.5, 2.5, 1.5]),
        ([place * 7 for place in range(30)], [0, 7, 14]),
        (["$1,200", "$3,000.50", "$7"] * 4, [1200, 3000.5, 7]),
        ([1.25, 2.5] * 4, [1.25, 2.5, 1.25]),
    ],
)
def test_other_numbers_are_predicted(cells, numbers):
    task, targets, encoder = infer(cells)
    assert (task, encoder.class_names, encoder.names) == ("regression", (), ("y0",))
    assert targets.shape == (len(cells), 1)
    assert targets[:3, 0].tolist() == numbers


def test_later_rows_can_show_that_numbers_are_no_classes():
    cells = [str(place // 40) for place in range(4000)]  # a single one in the first rows
    task, targets, _ = infer(cells, parts=7)
    assert task == "regression"
    assert targets[:, 0].tolist() == list(map(float, cells))
    assert infer(["1", "2"] * 20 + ["1.5"], parts=3)[0] == "regression"


def test_several_numbers_are_predicted_at_once():
    task, targets, encoder = infer(["1", "2", "1"], [0.5, 1.5, 2.5])
    assert (task, encoder.names) == ("regression", ("y0", "y1"))
    assert targets.tolist() == [[1, 0.5], [2, 1.5], [1, 2.5]]


def test_the_task_can_be_chosen():
    assert infer([1, 2, 1, 2], task="regression")[1].tolist() == [[1], [2], [1], [2]]
    assert infer([0.5, 1.5] * 3, task="classification")[2].class_names == ("0.5", "1.5")
    assert infer(["a", "b"] * 3, task="multiclass")[0] == "multiclass"


@pytest.mark.parametrize(
    ("columns", "task", "message"),
    [
        ([["a"] * 5], None, r"'y0' of rows\.csv is a in all 5 rows"),
        ([[1.5] * 5], None, r"'y0' of rows\.csv is 1\.5 in all 5 rows"),
        ([[f"word {place}" for place in range(30)]], None, "30 different values in 30 rows"),
        ([["2024-01-05", "2024-02-05"] * 5], None, "contains dates"),
        ([["a", "b", "c"] * 5], "binary", "has 3: a, b, c"),
        ([["a", "b"] * 5], "regression", r"numbers to predict, but not in row 1 \('a'\)"),
        ([["1.5"] * 9 + ["tall"]], None, r"numbers to predict, but not in row 10 \('tall'\)"),
        ([["1.5"] * 9 + ["inf"]], None, r"finite numbers to predict, but not in row 10"),
        ([["1"] * 5, ["a"] * 5], None, r"'y1' contains finite numbers to predict"),
        ([["1", "2"], ["1", "2"]], "binary", "data.task=binary needs one target; got 2"),
    ],
)
def test_targets_that_cannot_be_learned_are_rejected(columns, task, message):
    with pytest.raises(InputError, match=message):
        infer(*columns, task=task)


def test_other_rows_are_encoded_with_the_same_classes():
    encoder = infer(["9.0", "10", "9"] * 3)[2]
    codes = encoder.encode(pd.DataFrame({"y0": ["10.0", "9", None]}))[:, 0]
    assert codes[:2].tolist() == [1, 0]
    assert np.isnan(codes[2])
    with pytest.raises(InputError, match=r"the classes 9, 10, but not in row 1 \('11'\)"):
        encoder.encode(pd.DataFrame({"y0": ["11"]}))


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["1", "1,000", "500"], ("1", "500", "1,000")),
        (["1.0", "2.0"], ("1", "2")),
        (["v1", "v1.0"], ("v1", "v1.0")),
    ],
)
def test_each_label_keeps_its_class(labels, names):
    _, targets, encoder = infer(labels * 6, task="classification")
    assert encoder.class_names == names
    codes = encoder.encode(pd.DataFrame({"y0": labels}))[:, 0]
    assert codes.tolist() == targets[: len(labels)].tolist()
    assert len(set(codes)) == len(labels)


def test_texts_are_matched_exactly():
    encoder = infer(["v1", "v2"] * 6)[2]
    with pytest.raises(InputError, match=r"not in row 1 \('v1\.0'\)"):
        encoder.encode(pd.DataFrame({"y0": ["v1.0"]}))


def test_labels_of_dropped_rows_are_no_classes():
    frame = pd.DataFrame({"y": ["ghost", *["b", "a"] * 6]})
    draft = infer_target(frame, ["y"], None)
    encoded = draft.encode(frame).astype(np.float32)[1:]
    task, targets, encoder = finish_targets(draft, encoded, None, Path("rows.csv"))
    assert (task, encoder.class_names) == ("binary", ("a", "b"))
    assert targets[:3].tolist() == [1, 0, 1]


@pytest.mark.parametrize("kind", [float, str])
def test_numbers_that_float32_merges_are_reported(kind, caplog):
    cells = [1.7e9 + place * 50.5 for place in range(60)]
    _, targets, _ = infer([kind(cell) for cell in cells], task="regression", parts=3)
    assert targets.unique().numel() < 60
    (message,) = [record.getMessage() for record in caplog.records]
    assert "the target 'y0' ranges from 1700000000 to 1700001969.5" in message
    assert "Subtract 1700000000 from it in the file" in message


@pytest.mark.parametrize("missing", ["NA", "NaN", "null", ""])
def test_missing_markers_among_numbers_are_no_classes(missing):
    frame = pd.DataFrame({"y": ["0", "1", missing, "1"] * 5})
    draft = infer_target(frame, ["y"], None)
    encoded = draft.encode(frame).astype(np.float32)
    assert np.isnan(encoded[2::4]).all()
    used = encoded[~np.isnan(encoded[:, 0])]
    _, _, encoder = finish_targets(draft, used, None, Path("rows.csv"))
    assert encoder.class_names == ("0", "1")
    assert np.isnan(encoder.encode(frame)[2::4]).all()


def test_classes_that_look_like_missing_markers_are_reported(caplog):
    assert infer(["yes", "no", "NA"] * 4)[2].class_names == ("NA", "no", "yes")
    assert "'NA' is a class of the target 'y0'" in caplog.text
