"""Tests of the built-in data sets and of paths in a configuration."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from brainnet.data.datasets import (
    BUILTIN_SOURCES,
    IMAGES_TARGET,
    TABLE_TARGET,
    Blobs,
    BreastCancer,
    Circles,
    Diabetes,
    Digits,
    Iris,
    Moons,
    NoisyRegression,
    Spirals,
    Wine,
    Xor,
    find_source,
    is_same_path,
    resolve_paths,
)
from brainnet.errors import InputError

GENERATED = [Moons, Circles, Spirals, Xor, Blobs, NoisyRegression]


@pytest.mark.parametrize(
    ("source", "shape", "task", "classes"),
    [
        (Digits, (1797, 64), "multiclass", 10),
        (Iris, (150, 4), "multiclass", 3),
        (Wine, (178, 13), "multiclass", 3),
        (BreastCancer, (569, 30), "binary", 2),
        (Diabetes, (442, 10), "regression", 0),
        (Moons, (1000, 2), "binary", 2),
        (Circles, (1000, 2), "binary", 2),
        (Spirals, (1000, 2), "binary", 2),
        (Xor, (1000, 2), "binary", 2),
        (Blobs, (1000, 2), "multiclass", 3),
        (NoisyRegression, (1000, 10), "regression", 0),
    ],
)
def test_shape_task_and_classes(source, shape, task, classes):
    dataset = source().load(seed=0)
    assert dataset.inputs.shape == shape
    assert dataset.task == task
    assert len(dataset.class_names) == classes
    assert BUILTIN_SOURCES[dataset.name] is source


def test_first_rows_have_known_values():
    digits, expected = Digits().load(seed=0), load_digits()
    assert digits.inputs.tolist() == expected.data.tolist()
    assert digits.targets.tolist() == expected.target.tolist()
    assert digits.input_names == tuple(expected.feature_names)
    iris = Iris().load(seed=0)
    assert iris.inputs[0].tolist() == pytest.approx([5.1, 3.5, 1.4, 0.2])
    assert iris.class_names == ("setosa", "versicolor", "virginica")
    assert BreastCancer().load(seed=0).class_names == ("malignant", "benign")


def test_diabetes_is_not_scaled():
    diabetes = Diabetes().load(seed=0)
    assert diabetes.input_names[0] == "age"
    assert diabetes.inputs[0, 0] == 59
    assert diabetes.targets[0].tolist() == [151]


@pytest.mark.parametrize("source", GENERATED)
def test_generated_rows_depend_only_on_the_seed(source):
    once, again, other = (source(rows=50).load(seed) for seed in (3, 3, 4))
    assert torch.equal(once.inputs, again.inputs)
    assert torch.equal(once.targets, again.targets)
    assert not torch.equal(once.inputs, other.inputs)


@pytest.mark.parametrize("source", [Moons, Circles, Spirals, Xor])
def test_two_classes_have_equally_many_rows(source):
    assert source(rows=100).load(seed=0).targets.bincount().tolist() == [50, 50]


def test_xor_targets_are_the_exclusive_or():
    xor = Xor(rows=400, noise=0).load(seed=1)
    first, second = xor.inputs.long().unbind(dim=1)
    assert torch.equal(xor.targets, first ^ second)


def test_noise_is_the_standard_deviation():
    clean, noisy = (Xor(rows=20000, noise=noise).load(seed=0) for noise in (0.0, 0.2))
    assert (noisy.inputs - clean.inputs).std().item() == pytest.approx(0.2, rel=0.02)


def test_spirals_follow_their_formula():
    spirals = Spirals(rows=60, noise=0, classes=3, turns=2).load(seed=5)
    x, y = spirals.inputs.double().unbind(dim=1)
    radius = torch.hypot(x, y)
    angle = 2 * math.pi * (2 * radius + spirals.targets / 3)
    expected = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)
    torch.testing.assert_close(spirals.inputs.double(), expected, atol=1e-5, rtol=0)
    assert radius.min() >= 0.1 - 1e-6
    assert radius.max() <= 1 + 1e-6


def test_noisy_regression_follows_its_formula():
    dataset = NoisyRegression(rows=30, noise=0).load(seed=0)
    x = dataset.inputs.double().numpy()
    surface = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2
    surface += 10 * x[:, 3] + 5 * x[:, 4]
    np.testing.assert_allclose(dataset.targets[:, 0].numpy(), surface, rtol=1e-5)


def test_blobs_have_the_requested_sizes():
    blobs = Blobs(rows=40, classes=2, inputs=5).load(seed=0)
    assert blobs.task == "binary"
    assert blobs.inputs.shape == (40, 5)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Moons(rows=0), "rows must be a whole number of 1 or more; got 0"),
        (lambda: Moons(rows=1e3), "got 1000.0"),
        (lambda: Xor(rows=True), "got True"),
        (lambda: Xor(noise=-0.1), "noise must be a finite number of 0 or more; got -0.1"),
        (lambda: Spirals(noise=math.nan), "got nan"),
        (lambda: Spirals(noise="loud"), "got 'loud'"),
        (lambda: Spirals(classes=1), "classes must be a whole number of 2 or more"),
        (lambda: Circles(factor=1.0), "factor must be less than 1"),
        (lambda: Blobs(inputs=0), "inputs must be"),
    ],
)
def test_options_are_checked_on_construction(build, words):
    with pytest.raises(InputError, match=words):
        build()


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5, None])
def test_invalid_seed_is_rejected(seed):
    with pytest.raises(InputError, match="seed must be a whole number from 0 to 4294967295"):
        Moons().load(seed)


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(
        InputError, match=r"'mons'\. Did you mean moons\? The built-in .* are digits,"
    ):
        find_source("mons")
    with pytest.raises(InputError) as raised:
        find_source("xyzzy")
    assert "Did you mean" not in str(raised.value)


@pytest.mark.parametrize("name", ["my.csv", "folder/my"])
def test_file_name_instead_of_a_data_set_explains_table(name):
    with pytest.raises(InputError, match=r"brainnet\.data\.table\.Table\('[a-z./]+', TARGET\)"):
        find_source(name)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        *((TABLE_TARGET, key) for key in ("path", "validation_path", "test_path")),
        (IMAGES_TARGET, "labels"),
    ],
)
def test_paths_become_absolute_and_other_keys_are_unchanged(folder, kind, key):
    data = {"_target_": kind, "target": "rows.csv", "columns": None, key: "rows.csv"}
    assert resolve_paths(data) == data | {key: str(folder / "rows.csv")}


def test_keys_of_other_classes_are_unchanged(folder):
    data = {"_target_": "mine.Rows", "path": "rows.csv"}
    assert resolve_paths(data) == data


def test_links_and_relative_paths_are_the_same_file(folder):
    (folder / "rows.csv").touch()
    (folder / "other.csv").touch()
    (folder / "link.csv").symlink_to("rows.csv")
    assert resolve_paths({"_target_": TABLE_TARGET, "path": "link.csv"})["path"] == str(
        folder / "link.csv"
    )
    for spelled in ("./rows.csv", "link.csv", f"../{folder.name}/rows.csv", folder / "rows.csv"):
        assert is_same_path("rows.csv", spelled)
    assert not is_same_path("rows.csv", "other.csv")
    assert not is_same_path("gone.csv", "rows.csv")
    assert is_same_path(None, None)
