"""Instantiate objects from a configuration, under an allow-list of classes.

A configuration is data, and may come from somebody else. So nothing outside the allowed roots is
even imported, and what a name leads to must be a class defined under those roots and of a family
that a run is built from. Functions and methods never pass: a check of the prefix alone would let
`torch.optim.optimizer.torch.load` through.
"""

import importlib
import inspect
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainnet.errors import InputError, did_you_mean

ALLOWED_ROOTS = ("brainnet", "torch.nn", "torch.optim", "lightning.pytorch", "torchmetrics")

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

GROUP_BASE_CLASSES = {
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
class TargetAllowList:
    """What the person at the keyboard allowed beyond the roots.

    Attributes:
        typed: the very names typed as a `_target_` on the command line.
        roots: the modules named in BRAINNET_ALLOW.
    """

    typed: frozenset[str] = frozenset()
    roots: tuple[str, ...] = ()


def read_allowed_roots() -> tuple[str, ...]:
    """The modules named in the environment variable BRAINNET_ALLOW, separated by commas."""
    return tuple(root.strip() for root in os.environ.get(ALLOW, "").split(",") if root.strip())


def find_targets(node: object, place: str = "") -> Iterator[tuple[str, object]]:
    """Every `_target_` in a tree of mappings and lists, with the dotted place that holds it.

    Raises:
        InputError: where a key would change how Hydra calls a target.
    """
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key in HYDRAS_OWN:
                raise InputError(
                    f"{join_key(place, key)} is not allowed: brainnet builds a class from its "
                    "_target_ and named keys alone. Remove it."
                )
            if key == "_target_":
                yield place, value
            else:
                yield from find_targets(value, join_key(place, str(key)))
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from find_targets(value, join_key(place, str(index)))


def check_targets(config: Mapping[str, Any], consent: TargetAllowList) -> None:
    """Resolve every `_target_` of a configuration, whether a run would use it or not.

    Raises:
        InputError: at the first one that the rule does not allow.
    """
    for place, target in find_targets(config):
        if target is None and place in MAY_BE_NULL:
            continue
        resolve_target(target, place, consent)


def resolve_target(target: object, place: str, consent: TargetAllowList) -> type:
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
    roots = ALLOWED_ROOTS + consent.roots
    if not typed and not is_under(target, roots):
        raise InputError(refusal(target, place))
    found = import_target(target, place, own=typed or is_under(target, consent.roots))
    if not isinstance(found, type):
        raise InputError(
            f"{place}._target_={target} is not allowed: it is no class but a "
            f"{type(found).__name__}. Only classes are built from a configuration."
        )
    if not typed and not is_under(found.__module__, roots):
        raise InputError(refusal(f"{found.__module__}.{found.__qualname__}", place))
    check_family(found, target, place, own=typed or is_under(target, consent.roots))
    return found


def import_target(target: str, place: str, *, own: bool) -> object:
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
    family = GROUP_BASE_CLASSES.get(group) if direct else None
    if family == DATA:
        if not is_data(found, own=own):
            raise InputError(
                f"{place}._target_={target} is not allowed: {found.__name__} is no class of data "
                "(brainnet.data.datasets lists those that come along)."
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
    from brainnet.data.datasets import DATA_SOURCES  # brings NumPy and torch: only when there is data

    return found in DATA_SOURCES.values() or (own and callable(getattr(found, "load", None)))


def is_under(name: str, roots: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of the roots or lies under one."""
    return any(name == root or name.startswith(f"{root}.") for root in roots)


def refusal(target: str, place: str) -> str:
    """Why a name outside the roots is refused and, where anything can, what allows it."""
    reason = never(target, place)
    if reason:
        return f"{place}._target_={target} is not allowed, and cannot be: {reason}."
    return (
        f"{place}._target_={target} is not allowed: a configuration may name classes of "
        f"{', '.join(ALLOWED_ROOTS)} alone.\n"
        f"If you trust it, type it: {place}._target_={target}\n"
        f"or allow its module:      {ALLOW}={target.rpartition('.')[0]}"
    )


def never(target: str, place: str) -> str:
    """Why not even consent lets a name through; empty where it would, as far as can be told.

    Nothing is imported to find out.
    """
    group = place.partition(".")[0]
    if group not in GROUP_BASE_CLASSES:  # what Hydra builds for itself follows rules of its own
        return ""
    module, _, name = target.rpartition(".")
    root = target.partition(".")[0]
    if root in sys.stdlib_module_names:
        return f"{group} is built from a class made for it, and {root} comes with Python itself"
    found = vars(sys.modules[module]).get(name) if module in sys.modules else None
    if found is None or isinstance(found, type):
        return ""
    return f"it is no class but a {type(found).__name__}"


def join_key(place: str, key: str) -> str:
    """The dotted place of a key."""
    return f"{place}.{key}" if place else key


Options = Mapping[str, Any]

PLAIN_START = "torch.nn.modules.module.Module.__init__"
# Keys of `data` that go to the split and the batches, whatever the class of the data.
DATAMODULE_KEYS = ("batch_size", "normalize", "normalize_targets", "validation", "test")


@dataclass(frozen=True, slots=True)
class Builder:
    """Builds what `_target_` names, under one consent."""

    consent: TargetAllowList

    def target(self, options: Options, place: str) -> type:
        """The class that a group of keys names.

        Raises:
            InputError: when the rule of `targets` does not allow it.
        """
        return resolve_target(options.get("_target_"), place, self.consent)

    def instance(self, options: Options, place: str) -> Any:
        """An object of the class that `_target_` names, called with the other keys by name.

        Raises:
            InputError: when the class is not allowed, has no such key, or refuses a value.
        """
        target = self.target(options, place)
        given = {key: value for key, value in options.items() if key != "_target_"}
        check_parameters(given, target, place)
        given = {key: self._nested(value, join_key(place, key)) for key, value in given.items()}
        try:
            return target(**given)
        except InputError:
            raise
        except (TypeError, ValueError) as error:
            raise InputError(f"{place}: {target.__name__} says: {error}") from error

    def _nested(self, value: object, place: str) -> object:
        if isinstance(value, Mapping):
            if "_target_" in value:
                return self.instance(value, place)
            return {key: self._nested(inner, join_key(place, key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._nested(inner, join_key(place, str(i))) for i, inner in enumerate(value)]
        return value


def list_parameters(target: type) -> list[str] | None:
    """The names of the arguments a class takes; None when it takes any."""
    start = inspect.getattr_static(target, "__init__")
    if inspect.isfunction(start) and f"{start.__module__}.{start.__qualname__}" == PLAIN_START:
        return []  # a class without one of its own; Module's takes any, and then refuses them
    parameters = inspect.signature(target).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [parameter.name for parameter in parameters if parameter.kind in named]


def has_parameter(target: type, name: str) -> bool:
    """Whether a class takes an argument of this very name."""
    return name in (list_parameters(target) or inspect.signature(target).parameters)


def check_parameters(
    keys: Iterable[str], target: type, place: str, *, beside: Sequence[str] = ()
) -> None:
    """Hold keys against the arguments of a class, and those that go elsewhere `beside` it.

    Raises:
        InputError: at the first that the class does not take.
    """
    names = list_parameters(target)
    for key in keys:
        if names is not None and key not in (*names, *beside):
            known = [*names, *beside]
            raise InputError(
                f"{join_key(place, key)}: {target.__name__} has no such key."
                f"{did_you_mean(key, known)} It takes {', '.join(known) or 'none'}."
            )
