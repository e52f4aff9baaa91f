"""Configuration of an existing run: the stored one, with what the user typed."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override

from brainnet.config.compose import ConfigFiles, compose_config, parse_overrides, resolve_config
from brainnet.config.schema import (
    Config,
    check_config,
    iterate_leaves,
    list_choices,
    read_choice_keys,
)
from brainnet.data.datasets import is_same_path
from brainnet.errors import InputError
from brainnet.training.run_directory import Run, find_run

_DEVICE_KEYS = ("accelerator", "devices", "strategy")
_FREE_GROUPS = ("observe", "logger", "callbacks", "trainer")
_IGNORED_GROUPS = ("resume", "paths", "hydra")
# Keys of Lightning's callbacks, loggers and Trainer that name a directory.
_PATH_KEYS = (
    "dirpath",
    "save_dir",
    "folder",
    "root_dir",
    "default_root_dir",
    "log_dir",
    "directory",
)
# Keys of a schedule that are computed from the number of steps when they are null.
_LENGTH_KEYS = ("T_max", "total_steps", "step_size", "gamma")


def open_run(
    name: str, overrides: Sequence[Override], command: str, files: ConfigFiles
) -> tuple[Run, Config, Config]:
    """Find a run; return it, its stored configuration, and what was typed for it, composed.

    The composed configuration has the seed and the data of the run, except for what was typed:
    keys of its data can be typed without `data=CHOICE`. `command` is named in messages.
    """
    typed = [override.key_or_group for override in overrides]
    runs = Path("runs")
    for override in overrides:
        if override.is_delete():
            raise InputError(
                f"{command} removes nothing from a run: leave {override.input_line} out."
            )
        if override.key_or_group == "paths.runs":
            runs = Path(str(override.value()))
    run = find_run(name, runs)
    stored = run.folder.read_config()
    if "seed" not in stored:
        raise InputError(f"{run.folder.path}: seed is missing in its config.yaml.")
    stored.setdefault("paths", {"runs": str(runs)})  # not stored by a run started from Python
    choice = parse_overrides(_select_data_choice(typed, stored))
    composed = resolve_config(compose_config([*choice, *overrides], files))
    composed["data"] = _merge_data(typed, composed, stored)
    if "seed" not in typed:
        composed["seed"] = stored["seed"]
    return run, stored, composed


def _select_data_choice(typed: Sequence[str], stored: Config) -> list[str]:
    """Return `data=CHOICE` of a run if keys of its data were typed without it."""
    target = get_value(stored, "data._target_")
    if "data" in typed or target is None or not any(key.startswith("data.") for key in typed):
        return []
    choices = list_choices("data")
    matches = [name for name in choices if read_choice_keys("data", name).get("_target_") == target]
    return [f"data={name}" for name in matches[:1]]


def _merge_data(typed: Sequence[str], composed: Config, stored: Config) -> Any:
    """Return other data if their class was typed, or else those of the run with typed keys."""
    keys = [key for key in typed if key.partition(".")[0] == "data"]
    if keys and not has_same_data_class(composed, stored):
        return composed["data"]
    merged = {"data": deepcopy(stored.get("data"))}
    for key in keys:
        value, previous = get_value(composed, key), get_value(stored, key)
        # The same file can be typed in several ways.
        if key != "data" and not is_same_path(value, previous):
            set_value(merged, key, value)
    return merged["data"]


def has_same_data_class(config: Config, stored: Config) -> bool:
    """Whether two configurations have the same class of data."""
    return bool(get_value(config, "data._target_") == get_value(stored, "data._target_"))


def check_rebuildable(stored: Config) -> None:
    """Reject a run that was started from Python with an object that is not stored."""
    for group in ("data", "network", "optimizer", "schedule"):
        part = stored.get(group)
        if not isinstance(part, Mapping):
            continue
        is_data = group == "data" and part.get("_target_", "") is None
        # The command line stores the sizes of every network.
        if is_data or (group == "network" and "inputs" not in part) or "function" in part:
            name = part.get("name" if is_data else "function", part.get("_target_"))
            raise InputError(
                f"the {group} of this run ({name}) was created in Python and is not stored. "
                "Continue in Python: brainnet.fit(..., resume=RUN) trains on, "
                "brainnet.inference.evaluate.evaluate(brainnet.load(RUN, network=...), DATA) "
                "evaluates."
            )


def compose_resumed(
    name: str, overrides: Sequence[Override], files: ConfigFiles
) -> tuple[Config, Run]:
    """Return the configuration of a resumed run, and the run."""
    run, stored, composed = open_run(name, overrides, "resume", files)
    check_rebuildable(stored)
    check_config(stored)
    planned = dict(stored["trainer"])
    for override in overrides:
        key = override.key_or_group
        group = key.partition(".")[0]
        if key == "trainer":
            # Another trainer means another device; the length of the run stays.
            chosen = composed["trainer"]
            stored["trainer"] |= {name: chosen[name] for name in _DEVICE_KEYS if name in chosen}
        elif group in _FREE_GROUPS:
            set_value(stored, key, get_value(composed, key))
        elif group not in _IGNORED_GROUPS and not changes_nothing(override, composed, stored):
            raise InputError(
                "resume continues with the same network on the same data: "
                f"{override.input_line} would change that. trainer.*, observe, logger and "
                "callbacks may change; for anything else, train a new run without resume."
            )
    _check_schedule_length(stored, planned)
    _check_paths_inside_run(stored, run, [override.key_or_group for override in overrides])
    return stored, run


def changes_nothing(override: Override, composed: Config, stored: Config) -> bool:
    """Whether the value of an override equals the stored one."""
    key = override.key_or_group
    # Global groups change several keys at once.
    if key in ("debug", "experiment"):
        return False
    # The other keys of `data=CHOICE` are those of the run.
    path = "data._target_" if key == "data" else key
    return _agrees(get_value(composed, path), get_value(stored, path))


def _agrees(typed: object, stored: object) -> bool:
    """Whether a typed value equals the stored one, or is null."""
    if isinstance(typed, Mapping) and isinstance(stored, Mapping):
        return all(_agrees(value, stored.get(key)) for key, value in typed.items())
    return typed is None or typed == stored


def _check_schedule_length(stored: Config, planned: Mapping[str, Any]) -> None:
    """Reject another length of the run if the learning rate was planned to the last step."""
    limits = ("max_epochs", "max_steps")
    changed = [key for key in limits if planned.get(key) != stored["trainer"].get(key)]
    schedule = stored["schedule"]
    is_planned = any(schedule.get(key, "") is None for key in _LENGTH_KEYS)
    target = str(schedule.get("_target_"))
    if changed and (is_planned or target.endswith(".WarmupCosine")):
        raise InputError(
            f"the learning rate of this run was planned to its end ({target}): "
            f"trainer.{changed[0]} cannot change. Train a new run, or use schedule=constant for "
            "a run that can be continued."
        )


def _check_paths_inside_run(stored: Config, run: Run, typed: Sequence[str]) -> None:
    """Check that a run, which another person may have made, only writes to its own directory."""
    directory = run.folder.path.resolve()
    for path, value in iterate_leaves({group: stored.get(group) for group in _FREE_GROUPS}):
        if path in typed or path.partition(".")[0] in typed:
            continue
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str) and _is_outside(path, item, directory):
                raise InputError(
                    f"{run.folder.path}: its configuration writes outside of the run, {path}="
                    f"{item}. If you want that, type it again: +{path}={item}"
                )


def _is_outside(key: str, value: str, directory: Path) -> bool:
    """Whether the value of a key is an address, or a path outside of a directory."""
    path = Path(value).expanduser()
    is_path = key.rpartition(".")[2] in _PATH_KEYS or path.is_absolute() or ".." in path.parts
    return "://" in value or (is_path and not path.resolve().is_relative_to(directory))


def get_value(tree: Mapping[str, Any], path: str) -> Any:
    """Return the value at a dotted path, or None."""
    node: Any = tree
    for part in path.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def set_value(tree: dict[str, Any], path: str, value: object) -> None:
    """Set the value at a dotted path, and create the mappings on the way."""
    *branches, last = path.split(".")
    for part in branches:
        if not isinstance(tree.get(part), dict):
            tree[part] = {}
        tree = tree[part]
    tree[last] = value
