"""Schema: value types, checks, and the groups and choices of `conf/`."""

import pytest

from brainnet.config import schema
from brainnet.config.schema import (
    KEYS_BY_PATH,
    RUN_NAME,
    ValueType,
    check_config,
    find_conf_directory,
    list_choices,
    list_groups,
    read_choice_keys,
)
from brainnet.errors import InputError

VALUES = [0, 1, -1, 2, 0.5, 1.5, float("nan"), float("inf"), True, "a", "", None, [1], [], [0], {}]
TEXT, FLAG = schema._TEXT, schema._FLAG


@pytest.mark.parametrize(
    ("kind", "accepted"),
    [
        (schema._integer(1), [1, 2]),
        (schema._integer(0, 1), [0, 1]),
        (schema._number(above=0), [1, 2, 0.5, 1.5]),
        (schema._number(minimum=0, below=1), [0, 0.5]),
        (schema._number(maximum=0), [0, -1]),
        (FLAG, [True]),
        (TEXT, ["a"]),
        (RUN_NAME, ["a"]),
        (schema._option("a", 2), [2, "a"]),
        (schema._nullable(TEXT), ["a", None]),
        (schema._either(TEXT, FLAG), [True, "a"]),
        (schema._list(schema._integer(1)), [[1]]),
        (schema._list(schema._integer(1), empty=True), [[1], []]),
        (schema._list(schema._integer(0), length=1), [[1], [0]]),
    ],
    ids=lambda value: value.description if isinstance(value, ValueType) else "",
)
def test_type_accepts_its_values_only(kind, accepted):
    assert [value for value in VALUES if kind.accepts(value)] == accepted


@pytest.mark.parametrize(
    "name", ["../out", "a/b", "a\\b", ".", "..", " ", "-x", "a" * 101, "latest", "Latest"]
)
def test_run_name_cannot_leave_its_folder(name):
    assert not RUN_NAME.accepts(name)


@pytest.mark.parametrize(
    ("kind", "description"),
    [
        (schema._number(above=0, maximum=1), "a number > 0 and <= 1"),
        (schema._number(), "a number"),
        (schema._list(schema._integer(1)), "a list, each an integer >= 1"),
        (schema._integer(0, 9), "an integer >= 0 and <= 9"),
        (schema._either(TEXT, schema._option("")), "a text or ''"),
        (schema._nullable(FLAG, "detected"), "true or false, or null (detected)"),
    ],
)
def test_description_states_the_bounds(kind, description):
    assert kind.description == description


def test_groups_follow_the_order_of_train_yaml():
    assert list_groups()[:5] == ["data", "network", "activation", "loss", "optimizer"]
    assert all((find_conf_directory() / group).is_dir() for group in list_groups())


def test_choices_exclude_files_that_are_parts_of_others():
    names = list_choices("data")
    assert "digits" in names
    assert "_module" not in names
    assert read_choice_keys("data", "moons")["noise"] == 0.1


def test_every_choice_has_a_meaning():
    missing = [
        (group, name)
        for group in list_groups()
        for name, meaning in list_choices(group).items()
        if not meaning.endswith(".")
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "data is missing: choose one, data=..."),
        ({"data": {"path": "???"}}, r"data\.path must be given: data\.path=\.\.\. \(a text"),
        ({"data": {"batch_size": True}}, "data.batch_size must be an integer >= 1 .*; got true"),
        ({"data": {"bach_size": 1}, "sed": 1}, "there is no key sed. Did you mean seed?"),
        ({"data": {}, "callbacks": {"patience": 5}}, "callbacks.patience needs a class .* got 5"),
    ],
)
def test_check_reports_the_key_and_what_it_needs(config, message):
    with pytest.raises(InputError, match=message):
        check_config(config, ("data",))


def test_keys_of_a_users_class_are_not_checked():
    check_config({"network": {"_target_": "their.Net", "hidden": "many"}}, ("network",))
    with pytest.raises(InputError, match=r"network\.hidden must be a list"):
        check_config({"network": {"_target_": "torch.nn.Linear", "hidden": "many"}}, ("network",))


@pytest.mark.parametrize("path", ["seed", "paths.runs"])
def test_a_complete_configuration_needs_keys_without_a_group(path):
    groups = {key.partition(".")[0] for key in KEYS_BY_PATH if "." in key}
    config = {group: {} for group in groups} | {"seed": 1, "paths": {"runs": "runs"}}
    check_config(config)
    group, _, key = path.rpartition(".")
    del (config[group] if group else config)[key]
    with pytest.raises(InputError, match=f"{path} is missing: {path}=\\.\\.\\. \\("):
        check_config(config)
