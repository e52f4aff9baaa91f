"""Instantiate classes named by `_target_`, under an allow-list that denies by default.

A configuration is data and can come from another person. A name outside the allowed roots is not
even imported, and a name under them must lead to a class that is defined there and derives from a
base class that a run is built from. Checking the prefix of the name alone would accept
`torch.optim.optimizer.torch.load`.
"""

import importlib
import inspect
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from brainnet.errors import InputError, did_you_mean

ALLOWED_ROOTS = ("brainnet", "torch.nn", "torch.optim", "lightning.pytorch", "torchmetrics")
# Environment variable with more allowed modules, separated by commas.
ALLOW_VARIABLE = "BRAINNET_ALLOW"
# Keys of `data` that belong to the data module, for every class of data.
DATAMODULE_KEYS = ("batch_size", "normalize", "normalize_targets", "validation", "test")
_DOTTED_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
# Base classes are named, not imported: checking an activation must not import torchmetrics.
_DATA = "data"
GROUP_BASE_CLASSES = {
    "data": _DATA,
    **dict.fromkeys(("network", "activation", "loss"), "torch.nn.modules.module.Module"),
    "optimizer": "torch.optim.optimizer.Optimizer",
    "schedule": "torch.optim.lr_scheduler.LRScheduler",
    **dict.fromkeys(("observe", "callbacks"), "lightning.pytorch.callbacks.callback.Callback"),
    "logger": "lightning.pytorch.loggers.logger.Logger",
}
_BASE_CLASSES = {*GROUP_BASE_CLASSES.values(), "torchmetrics.metric.Metric"} - {_DATA}
_NULLABLE_GROUPS = ("loss", "schedule", "observe")
# Keys with which `hydra.utils.instantiate` changes how a target is called.
_HYDRA_KEYS = ("_args_", "_partial_", "_convert_", "_recursive_")
_MODULE_CLASS = ("torch.nn.modules.module", "Module")


def read_allowed_roots() -> tuple[str, ...]:
    """Return the modules in the environment variable BRAINNET_ALLOW."""
    names = os.environ.get(ALLOW_VARIABLE, "").split(",")
    return tuple(name.strip() for name in names if name.strip())


@dataclass(frozen=True, slots=True)
class TargetAllowList:
    """What the user allows besides `ALLOWED_ROOTS`: typed names, and modules of BRAINNET_ALLOW."""

    typed: frozenset[str] = frozenset()
    roots: tuple[str, ...] = field(default_factory=read_allowed_roots)

    def is_user_target(self, target: str) -> bool:
        """Whether the user allowed this name explicitly."""
        return target in self.typed or is_under(target, self.roots)


def is_under(name: str, roots: tuple[str, ...]) -> bool:
    """Whether a dotted name equals one of the roots or lies under one."""
    return any(name == root or name.startswith(f"{root}.") for root in roots)


def find_targets(node: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield the dotted path of every node with a `_target_`, and the target."""
    if isinstance(node, list | tuple):
        node = dict(enumerate(node))
    if not isinstance(node, Mapping):
        return
    for key, value in node.items():
        child = f"{path}.{key}" if path else str(key)
        if key in _HYDRA_KEYS:
            raise InputError(
                f"{child} is not allowed: brainnet instantiates a class from its _target_ and "
                "named keys only. Remove it."
            )
        if key == "_target_":
            yield path, value
        else:
            yield from find_targets(value, child)


def check_targets(config: Mapping[str, Any], allow_list: TargetAllowList) -> None:
    """Resolve every `_target_` of a configuration, including unused ones."""
    for path, target in find_targets(config):
        if target is not None or path not in _NULLABLE_GROUPS:
            resolve_target(target, path, allow_list)


def resolve_target(target: object, path: str, allow_list: TargetAllowList) -> type:
    """Return the class that a `_target_` names, if it is allowed in the node at this path."""
    if not isinstance(target, str) or not _DOTTED_NAME.fullmatch(target):
        raise InputError(
            f"{path}._target_ must be the dotted name of a class that Python can import from here "
            f"({path}._target_=their.module.Name); got {target!r}."
        )
    by_user = allow_list.is_user_target(target)
    if not by_user and not is_under(target, ALLOWED_ROOTS):
        raise InputError(_explain_refusal(target, path))
    found = _import_target(target, path, by_user=by_user)
    if not isinstance(found, type):
        raise InputError(
            f"{path}._target_={target} is not allowed: it is not a class but a "
            f"{type(found).__name__}. Only classes are instantiated from a configuration."
        )
    # A module under the roots also contains what it imported from elsewhere.
    if target not in allow_list.typed and not is_under(
        found.__module__, ALLOWED_ROOTS + allow_list.roots
    ):
        raise InputError(_explain_refusal(f"{found.__module__}.{found.__qualname__}", path))
    _check_base_class(found, target, path, by_user=by_user)
    return found


def _import_target(target: str, path: str, *, by_user: bool) -> object:
    """Import a module and return one attribute of it; deeper names are not followed."""
    module_name, _, name = target.rpartition(".")
    directory = str(Path.cwd())
    if by_user and directory not in sys.path:
        # Unlike `python -m`, an installed command does not import from the current directory.
        sys.path.append(directory)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the user's module can raise anything
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, ModuleNotFoundError):
            reason = f"importing {module_name} failed: no module named {error.name}"
            if is_under(module_name, (str(error.name),)):
                reason = f"there is no module {error.name}"
        raise InputError(
            f"{path}._target_={target} cannot be imported: {reason}. A _target_ is a module and "
            "the name of a class in it; the module must be importable from this folder."
        ) from error
    try:
        return getattr(module, name)
    except AttributeError as error:
        raise InputError(
            f"{path}._target_={target}: the module {module_name} has no {name}."
            f"{did_you_mean(name, dir(module))}"
        ) from error


def _check_base_class(found: type, target: str, path: str, *, by_user: bool) -> None:
    """Check the base class that belongs at this path; nested paths accept any of them."""
    group = path.partition(".")[0]
    is_direct = path == group or (group in ("callbacks", "logger") and path.count(".") == 1)
    base = GROUP_BASE_CLASSES.get(group) if is_direct else None
    if base == _DATA:
        # Imports NumPy and torch, so only when there is data to check.
        from brainnet.data.datasets import DATA_SOURCES

        is_user_source = by_user and callable(getattr(found, "load", None))
        if not is_user_source and found not in DATA_SOURCES.values():
            raise InputError(
                f"{path}._target_={target} is not allowed: {found.__name__} is not a data class "
                "(brainnet.data.datasets lists the built-in ones)."
            )
        return
    accepted = sorted(_BASE_CLASSES) if base is None else [base]
    ancestors = {f"{parent.__module__}.{parent.__qualname__}" for parent in found.__mro__}
    if ancestors.isdisjoint(accepted):
        names = ", ".join(name.rpartition(".")[2] for name in accepted)
        raise InputError(
            f"{path}._target_={target} is not allowed: {found.__name__} is not a {names}."
        )


def _explain_refusal(target: str, path: str) -> str:
    """Return the message for a name outside the roots, with the ways to allow it."""
    return (
        f"{path}._target_={target} is not allowed: a configuration may only name classes of "
        f"{', '.join(ALLOWED_ROOTS)}.\n"
        f"If you trust it, pass it on the command line: {path}._target_={target}\n"
        f"or allow its module: {ALLOW_VARIABLE}={target.rpartition('.')[0]}"
    )


def instantiate(options: Mapping[str, Any], path: str, allow_list: TargetAllowList) -> Any:
    """Instantiate the class of a node, and of nested nodes, with the other keys as arguments."""
    target = resolve_target(options.get("_target_"), path, allow_list)
    arguments = {key: value for key, value in options.items() if key != "_target_"}
    check_parameters(arguments, target, path)
    for key, value in arguments.items():
        arguments[key] = _instantiate_nested(value, f"{path}.{key}", allow_list)
    try:
        return target(**arguments)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {target.__name__} raised: {error}") from error


def _instantiate_nested(node: object, path: str, allow_list: TargetAllowList) -> object:
    if isinstance(node, Mapping) and "_target_" in node:
        return instantiate(node, path, allow_list)
    if isinstance(node, Mapping):
        return {k: _instantiate_nested(v, f"{path}.{k}", allow_list) for k, v in node.items()}
    if isinstance(node, list):
        return [_instantiate_nested(v, f"{path}.{i}", allow_list) for i, v in enumerate(node)]
    return node


def list_arguments(target: type, path: str) -> list[str] | None:
    """Return the keys of a class in the node at this path; None if it accepts any."""
    owner = next(base for base in inspect.getmro(target) if "__init__" in vars(base))
    # `nn.Module.__init__` accepts any arguments, and then rejects them.
    if (owner.__module__, owner.__qualname__) == _MODULE_CLASS:
        return []
    parameters = inspect.signature(target).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = [parameter.name for parameter in parameters if parameter.kind in named]
    return [*names, *DATAMODULE_KEYS] if path == "data" else names


def check_parameters(keys: Iterable[str], target: type, path: str) -> None:
    """Check that a class accepts keys."""
    names = list_arguments(target, path)
    if names is None:
        return
    for key in keys:
        if key not in names:
            raise InputError(
                f"{path}.{key}: {target.__name__} has no such key."
                f"{did_you_mean(key, names)} It takes {', '.join(names) or 'none'}."
            )
