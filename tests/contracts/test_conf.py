"""YAML files: they are short and described, the schema lists their keys, and every one builds."""

import inspect
from pathlib import Path

import numpy as np
import pytest
import yaml

from brainnet.config.components import build_components
from brainnet.config.compose import compose_config, parse_overrides, resolve_config
from brainnet.config.instantiate import (
    DATAMODULE_KEYS,
    TargetAllowList,
    check_targets,
    resolve_target,
)
from brainnet.config.schema import (
    KEYS,
    KEYS_BY_PATH,
    check_config,
    find_conf_directory,
    iterate_leaves,
)
from brainnet.data.datamodule import DataModule
from brainnet.data.datasets import DATA_SOURCES
from brainnet.learning.gradient_descent import OPTIMIZERS
from brainnet.learning.learning_rate import SCHEDULES
from brainnet.learning.loss import LOSSES
from brainnet.structure.activation_registry import ACTIVATIONS

FILES = sorted(find_conf_directory().rglob("*.yaml"))
GLOBAL = ("experiment", "debug")


def format_name(file: Path) -> str:
    return file.relative_to(find_conf_directory()).as_posix()


def read_keys(file: Path) -> dict[str, object]:
    """Return the keys that a file sets, by their dotted path in the whole configuration."""
    content = {k: v for k, v in yaml.safe_load(file.read_text()).items() if k != "defaults"}
    group = file.parent.name
    nested = (
        content if file.parent == find_conf_directory() or group in GLOBAL else {group: content}
    )
    return dict(iterate_leaves(nested))


@pytest.mark.parametrize("file", FILES, ids=format_name)
def test_file_is_short_and_begins_with_a_sentence(file):
    lines = file.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 25
    sentence = lines[1] if lines[0] == "# @package _global_" else lines[0]
    assert sentence.startswith("# ")
    assert sentence.endswith(".")


def test_schema_lists_exactly_the_keys_of_the_files():
    files = [file for file in FILES if file.parent.name != "hydra"]
    assert {path for file in files for path in read_keys(file)} == {key.path for key in KEYS}
    assert len(KEYS_BY_PATH) == len(KEYS)


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("data", set(DATA_SOURCES)),
        ("activation", set(ACTIVATIONS)),
        ("optimizer", set(OPTIMIZERS)),
        ("schedule", {"constant", *SCHEDULES}),
        ("loss", {"auto", *LOSSES}),
    ],
)
def test_choices_equal_the_registries_of_python(group, names):
    files = {file.stem for file in (find_conf_directory() / group).glob("[!_]*.yaml")}
    assert files == names


@pytest.mark.parametrize(
    "file",
    [
        f
        for f in FILES
        if f.parent != find_conf_directory() and f.stem != "custom" and f.stem[0] != "_"
    ],
    ids=format_name,
)
def test_every_file_builds(file, tmp_path):
    choice = f"{file.parent.name}={file.stem}"
    if file.parent.name in ("hydra", "paths"):
        words = []
    elif choice == "loss=binary_cross_entropy":
        words = [choice, "data=moons"]
    elif choice == "data=table":
        file = tmp_path / "rows.csv"
        file.write_text("size,kind\n" + "1.5,big\n2.5,small\n" * 5)
        words = [choice, f"data.path={file}", "data.target=kind"]
    elif choice == "data=images":
        sizes = np.array([10, 2, 2], ">u4").tobytes()
        (tmp_path / "images-ubyte").write_bytes(b"\0\0\x08\x03" + sizes + bytes(range(40)))
        header = b"\0\0\x08\x01" + sizes[:4]
        (tmp_path / "labels-ubyte").write_bytes(header + bytes([0, 1] * 5))
        words = [choice, f"data.path={tmp_path / 'images-ubyte'}"]
    elif choice in ("loss=mean_squared_error", "loss=mean_absolute_error", "loss=huber"):
        words = [choice, "data=diabetes"]
    else:
        words = [choice]
    if choice == "trainer=gpu":
        pytest.skip("needs a GPU to be built on")
    config = resolve_config(compose_config(parse_overrides(words)))
    check_config(config)
    check_targets(config, TargetAllowList())
    parts = build_components(config, TargetAllowList(), tmp_path)
    network, inputs = parts["network"], parts["data"].sample[0]
    assert network(inputs).shape[0] == len(inputs)
    optimizer = parts["optimizer"](network.parameters())
    if parts["schedule"] is not None:
        parts["schedule"](optimizer, 10)


@pytest.mark.parametrize("file", FILES, ids=format_name)
def test_defaults_of_files_and_classes_agree(file):
    content = yaml.safe_load(file.read_text())
    target = content.get("_target_")
    if target in (None, "???"):
        return
    options = {k: v for k, v in content.items() if k not in ("_target_", "defaults")}
    chosen = {"optimizer": "lr", "observe": "level"}.get(file.parent.name)
    options.pop(chosen, None)  # what the file is there to choose
    signature = inspect.signature(resolve_target(target, file.parent.name, TargetAllowList()))
    for key, value in options.items():
        parameter = signature.parameters.get(key)
        if parameter is None or parameter.default is parameter.empty or value is None:
            continue
        if isinstance(value, dict) and not any(value.values()):
            value = None  # a group of keys that are all null
        default = parameter.default
        same = list(default) == value if isinstance(default, tuple) else default == value
        assert same, f"{key}: {value} in {format_name(file)}, {default} in {target}"


def test_defaults_of_the_data_module_agree():
    content = yaml.safe_load((find_conf_directory() / "data" / "_module.yaml").read_text())
    signature = inspect.signature(DataModule).parameters
    assert content == {key: signature[key].default for key in DATAMODULE_KEYS}
