"""Going on with a run: what it was run with, plus the few things that may change on the way."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override

from brainnet.config.schema import Config, check_config, leaves
from brainnet.data.datasets import IMAGES_TARGET, TABLE_TARGET, resolve_paths
from brainnet.errors import InputError
from brainnet.training.run_directory import Run, find_run

FILES = (TABLE_TARGET, IMAGES_TARGET)

DEVICE = ("accelerator", "devices", "strategy")

FREE_GROUPS = ("observe", "logger", "callbacks")

ELSEWHERE = ("logger", "callbacks", "observe", "trainer")

PLACES = ("dirpath", "save_dir", "folder", "root_dir", "default_root_dir", "log_dir", "directory")

NOT_OF_THE_RUN = ("resume", "paths", "hydra")

SEVERAL_AT_ONCE = ("debug", "experiment")

LENGTHS = ("T_max", "total_steps", "step_size", "gamma")

NOT_TOLD = "its configuration does not say how to make it again"


def compose_resumed(config: Config, overrides: Iterable[Override]) -> tuple[Config, Run]:
    """The configuration to go on with, and the run.

    Args:
        config: composed from what was typed, `resume` among it.
        overrides: what was typed.

    Raises:
        InputError: when there is no such run, or something typed would make it another one.
    """
    typed = list(overrides)
    check_keeps(typed, "resume")
    run = find_run(str(config["resume"]), Path(str(config["paths"]["runs"])))
    stored = read_stored_config(run)
    stored.setdefault("paths", config["paths"])  # a run from Python may lie anywhere
    check_rebuildable(stored)
    check_config(stored)
    keys = [override.key_or_group for override in typed]
    for override in typed:
        apply(override, config, stored, keys)
    check_length(stored, run)
    check_stays_inside(stored, run, keys)
    return stored, run


def read_stored_config(run: Run) -> Config:
    """What a run was run with.

    Raises:
        InputError: when it is damaged, or holds what brainnet never stores.
    """
    config = run.folder.read_config()
    for path, value in leaves(config):
        if isinstance(value, str) and "${" in value:
            raise InputError(
                f"{run.folder.path}: {path}={value} in its config.yaml refers to something else; "
                "brainnet stores plain values alone. Was the file changed by hand?"
            )
    if "seed" not in config:
        raise InputError(f"{run.folder.path}: seed is missing in its config.yaml.")
    return config


def check_rebuildable(stored: Config) -> None:
    """Hold a run that was started from Python against what a configuration can tell of it.

    Raises:
        InputError: when a part of it was handed over as an object, which nothing here can build.
    """
    data, network = stored.get("data"), stored.get("network")
    if isinstance(data, Mapping) and data.get("_target_", "") is None:
        raise InputError(_handed_over("data", data.get("name"), "its rows are not stored"))
    # The command line stores for any class how many numbers go in and out.
    if isinstance(network, Mapping) and "inputs" not in network:
        raise InputError(_handed_over("network", network.get("_target_"), NOT_TOLD))
    for group in ("optimizer", "schedule"):
        part = stored.get(group)
        if isinstance(part, Mapping) and "function" in part:
            raise InputError(_handed_over(group, part["function"], NOT_TOLD))


def _handed_over(part: str, name: object, why: str) -> str:
    return (
        f"the {part} of this run ({name}) was handed over in Python, and {why}. Go on in Python as "
        "well: brainnet.fit(..., resume=RUN) trains on, "
        "brainnet.inference.evaluate.evaluate(RUN, network, data, loss) judges."
    )


def check_keeps(overrides: Iterable[Override], command: str) -> None:
    """Refuse `~`, which has nothing to take out of what was trained already.

    Raises:
        InputError: at the first such word.
    """
    for override in overrides:
        if override.is_delete():
            raise InputError(
                f"{command} takes nothing away from a run: leave {override.input_line} out."
            )


def apply(override: Override, config: Config, stored: Config, keys: Sequence[str]) -> None:
    """Carry one typed word over into the stored configuration.

    Args:
        override: the word.
        config: composed from all words.
        stored: what the run was run with.
        keys: of all words.

    Raises:
        InputError: when it would change what the run has learnt so far, or from what.
    """
    key = override.key_or_group
    group, _, rest = key.partition(".")
    if group in NOT_OF_THE_RUN:
        return
    if group == "trainer" and not rest:
        chosen = config["trainer"]
        stored["trainer"] |= {name: chosen[name] for name in DEVICE if name in chosen}
    elif group in FREE_GROUPS or group == "trainer":
        put(stored, key, look_up(config, key))
    elif not (
        says_nothing_new(override, config, stored) or chosen_again(key, config, stored, keys)
    ):
        raise InputError(
            f"resume goes on with the same network on the same data: {override.input_line} would "
            "change that. What may change is trainer.*, observe, logger and callbacks; for "
            "anything else train a new run, without resume."
        )


def says_nothing_new(override: Override, config: Config, stored: Config) -> bool:
    """Whether a typed word asks for what is stored anyway."""
    key = override.key_or_group
    if override.is_delete() or key in SEVERAL_AT_ONCE:
        return False
    if key.partition(".")[0] == "data":  # a file is the same, from whatever folder it is named
        config, stored = (
            {"data": resolve_paths(each.get("data") or {})} for each in (config, stored)
        )
    return agrees(look_up(config, key), look_up(stored, key))


def chosen_again(group: str, config: Config, stored: Config, keys: Sequence[str]) -> bool:
    """Whether a choice is that of the run; keys of it that were typed as well speak for it."""
    chosen, there = look_up(config, group), look_up(stored, group)
    if not isinstance(chosen, Mapping) or not isinstance(there, Mapping):
        return False
    if chosen.get("_target_") in FILES:  # which rows these are, the other words say
        return bool(chosen["_target_"] == there.get("_target_"))
    left = {name: value for name, value in chosen.items() if f"{group}.{name}" not in keys}
    return agrees(left, there)


def check_length(stored: Config, run: Run) -> None:
    """Refuse to stretch a schedule that was planned to the last step.

    Raises:
        InputError: when the schedule follows from the length of the run, and that was changed.
    """
    planned = run.folder.read_config()["trainer"]
    ends = ("max_epochs", "max_steps")
    changed = [end for end in ends if planned.get(end) != stored["trainer"].get(end)]
    follows = [key for key in LENGTHS if stored["schedule"].get(key, "") is None]
    given = stored["schedule"].get("_target_")
    if changed and (follows or str(given).endswith(".WarmupCosine")):
        raise InputError(
            f"the learning rate of this run was planned to its end ({given}): "
            f"trainer.{changed[0]} cannot change any more. Train a new run, or use "
            "schedule=constant for one that may be prolonged."
        )


def check_stays_inside(stored: Config, run: Run, keys: Sequence[str]) -> None:
    """Refuse to write elsewhere because a run says so, which may be somebody else's.

    Args:
        stored: what is to be gone on with.
        run: whose folder may be written to.
        keys: what was typed, which is consent.

    Raises:
        InputError: when a callback or a logger of the run names a place outside of it.
    """
    folder = run.folder.path.resolve()
    for group in ELSEWHERE:
        for path, value in leaves({group: stored.get(group) or {}}):
            if path in keys or group in keys:
                continue
            for place in value if isinstance(value, list) else [value]:
                if isinstance(place, str) and _leads_out(path.rpartition(".")[2], place, folder):
                    raise InputError(
                        f"{run.folder.path}: its configuration leads outside of the run, {path}="
                        f"{place}. If you want that, type it again: +{path}={place}"
                    )


def _leads_out(name: str, value: str, folder: Path) -> bool:
    """Whether a setting of that name is a place, and none within a folder."""
    place = Path(value.removeprefix("file://")).expanduser()
    tells = name in PLACES or place.is_absolute() or ".." in place.parts or "://" in value
    return tells and not place.resolve().is_relative_to(folder)


def look_up(tree: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, or None."""
    node: Any = tree
    for part in path.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def put(tree: dict[str, Any], path: str, value: object) -> None:
    """Set the value at a dotted path, making the branches on the way."""
    *branches, last = path.split(".")
    for part in branches:
        if not isinstance(tree.get(part), dict):
            tree[part] = {}
        tree = tree[part]
    tree[last] = value


def agrees(typed: object, stored: object) -> bool:
    """Whether a typed value says nothing else than the stored one; null says nothing."""
    if isinstance(typed, Mapping) and isinstance(stored, Mapping):
        return all(agrees(value, stored.get(key)) for key, value in typed.items())
    return typed is None or typed == stored
