"""Configuration of a resumed run: the stored one, with the few keys that may change."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override

from brainnet.config.schema import (
    Config,
    check_config,
    iterate_leaves,
    list_choices,
    read_choice_keys,
)
from brainnet.data.datasets import IMAGES_TARGET, TABLE_TARGET, resolve_paths
from brainnet.errors import InputError
from brainnet.training.run_directory import Run, find_run

_DEVICE_KEYS = ("accelerator", "devices", "strategy")
_FREE_GROUPS = ("observe", "logger", "callbacks")
_IGNORED_GROUPS = ("resume", "paths", "hydra")
_GLOBAL_GROUPS = ("debug", "experiment")
# Keys of a schedule that are computed from the number of steps when they are null.
_LENGTH_KEYS = ("T_max", "total_steps", "step_size", "gamma")
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


def compose_resumed(config: Config, overrides: Sequence[Override]) -> tuple[Config, Run]:
    """Return the configuration of a resumed run, and the run.

    Args:
        config: composed from what was typed, including `resume`.
        overrides: what was typed.

    Raises:
        InputError: there is no such run, or an override would change what it is trained on.
    """
    check_no_deletions(overrides, "resume")
    runs = str(get_value(config, "paths.runs") or "runs")
    run = find_run(str(config["resume"]), Path(runs))
    stored = read_stored_config(run)
    stored.setdefault("paths", {"runs": runs})  # not stored by a run started from Python
    check_rebuildable(stored)
    check_config(stored)
    keys = [override.key_or_group for override in overrides]
    for override in overrides:
        _apply_override(override, config, stored, keys)
    _check_schedule_length(stored, run)
    _check_paths_inside_run(stored, run, keys)
    return stored, run


def read_stored_config(run: Run) -> Config:
    """Return the configuration that a run was started with.

    Raises:
        InputError: it is damaged, or contains a `${...}`, which brainnet never stores.
    """
    config = run.folder.read_config()
    for path, value in iterate_leaves(config):
        if isinstance(value, str) and "${" in value:
            raise InputError(
                f"{run.folder.path}: {path}={value} in its config.yaml is an interpolation; "
                "brainnet stores plain values only. Was the file edited by hand?"
            )
    if "seed" not in config:
        raise InputError(f"{run.folder.path}: seed is missing in its config.yaml.")
    return config


def find_runs_directory(overrides: Sequence[Override]) -> Path:
    """Return the directory of all runs before anything is composed."""
    typed = [override for override in overrides if override.key_or_group == "paths.runs"]
    return Path(str(typed[-1].value())) if typed else Path("runs")


def select_data_choice(overrides: Sequence[Override], stored: Config) -> list[str]:
    """Return `data=CHOICE` of a run if keys of its data were typed without it."""
    keys = [override.key_or_group for override in overrides]
    target = get_value(stored, "data._target_")
    if "data" in keys or target is None or not any(key.startswith("data.") for key in keys):
        return []
    choices = list_choices("data")
    matches = [name for name in choices if read_choice_keys("data", name).get("_target_") == target]
    return [f"data={name}" for name in matches[:1]]


def check_rebuildable(stored: Config) -> None:
    """Check that a run can be rebuilt from its configuration.

    Raises:
        InputError: the run was started from Python with an object that is not stored.
    """
    for group in ("data", "network", "optimizer", "schedule"):
        part = stored.get(group)
        if not isinstance(part, Mapping):
            continue
        is_data = group == "data" and part.get("_target_", "") is None
        # The command line stores the sizes of every network.
        if is_data or (group == "network" and "inputs" not in part) or "function" in part:
            name = part.get("name" if is_data else "function", part.get("_target_"))
            reason = (
                "rows are not stored" if is_data else "configuration does not say how to build it"
            )
            raise InputError(
                f"the {group} of this run ({name}) was created in Python, and its {reason}. "
                "Continue in Python: brainnet.fit(..., resume=RUN) trains on, "
                "brainnet.inference.evaluate.evaluate(RUN, network, data, loss) evaluates."
            )


def check_no_deletions(overrides: Iterable[Override], command: str) -> None:
    """Reject `~key`: nothing can be removed from a trained run.

    Raises:
        InputError: an override deletes a key.
    """
    for override in overrides:
        if override.is_delete():
            raise InputError(
                f"{command} removes nothing from a run: leave {override.input_line} out."
            )


def _apply_override(
    override: Override, config: Config, stored: Config, keys: Sequence[str]
) -> None:
    """Copy the value of one override into the stored configuration.

    Raises:
        InputError: it would change the network or what it was trained on.
    """
    key = override.key_or_group
    group, _, rest = key.partition(".")
    if group in _IGNORED_GROUPS:
        return
    if group == "trainer" and not rest:
        # Another trainer means another device; the length of the run stays.
        chosen = config["trainer"]
        stored["trainer"] |= {name: chosen[name] for name in _DEVICE_KEYS if name in chosen}
    elif group in _FREE_GROUPS or group == "trainer":
        set_value(stored, key, get_value(config, key))
    elif not (
        changes_nothing(override, config, stored) or _is_same_choice(key, config, stored, keys)
    ):
        raise InputError(
            "resume continues with the same network on the same data: "
            f"{override.input_line} would change that. trainer.*, observe, logger and callbacks "
            "may change; for anything else, train a new run without resume."
        )


def changes_nothing(override: Override, config: Config, stored: Config) -> bool:
    """Whether the value of an override equals the stored one."""
    key = override.key_or_group
    # Global groups change several keys at once.
    if override.is_delete() or key in _GLOBAL_GROUPS:
        return False
    if key.partition(".")[0] == "data":
        # The same file can be typed in several ways.
        config = {"data": resolve_paths(config.get("data") or {})}
        stored = {"data": resolve_paths(stored.get("data") or {})}
    return _agrees(get_value(config, key), get_value(stored, key))


def _is_same_choice(group: str, config: Config, stored: Config, keys: Sequence[str]) -> bool:
    """Whether a choice is that of the run; keys of the group that were typed are compared apart."""
    chosen, previous = get_value(config, group), get_value(stored, group)
    if not isinstance(chosen, Mapping) or not isinstance(previous, Mapping):
        return False
    if chosen.get("_target_") in (TABLE_TARGET, IMAGES_TARGET):  # data.path is compared apart
        return bool(chosen["_target_"] == previous.get("_target_"))
    rest = {name: value for name, value in chosen.items() if f"{group}.{name}" not in keys}
    return _agrees(rest, previous)


def _agrees(typed: object, stored: object) -> bool:
    """Whether a typed value equals the stored one, or is null."""
    if isinstance(typed, Mapping) and isinstance(stored, Mapping):
        return all(_agrees(value, stored.get(key)) for key, value in typed.items())
    return typed is None or typed == stored


def _check_schedule_length(stored: Config, run: Run) -> None:
    """Check that a schedule which was planned to the last step keeps its length.

    Raises:
        InputError: the schedule depends on the length of the run, and that was changed.
    """
    # `stored` contains the typed length already.
    planned = run.folder.read_config()["trainer"]
    changed = [
        key for key in ("max_epochs", "max_steps") if planned.get(key) != stored["trainer"].get(key)
    ]
    schedule = stored["schedule"]
    is_planned = any(schedule.get(key, "") is None for key in _LENGTH_KEYS)
    target = str(schedule.get("_target_"))
    if changed and (is_planned or target.endswith(".WarmupCosine")):
        raise InputError(
            f"the learning rate of this run was planned to its end ({target}): "
            f"trainer.{changed[0]} cannot change. Train a new run, or use schedule=constant for "
            "a run that can be continued."
        )


def _check_paths_inside_run(stored: Config, run: Run, keys: Sequence[str]) -> None:
    """Check that a run, which another person may have made, only writes to its own directory.

    Raises:
        InputError: a callback, a logger or the trainer has a path outside, and it was not typed.
    """
    directory = run.folder.path.resolve()
    for group in (*_FREE_GROUPS, "trainer"):
        for path, value in iterate_leaves({group: stored.get(group) or {}}):
            # What was typed is allowed.
            if path in keys or group in keys:
                continue
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, str) and _is_outside(path, item, directory):
                    raise InputError(
                        f"{run.folder.path}: its configuration writes outside of the run, {path}="
                        f"{item}. If you want that, type it again: +{path}={item}"
                    )


def _is_outside(key: str, value: str, directory: Path) -> bool:
    """Whether the value of a key is a path, and outside of a directory."""
    path = Path(value.removeprefix("file://")).expanduser()
    is_path = key.rpartition(".")[2] in _PATH_KEYS or path.is_absolute() or ".." in path.parts
    return (is_path or "://" in value) and not path.resolve().is_relative_to(directory)


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
