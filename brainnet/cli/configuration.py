"""The checks that a composed configuration passes before anything is built or written."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from brainnet.building.targets import ROOTS, under
from brainnet.cli.keys import BY_PATH
from brainnet.errors import InputError
from brainnet.suggestion import did_you_mean

Config = dict[str, Any]

NEEDED = ("data", "network", "activation", "loss", "optimizer", "schedule", "trainer", "observe")
GROUPS = (*NEEDED, "logger", "callbacks", "paths")
# What they hold is called as its user likes.
NAMED = ("callbacks", "logger")
# Their keys go to a constructor, whose signature knows more keys than the table does.
OPEN = (*NEEDED, "logger", "callbacks")


def plain(config: DictConfig) -> Config:
    """The configuration as dicts, lists and primitives, Hydra's own node left out.

    Raises:
        InputError: where a `${...}` leads nowhere.
    """
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    try:
        found = OmegaConf.to_container(own, resolve=True)
    except OmegaConfBaseException as error:
        raise InputError(f"the configuration refers to what is not there: {error}") from error
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def check(config: Config, needed: Iterable[str] = NEEDED) -> None:
    """Hold every group and key against the table of keys.

    Args:
        config: the configuration.
        needed: groups that it cannot do without.

    Raises:
        InputError: for what is missing, unknown, of a wrong type or out of its range.
    """
    for group in needed:
        if not isinstance(config.get(group), Mapping):
            raise InputError(_missing(group))
    for path, value in leaves(config):
        check_key(path, value, config)
    for group in NAMED:
        for name, node in (config.get(group) or {}).items():
            if not isinstance(node, Mapping):
                raise InputError(
                    f"{group}.{name} needs a class and its settings; got {told(node)}. Give it a "
                    f"name of its own: +{group}.mine._target_=the.Class, and settings as "
                    f"+{group}.mine.KEY=VALUE."
                )


def check_begun(config: Config) -> None:
    """Hold a configuration against what is asked of it before all else.

    Raises:
        InputError: for what a file of the user's to start from, or `~`, leaves out.
    """
    if not isinstance(config.get("paths"), Mapping):
        raise InputError(_missing("paths"))
    there = dict(leaves(config))
    for path in ("seed", "paths.runs"):
        if path not in there:
            key = BY_PATH[path]
            raise InputError(f"{path} is missing: {path}=... ({key.kind.words}: {key.meaning}).")


def check_hidden(config: Config) -> None:
    """Refuse a new network without neurons of its own; one made in Python may have none.

    Raises:
        InputError: when `network.hidden` is empty.
    """
    if config["network"].get("hidden") == []:
        raise InputError(
            "network.hidden needs at least one layer, such as [8]; got []. Add "
            "activation=identity for a linear model: without a threshold, layers are worth one."
        )


def check_key(path: str, value: object, config: Mapping[str, Any]) -> None:
    """Hold one key against the table.

    Raises:
        InputError: when the key is unknown, or its value of a wrong type or out of range.
    """
    key = BY_PATH.get(path)
    group = path.partition(".")[0]
    if key is None:
        if group in OPEN and group != path:
            return
        raise InputError(
            f"there is no key {path}.{did_you_mean(path, BY_PATH)} "
            "brainnet train --help lists the keys."
        )
    if value == "???":
        raise InputError(f"{path} must be given: {path}=... ({key.kind.words}: {key.meaning}).")
    if is_own(config.get(group)) and not path.endswith("._target_"):
        return
    if not key.kind.accepts(value):
        raise InputError(f"{path} needs {key.kind.words} ({key.meaning}); got {told(value)}.")


def is_own(group: object) -> bool:
    """Whether a group is built from a class of the user's, whose keys are the user's too."""
    target = group.get("_target_") if isinstance(group, Mapping) else None
    return isinstance(target, str) and not under(target, ROOTS)


def _missing(group: str) -> str:
    return f"{group} is missing: choose one, {group}=... (brainnet train --help lists them)."


def told(value: object) -> str:
    """A value as one would type it, and its type where that is not plain."""
    if isinstance(value, str):
        return f"the text {value!r}" if value.strip() else "nothing"
    return _typed(value)


def _typed(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_typed, value))}]"
    return str(value) or "''"


def leaves(tree: object, place: str = "") -> Iterator[tuple[str, object]]:
    """Every value of a tree of mappings with its dotted name; an empty mapping has none."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from leaves(value, f"{place}.{key}" if place else str(key))
    else:
        yield place, tree
