"""Which classes a configuration may name: a `_target_` is refused unless a rule lets it through.

A configuration is data, and may come from somebody else. So nothing outside the allowed roots is
even imported, and what a name leads to must be a class defined under those roots and of a family
that a run is built from. Functions and methods never pass: a check of the prefix alone would let
`torch.optim.optimizer.torch.load` through.
"""

import importlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainnet.errors import InputError
from brainnet.suggestion import did_you_mean

ROOTS = ("brainnet", "torch.nn", "torch.optim", "lightning.pytorch", "torchmetrics")
ALLOW = "BRAINNET_ALLOW"
DOTTED_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")

# Named rather than imported, so that a check of an activation does not wait for torchmetrics.
MODULE = "torch.nn.modules.module.Module"
OPTIMIZER = "torch.optim.optimizer.Optimizer"
SCHEDULE = "torch.optim.lr_scheduler.LRScheduler"
METRIC = "torchmetrics.metric.Metric"
CALLBACK = "lightning.pytorch.callbacks.callback.Callback"
LOGGER = "lightning.pytorch.loggers.logger.Logger"
DATA = "data"
FAMILIES = (MODULE, OPTIMIZER, SCHEDULE, METRIC, CALLBACK, LOGGER)
FAMILY_OF_GROUP = {
    "data": DATA,
    "network": MODULE,
    "activation": MODULE,
    "loss": MODULE,
    "optimizer": OPTIMIZER,
    "schedule": SCHEDULE,
    "observe": CALLBACK,
    "callbacks": CALLBACK,
    "logger": LOGGER,
}
MAY_BE_NULL = ("loss", "schedule", "observe")
HYDRAS_OWN = ("_args_", "_partial_", "_convert_", "_recursive_")


@dataclass(frozen=True, slots=True)
class Consent:
    """What the person at the keyboard allowed beyond the roots.

    Attributes:
        typed: the very names typed as a `_target_` on the command line.
        roots: the modules named in BRAINNET_ALLOW.
    """

    typed: frozenset[str] = frozenset()
    roots: tuple[str, ...] = ()


def allowed_roots() -> tuple[str, ...]:
    """The modules named in the environment variable BRAINNET_ALLOW, separated by commas."""
    return tuple(root.strip() for root in os.environ.get(ALLOW, "").split(",") if root.strip())


def targets(node: object, place: str = "") -> Iterator[tuple[str, object]]:
    """Every `_target_` in a tree of mappings and lists, with the dotted place that holds it.

    Raises:
        InputError: where a key would change how Hydra calls a target.
    """
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key in HYDRAS_OWN:
                raise InputError(
                    f"{joined(place, key)} is not allowed: brainnet builds a class from its "
                    "_target_ and named keys alone. Remove it."
                )
            if key == "_target_":
                yield place, value
            else:
                yield from targets(value, joined(place, str(key)))
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from targets(value, joined(place, str(index)))


def check(config: Mapping[str, Any], consent: Consent) -> None:
    """Resolve every `_target_` of a configuration, whether a run would use it or not.

    Raises:
        InputError: at the first one that the rule does not allow.
    """
    for place, target in targets(config):
        if target is None and place in MAY_BE_NULL:
            continue
        resolve(target, place, consent)


def resolve(target: object, place: str, consent: Consent) -> type:
    """The class that a `_target_` names, if the rule allows it at this place.

    Raises:
        InputError: when the name is not allowed, leads nowhere, or leads to anything but a class
            of the family that belongs at this place.
    """
    if target == "???":
        raise InputError(
            f"{place} needs a class: add {place}._target_=their.module.Name, a name Python can "
            "import from here."
        )
    if not isinstance(target, str) or not DOTTED_NAME.fullmatch(target):
        raise InputError(
            f"{place}._target_ needs the dotted name of a class (torch.nn.ReLU); got {target!r}."
        )
    typed = target in consent.typed
    roots = ROOTS + consent.roots
    if not typed and not under(target, roots):
        raise InputError(refusal(target, place))
    found = imported(target, place, own=typed or under(target, consent.roots))
    if not isinstance(found, type):
        raise InputError(
            f"{place}._target_={target} is not allowed: it is no class but a "
            f"{type(found).__name__}. Only classes are built from a configuration."
        )
    if not typed and not under(found.__module__, roots):
        raise InputError(refusal(f"{found.__module__}.{found.__qualname__}", place))
    check_family(found, target, place, own=typed or under(target, consent.roots))
    return found


def imported(target: str, place: str, *, own: bool) -> object:
    """What a dotted name leads to: a module, then one attribute of it, nothing deeper."""
    module_name, _, name = target.rpartition(".")
    here = str(Path.cwd())
    if own and here not in sys.path:
        # An installed command does not look in the folder it is called from, as python -m does.
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InputError(
            f"{place}._target_={target}: there is no module {error.name}. A _target_ is a module "
            "and the name of a class in it; the module must be importable from this folder."
        ) from error
    except Exception as error:
        raise InputError(
            f"{place}._target_={target}: importing {module_name} failed with "
            f"{type(error).__name__}: {error}"
        ) from error
    try:
        return getattr(module, name)
    except AttributeError as error:
        raise InputError(
            f"{place}._target_={target}: the module {module_name} has no {name}."
            f"{did_you_mean(name, dir(module))}"
        ) from error


def check_family(found: type, target: str, place: str, *, own: bool) -> None:
    """Hold a class against the family its place asks for; nested places take any family."""
    group = place.partition(".")[0]
    direct = place == group or (group in ("callbacks", "logger") and place.count(".") == 1)
    family = FAMILY_OF_GROUP.get(group) if direct else None
    if family == DATA:
        if not is_data(found, own=own):
            raise InputError(
                f"{place}._target_={target} is not allowed: {found.__name__} is no class of data "
                "(brainnet.data.sources lists those that come along)."
            )
        return
    needed = FAMILIES if family is None else (family,)
    ancestors = {f"{parent.__module__}.{parent.__qualname__}" for parent in found.__mro__}
    if ancestors.isdisjoint(needed):
        kinds = ", ".join(name.rpartition(".")[2] for name in needed)
        raise InputError(
            f"{place}._target_={target} is not allowed: {found.__name__} is no {kinds}."
        )


def is_data(found: type, *, own: bool) -> bool:
    """Whether a class is one of our data classes or, with consent, one that loads as they do."""
    from brainnet.data.sources import SOURCES  # brings NumPy and torch: only when there is data

    return found in SOURCES.values() or (own and callable(getattr(found, "load", None)))


def under(name: str, roots: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of the roots or lies under one."""
    return any(name == root or name.startswith(f"{root}.") for root in roots)


def refusal(target: str, place: str) -> str:
    """Why a name outside the roots is refused and, where anything can, what allows it."""
    reason = never(target, place)
    if reason:
        return f"{place}._target_={target} is not allowed, and cannot be: {reason}."
    return (
        f"{place}._target_={target} is not allowed: a configuration may name classes of "
        f"{', '.join(ROOTS)} alone.\n"
        f"If you trust it, type it: {place}._target_={target}\n"
        f"or allow its module:      {ALLOW}={target.rpartition('.')[0]}"
    )


def never(target: str, place: str) -> str:
    """Why not even consent lets a name through; empty where it would, as far as can be told.

    Nothing is imported to find out.
    """
    group = place.partition(".")[0]
    if group not in FAMILY_OF_GROUP:  # what Hydra builds for itself follows rules of its own
        return ""
    module, _, name = target.rpartition(".")
    root = target.partition(".")[0]
    if root in sys.stdlib_module_names:
        return f"{group} is built from a class made for it, and {root} comes with Python itself"
    found = vars(sys.modules[module]).get(name) if module in sys.modules else None
    if found is None or isinstance(found, type):
        return ""
    return f"it is no class but a {type(found).__name__}"


def joined(place: str, key: str) -> str:
    """The dotted place of a key."""
    return f"{place}.{key}" if place else key
