"""Data that are no longer what a network learnt from are refused, whatever has changed."""

import io

import numpy as np
import pandas as pd
import pytest
import torch

from brainnet.data.datamodule import DataModule
from brainnet.data.dataset import Dataset
from brainnet.data.images import Images
from brainnet.data.table import Table
from brainnet.errors import InputError


@pytest.fixture
def frame():
    random = np.random.default_rng(0)
    found = pd.DataFrame({"age": random.integers(20, 90, 60), "colour": ["red", "blue"] * 30})
    found["price"] = found["age"] * 1.5 + (found["colour"] == "red")
    found["kind"] = np.where(found["age"] > 50, "old", "young")
    return found


def module(folder, frame, target="kind", **options):
    frame.to_csv(folder / "rows.csv", index=False)
    options = {"drop": [name for name in ("kind", "price") if name not in target], **options}
    return DataModule(Table(folder / "rows.csv", target, **options))


def stored(data):
    """The state as a checkpoint brings it back."""
    file = io.BytesIO()
    torch.save(data.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_the_very_data_are_taken_and_older_states_too(tmp_path, frame):
    data = module(tmp_path, frame)
    state = stored(data)
    data.train_dataloader()  # which scales the rows where they lie
    data.load_state_dict(state)
    module(tmp_path, frame).load_state_dict(state)
    for older in (("rows", "digest"), ("preparation", "task", "class_names", "rows", "digest")):
        module(tmp_path, frame.iloc[:50]).load_state_dict(
            {key: value for key, value in state.items() if key not in older}
        )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: pd.concat([rows, rows[:9]]), r"has 69 rows now, and 60 when"),
        (lambda rows: rows.iloc[::-1], "no longer the same"),
        (lambda rows: rows.replace({"age": {rows["age"][3]: 19}}), "no longer the same"),
        (
            lambda rows: rows.replace({"colour": {"red": "zreen"}}),
            "column 'colour' with the words blue, zreen now, and the network learnt blue, red",
        ),
        (
            lambda rows: rows.replace({"kind": {"old": "abc"}}),
            "has the classes abc, young now, and the network learnt old, young",
        ),
        (lambda rows: rows.rename(columns={"age": "years"}), "the columns? years, colour now"),
    ],
    ids=["appended", "turned", "cell", "word", "class", "column"],
)
def test_a_file_that_changed_is_refused(tmp_path, frame, change, said):
    state = stored(module(tmp_path, frame))
    with pytest.raises(InputError, match=said):
        module(tmp_path, change(frame)).load_state_dict(state)


def test_other_options_that_keep_the_number_of_inputs_are_refused(tmp_path, frame):
    frame["size"] = frame["age"] % 7
    state = stored(module(tmp_path, frame, drop=["price", "size"]))
    with pytest.raises(InputError, match="the network learnt age, colour"):
        module(tmp_path, frame, drop=["price", "age"]).scale_as(state)
    state = stored(module(tmp_path, frame, ["price", "size"], drop=["kind"]))
    with pytest.raises(InputError, match="the numbers to predict size, price now"):
        module(tmp_path, frame, ["size", "price"], drop=["kind"]).scale_as(state)


def test_other_rows_that_mean_the_same_may_be_judged_but_not_gone_on_with(tmp_path, frame):
    state = stored(module(tmp_path, frame))
    other = module(tmp_path, frame.iloc[:40])
    other.scale_as(state)
    assert other.scaling.to_dict() == state["scaling"]
    with pytest.raises(InputError, match="40 rows now, and 60"):
        other.check_unchanged(state)


def test_a_file_that_changes_while_it_is_in_use_is_refused(tmp_path, frame):
    data, other = module(tmp_path, frame), module(tmp_path, frame, missing="refuse")
    scaled_otherwise = DataModule(other.source, normalize="minmax").state_dict()
    data.train_dataloader()
    frame.iloc[:50].to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(InputError, match="has 50 rows now, and 60 when"):
        data.load_state_dict(scaled_otherwise)


def test_arrays_and_built_in_rows_tell_no_checksum_and_names_alone_do_not_part_them():
    iris = DataModule("iris")
    assert "digest" not in iris.state_dict()
    rows = iris.dataset
    arrays = DataModule(Dataset.from_arrays(rows.inputs, rows.targets))
    arrays.load_state_dict(iris.state_dict())
    iris.load_state_dict(arrays.state_dict())


def test_pictures_that_changed_are_refused(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (40, 3, 3), dtype=np.uint8)
    labels = np.arange(40) % 2

    def pictures(images):
        np.savez(tmp_path / "pictures.npz", images=images, labels=labels)
        return DataModule(Images(tmp_path / "pictures.npz"))

    state = stored(pictures(values))
    pictures(values).load_state_dict(state)
    with pytest.raises(InputError, match="no longer the same"):
        pictures(255 - values).load_state_dict(state)
    coloured = DataModule(Images(tmp_path / "pictures.npz", colours="rgb"))
    with pytest.raises(InputError, match="pictures of 3 x 3, 3 colours now"):
        coloured.scale_as({**state, "scaling": coloured.scaling.to_dict()})
