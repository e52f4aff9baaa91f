"""What somebody holds in Python keeps the names that it carries."""

import numpy as np
import pandas as pd
import pytest
import torch

from brainnet import Network, fit, load
from brainnet.data.dataset import Dataset
from brainnet.errors import InputError

ROWS = 60


def frame():
    return pd.DataFrame({"a": np.arange(ROWS) / 7, "b": np.arange(ROWS)[::-1] * 3.0})


def test_columns_of_a_frame_go_by_name_to_predict(tmp_path):
    data, answers = frame(), np.arange(ROWS) % 2
    run = fit(
        Network([2, 4, 2]), (data, answers), folder=tmp_path / "run", epochs=1, progress=False
    )
    trained = load(run.folder)
    assert trained.preparation.names == ("a", "b")
    as_learnt = trained.predict(data)
    pd.testing.assert_frame_equal(trained.predict(data[["b", "a"]]), as_learnt)
    pd.testing.assert_frame_equal(trained.predict(data.to_numpy()), as_learnt)
    with pytest.raises(InputError, match="lack the columns a, b"):
        trained.predict(data.set_axis(["x", "y"], axis=1))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b"], ("a", "b")),
        ([0, 1], ("input_0", "input_1")),
        ([2020, 2021], ("2020", "2021")),
        (["a", "a"], ("input_0", "input_1")),
        (pd.MultiIndex.from_tuples([("a", 1), ("a", 2)]), ("input_0", "input_1")),
    ],
)
def test_columns_are_called_as_in_their_frame_where_each_has_a_name(names, expected):
    made = Dataset.from_arrays(frame().set_axis(names, axis=1), np.arange(ROWS) % 2)
    assert made.input_names == expected
    assert made.inputs[:, 1].tolist() == frame()["b"].tolist()


def test_numbers_to_predict_are_called_as_in_their_frame():
    assert Dataset.from_arrays(frame(), frame()["a"]).target_names == ("a",)
    assert Dataset.from_arrays(frame(), frame()).target_names == ("a", "b")
    assert Dataset.from_arrays(frame(), frame().to_numpy()).target_names == ()


@pytest.mark.parametrize("kind", [list, np.array, pd.Series, pd.Categorical])
def test_words_are_classes_of_these_names(kind):
    made = Dataset.from_arrays(np.zeros((4, 1)), kind(["kiwi", "apple", "plum", "kiwi"]))
    assert made.task == "multiclass"
    assert made.class_names == ("apple", "kiwi", "plum")
    assert made.targets.tolist() == [1, 0, 2, 1]


def test_classes_keep_their_names_from_words_to_answers(tmp_path):
    answers = np.where(frame()["a"] > 4, "high", "low")
    run = fit(Network([2, 4, 1]), (frame(), answers), folder=tmp_path / "run", progress=False)
    said = load(run.folder).predict(frame())
    assert said.columns.tolist() == ["prediction", "probability high", "probability low"]
    assert set(said["prediction"]) <= {"high", "low"}


@pytest.mark.parametrize(
    ("targets", "task", "said"),
    [
        (["a", "a"], None, "at least two classes; all 2 are 'a'"),
        (["a", None], None, "all words or all numbers; row 1 is None"),
        (np.array([1, "a"], dtype=object), None, "row 0 is 1, and others are words, such as 'a'"),
        (["a", "b"], "regression", r"got words \('a', 'b' \.\.\.\)\. Leave out the task"),
        ([["a"], ["b"]], None, "targets must be numbers; got words"),
    ],
)
def test_labels_that_are_no_classes_are_refused(targets, task, said):
    with pytest.raises(InputError, match=said):
        Dataset.from_arrays(torch.zeros(2, 1), targets, task=task)


def test_a_frame_alone_is_asked_for_its_target():
    with pytest.raises(InputError, match=r"\(frame\[INPUTS\], frame\[TARGET\]\).*Table\(FILE"):
        fit(Network([2, 4, 2]), frame(), progress=False)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, pd.DataFrame])
def test_numbers_that_32_bits_merge_are_told(kind, caplog):
    table = 1000 + np.arange(120).reshape(60, 2) * 1e-6
    table[:, 0] = np.arange(60)
    made = Dataset.from_arrays(kind(table), np.arange(60) % 2)
    assert made.inputs[:, 1].unique().numel() < 60
    (said,) = [record.getMessage() for record in caplog.records]
    assert "goes from 1000.000001 to 1000.000119, so close" in said
    assert "Subtract 1000.000001 from it to learn" in said
    Dataset.from_arrays(kind(table.astype(np.float32)), np.arange(60) % 2)
    assert len(caplog.records) == 1


def test_targets_that_32_bits_merge_are_told(caplog):
    times = pd.Series(1.7e9 + np.arange(60) * 50, name="time")
    Dataset.from_arrays(np.zeros((60, 1)), times)
    assert "the target 'time' goes from 1700000000 to 1700002950" in caplog.text
    caplog.clear()
    Dataset.from_arrays(np.zeros((60, 1)), times - 1.7e9)
    assert not caplog.records
