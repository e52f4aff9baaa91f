"""Tests of data sets: their checks, their names, and comparing them with a run."""

import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from brainnet import Network, fit, load
from brainnet.data.datamodule import DataModule
from brainnet.data.dataset import Dataset, describe_dataset, restore_encoder
from brainnet.data.image_files import ImageEncoder
from brainnet.data.images import Images
from brainnet.data.preprocessing import ColumnEncoder, TableEncoder
from brainnet.data.table import Table
from brainnet.errors import InputError


def dataset(**changes):
    parts = {
        "name": "two rows",
        "task": "binary",
        "inputs": torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
        "targets": torch.tensor([0, 1]),
        "input_names": ("a", "b", "c"),
        "class_names": ("no", "yes"),
    }
    return Dataset(**{**parts, **changes})


def test_sizes_follow_from_the_tensors():
    assert len(dataset()) == 2
    assert (dataset().input_count, dataset().target_count) == (3, 2)
    numbers = {"task": "regression", "targets": torch.zeros(2, 5), "class_names": ()}
    assert dataset(**numbers).target_count == 5
    assert dataset(**numbers).target_names == tuple(f"target_{i}" for i in range(5))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": "ranking"}, "multiclass, binary, regression"),
        ({"inputs": torch.zeros(2, 3, 1)}, r"reshape\(len\(inputs\), -1\)"),
        ({"inputs": torch.zeros(0, 3)}, r"at least one row; got .* \(0, 3\)"),
        ({"inputs": torch.zeros(2, 3).double()}, "float64"),
        ({"inputs": torch.zeros(2, 3, device="meta")}, "on the CPU, .* on meta"),
        ({"input_names": ("a",)}, "needs 3 input_names; got 1"),
        ({"image_shape": (2, 2)}, "needs 3 pixels in image_shape; got 4"),
        ({"image_shape": (3, 2, 2)}, "needs 3 pixels in image_shape; got 12"),
        ({"part_sizes": (1, 1, 1)}, "needs 2 rows in part_sizes; got 3"),
        ({"part_sizes": (0, 1, 1)}, r"with a training row; got \(0, 1, 1\)"),
        (
            {
                "task": "regression",
                "targets": torch.zeros(2, 1),
                "class_names": (),
                "target_names": ("a", "b"),
            },
            "needs 1 target_names; got 2",
        ),
        ({"targets": torch.tensor([0, 1, 1])}, "needs 2 rows of targets; got 3"),
        ({"target_names": ("a",)}, "needs 0 target_names; got 1"),
        (
            {"targets": torch.tensor([0.0, 1.0])},
            "must be torch.int64 on the CPU, with 1 dim",
        ),
        ({"targets": torch.tensor([0, 2])}, "from 0 to 1; got 0 to 2"),
        ({"targets": torch.tensor([-1, 1])}, "got -1 to 1"),
        ({"class_names": ("a", "b", "c")}, "a binary task needs 2 class_names; got 3"),
        (
            {"task": "multiclass", "class_names": ("a",)},
            "needs 2 or more class_names; got 1",
        ),
        ({"task": "regression"}, "must be torch.float32 on the CPU, with 2 dimensions"),
        (
            {"task": "regression", "targets": torch.zeros(2, 1)},
            "a regression task needs 0 class_names; got 2",
        ),
        (
            {"task": "regression", "targets": torch.zeros(3, 1), "class_names": ()},
            "needs 2 rows of targets; got 3",
        ),
    ],
)
def test_mismatched_parts_are_rejected(changes, words):
    with pytest.raises(InputError, match=words):
        dataset(**changes)


def test_cells_that_are_not_finite_are_rejected():
    inputs = torch.zeros(2, 3)
    inputs[1, 2] = -torch.inf
    with pytest.raises(InputError, match=r"row 1 column 'c' is -inf\. Fill in such cells"):
        dataset(inputs=inputs)


def test_numeric_targets_must_be_finite():
    targets = torch.tensor([[1.0], [torch.nan]])
    with pytest.raises(InputError, match=r"targets must be finite .* row 1 column 'target_0'"):
        dataset(task="regression", targets=targets, class_names=())


def test_numeric_arrays_become_float32():
    made = Dataset.from_arrays(np.array([[1, 2], [3, 4], [5, 6]], dtype=np.int8), [2, 0, 1])
    assert made.task == "multiclass"
    assert made.inputs.dtype == torch.float32
    assert made.inputs.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert made.targets.tolist() == [2, 0, 1]
    assert made.input_names == ("input_0", "input_1")
    assert made.class_names == ("0", "1", "2")


def test_true_and_false_are_two_classes():
    made = Dataset.from_arrays([[0.0], [1.0]], [True, False])
    assert (made.task, made.class_names) == ("binary", ("0", "1"))
    assert made.targets.tolist() == [1, 0]


def test_task_can_be_given():
    inputs = [[0.0], [1.0], [2.0]]
    assert Dataset.from_arrays(inputs, [7, 3, 5], task="regression").targets.tolist() == [
        [7],
        [3],
        [5],
    ]
    assert Dataset.from_arrays(inputs, [0, 1, 1], task="multiclass").task == "multiclass"


def test_arrays_are_copied():
    inputs, targets = np.zeros((2, 1), dtype=np.float32), torch.tensor([0, 1])
    made = Dataset.from_arrays(inputs, targets)
    inputs[0], targets[0] = 9, 1
    assert made.inputs.tolist() == [[0], [0]]
    assert made.targets.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("inputs", "targets", "words"),
    [
        ([["red"], ["blue"]], [0, 1], r"got 'red', 'blue' \.\.\. \(<U4\)"),
        ([], [], "no rows"),
        (torch.zeros(0, 3), torch.zeros(0), "no rows"),
        (torch.zeros(3, 1), [], "no rows"),
        ([[1.0], [2.0, 3.0]], [0, 1], "rows of one length"),
        ([[1j], [2.0]], [0, 1], "complex"),
        ([[1.0], [2.0]], [1, 2], "no gap; got 1, 2. Renumber them"),
        ([[1.0], [2.0]], [0, 0], "needs 2 or more class_names; got 1"),
        ([[1.0]] * 9, list(range(10, 19)), r"got 10, 11, 12, 13, 14, 15, \.\.\."),
        (torch.ones(2, 1, dtype=torch.complex64), [0, 1], "complex64"),
        (5.0, [0, 1], r"of shape \(\)"),
    ],
)
def test_invalid_arrays_are_rejected(inputs, targets, words):
    with pytest.raises(InputError, match=words):
        Dataset.from_arrays(inputs, targets)


def test_images_stay_bytes():
    made = dataset(inputs=torch.zeros(2, 3, dtype=torch.uint8), image_shape=(3, 1, 1))
    assert made.inputs.dtype == torch.uint8


def test_missing_numbers_are_allowed_if_imputed():
    inputs = torch.tensor([[1.0, torch.nan, 3.0], [4.0, 5.0, 6.0]])
    columns = TableEncoder.from_names("abc")
    with pytest.raises(InputError, match="row 0 column 'b' is nan"):
        dataset(inputs=inputs, encoder=columns)
    imputing = replace(columns, imputes=True)
    assert dataset(inputs=inputs, encoder=imputing).inputs is inputs
    inputs[1, 2] = torch.inf
    with pytest.raises(InputError, match="row 1 column 'c' is inf"):
        dataset(inputs=inputs, encoder=imputing)


def test_cells_of_a_long_table_are_listed_by_row():
    inputs = torch.zeros(70_000, 1)
    inputs[69_999] = torch.nan
    with pytest.raises(InputError, match="row 69999 column 'a'"):
        dataset(inputs=inputs, targets=torch.arange(70_000) % 2, input_names=("a",))


ROWS = 60


def numeric_frame():
    return pd.DataFrame({"a": np.arange(ROWS) / 7, "b": np.arange(ROWS)[::-1] * 3.0})


def test_predict_matches_columns_of_a_frame_by_name(tmp_path):
    data, answers = numeric_frame(), np.arange(ROWS) % 2
    run = fit(
        Network([2, 4, 2]), (data, answers), folder=tmp_path / "run", epochs=1, progress=False
    )
    trained = load(run.folder)
    assert trained.encoder.names == ("a", "b")
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
        ([2020, 2021], ("input_0", "input_1")),
        (["a", "a"], ("input_0", "input_1")),
        (pd.MultiIndex.from_tuples([("a", 1), ("a", 2)]), ("input_0", "input_1")),
    ],
)
def test_column_names_of_a_frame_are_kept(names, expected):
    made = Dataset.from_arrays(numeric_frame().set_axis(names, axis=1), np.arange(ROWS) % 2)
    assert made.input_names == expected
    assert made.inputs[:, 1].tolist() == numeric_frame()["b"].tolist()


def test_target_names_of_a_frame_are_kept():
    assert Dataset.from_arrays(numeric_frame(), numeric_frame()["a"]).target_names == ("a",)
    assert Dataset.from_arrays(numeric_frame(), numeric_frame()).target_names == ("a", "b")
    assert Dataset.from_arrays(numeric_frame(), numeric_frame().to_numpy()).target_names == (
        "target_0",
        "target_1",
    )


@pytest.mark.parametrize("kind", [list, np.array, pd.Series, pd.Categorical])
def test_text_labels_are_classes(kind):
    made = Dataset.from_arrays(np.zeros((4, 1)), kind(["kiwi", "apple", "plum", "kiwi"]))
    assert made.task == "multiclass"
    assert made.class_names == ("apple", "kiwi", "plum")
    assert made.targets.tolist() == [1, 0, 2, 1]


def test_class_names_are_kept_until_predict(tmp_path):
    answers = np.where(numeric_frame()["a"] > 4, "high", "low")
    run = fit(
        Network([2, 4, 1]), (numeric_frame(), answers), folder=tmp_path / "run", progress=False
    )
    said = load(run.folder).predict(numeric_frame())
    assert said.columns.tolist() == ["prediction", "probability high", "probability low"]
    assert set(said["prediction"]) <= {"high", "low"}


@pytest.mark.parametrize(
    ("targets", "task", "said"),
    [
        (["a", "a"], None, "needs 2 or more class_names; got 1"),
        (["a", None], None, "got 'a', None .* all must be text"),
        (np.array([1, "a"], dtype=object), None, "got 1, 'a'"),
        (["a", "b"], "regression", r"got 'a', 'b' .*\. Omit `task`"),
        ([["a"], ["b"]], None, "targets must be numbers; got 'a', 'b'"),
    ],
)
def test_invalid_labels_are_rejected(targets, task, said):
    with pytest.raises(InputError, match=said):
        Dataset.from_arrays(torch.zeros(2, 1), targets, task=task)


def test_frame_without_targets_is_rejected():
    with pytest.raises(InputError, match=r"\(frame\[INPUTS\], frame\[TARGET\]\).*Table\(FILE"):
        fit(Network([2, 4, 2]), numeric_frame(), progress=False)


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, pd.DataFrame])
def test_columns_merged_by_float32_are_reported(kind, caplog):
    table = 1000 + np.arange(120).reshape(60, 2) * 1e-6
    table[:, 0] = np.arange(60)
    made = Dataset.from_arrays(kind(table), np.arange(60) % 2)
    assert made.inputs[:, 1].unique().numel() < 60
    (said,) = [record.getMessage() for record in caplog.records]
    assert "ranges from 1000.000001 to 1000.000119, too narrow" in said
    assert "Subtract 1000.000001 from it to learn" in said
    Dataset.from_arrays(kind(table.astype(np.float32)), np.arange(60) % 2)
    assert len(caplog.records) == 1


def test_targets_merged_by_float32_are_reported(caplog):
    times = pd.Series(1.7e9 + np.arange(60) * 50, name="time")
    Dataset.from_arrays(np.zeros((60, 1)), times)
    assert "the target 'time' ranges from 1700000000 to 1700002950" in caplog.text
    caplog.clear()
    Dataset.from_arrays(np.zeros((60, 1)), times - 1.7e9)
    assert not caplog.records


@pytest.fixture
def frame():
    random = np.random.default_rng(0)
    found = pd.DataFrame({"age": random.integers(20, 90, 60), "colour": ["red", "blue"] * 30})
    found["price"] = found["age"] * 1.5 + (found["colour"] == "red")
    found["kind"] = np.where(found["age"] > 50, "old", "young")
    return found


def build_module(folder, frame, target="kind", **options):
    frame.to_csv(folder / "rows.csv", index=False)
    options = {"drop": [name for name in ("kind", "price") if name not in target], **options}
    return DataModule(Table(folder / "rows.csv", target, **options))


def store_state(data):
    """The state as a checkpoint brings it back."""
    file = io.BytesIO()
    torch.save(data.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_the_same_data_are_accepted(tmp_path, frame):
    data = build_module(tmp_path, frame)
    state = store_state(data)
    # Creating a loader scales the rows in place.
    data.train_dataloader()
    data.load_state_dict(state)
    build_module(tmp_path, frame).load_state_dict(state)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: pd.concat([rows, rows[:9]]), "has 69 rows now, and 60 when"),
        (lambda rows: rows.iloc[::-1], "values or their order changed"),
        (lambda rows: rows.replace({"age": {rows["age"][3]: 19}}), "values or their order changed"),
        (
            lambda rows: rows.replace({"colour": {"red": "zreen"}}),
            "values of column 'colour' changed from blue, red to blue, zreen",
        ),
        (
            lambda rows: rows.replace({"kind": {"old": "abc"}}),
            "classes changed from old, young to abc, young",
        ),
        (
            lambda rows: rows.rename(columns={"age": "years"}),
            "columns changed from age, colour to years, colour",
        ),
    ],
    ids=["appended", "turned", "cell", "word", "class", "column"],
)
def test_changed_file_is_rejected(tmp_path, frame, change, said):
    state = store_state(build_module(tmp_path, frame))
    with pytest.raises(InputError, match=said):
        build_module(tmp_path, change(frame)).load_state_dict(state)


def test_other_columns_with_the_same_count_are_rejected(tmp_path, frame):
    frame["size"] = frame["age"] % 7
    state = store_state(build_module(tmp_path, frame, drop=["price", "size"]))
    with pytest.raises(InputError, match="columns changed from age, colour to colour, size"):
        build_module(tmp_path, frame, drop=["price", "age"]).apply_scaling(state)
    state = store_state(build_module(tmp_path, frame, ["price", "size"], drop=["kind"]))
    with pytest.raises(InputError, match="targets changed from price, size to size, price"):
        build_module(tmp_path, frame, ["size", "price"], drop=["kind"]).apply_scaling(state)


def test_other_rows_can_be_evaluated_but_not_resumed(tmp_path, frame):
    state = store_state(build_module(tmp_path, frame))
    other = build_module(tmp_path, frame.iloc[:40])
    other.apply_scaling(state)
    assert other.scaling.to_dict() == state["scaling"]
    with pytest.raises(InputError, match="40 rows now, and 60"):
        other.check_unchanged(state)


def test_arrays_have_no_checksum_and_no_names():
    iris = DataModule("iris")
    assert "checksum" not in iris.state_dict()
    rows = iris.dataset
    arrays = DataModule(Dataset.from_arrays(rows.inputs, rows.targets))
    arrays.load_state_dict(iris.state_dict())
    iris.load_state_dict(arrays.state_dict())


def test_changed_images_are_rejected(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (40, 3, 3), dtype=np.uint8)
    file, labels = tmp_path / "images-ubyte", np.arange(40, dtype=np.uint8) % 2
    header = b"\0\0\x08\x01" + np.array([40], ">u4").tobytes()
    (tmp_path / "labels-ubyte").write_bytes(header + labels.tobytes())

    def build_images(images):
        sizes = np.array([40, 3, 3], ">u4").tobytes()
        file.write_bytes(b"\0\0\x08\x03" + sizes + images.tobytes())
        return DataModule(Images(file))

    state = store_state(build_images(values))
    build_images(values).load_state_dict(state)
    with pytest.raises(InputError, match="values or their order changed"):
        build_images(255 - values).load_state_dict(state)
    coloured = DataModule(Images(file, colors="rgb"))
    with pytest.raises(InputError, match="number of channels changed from 1 to 3"):
        coloured.apply_scaling({**state, "scaling": coloured.scaling.to_dict()})


def test_encoders_are_restored():
    columns = TableEncoder(
        (ColumnEncoder("age"), ColumnEncoder("colour", "category", ("blue", "red")))
    )
    for encoder in (columns, ImageEncoder(4, 5, 3)):
        store_state = json.loads(json.dumps(encoder.to_dict()))
        assert restore_encoder(store_state) == encoder


def test_numbers_are_stored_by_name():
    description = describe_dataset(dataset())
    assert description["encoder"] == {"kind": "numbers", "names": ["a", "b", "c"]}
    assert restore_encoder(description["encoder"]) == TableEncoder.from_names(["a", "b", "c"])
