"""Description: a run's parts as the configuration that would build them again."""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any, cast

from torch import nn

from brainnet.building.files import located
from brainnet.data.builtin import find_source
from brainnet.data.module import DataModule
from brainnet.data.sources import SOURCES
from brainnet.learning.gradient_descent import OPTIMIZERS
from brainnet.learning.learning_rate import SCHEDULES, left_to_run
from brainnet.structure.network import Network
from brainnet.training.run_folder import plain

# Where parts live and how fast they compute is not what they are.
_NOT_TOLD = {"self", "device", "dtype", "inplace", "generator", "neurons"}


def describe_run(
    network: nn.Module,
    data: DataModule,
    loss: nn.Module,
    *,
    optimizer: object,
    learning_rate: float,
    schedule: object,
    trainer: Mapping[str, Any],
    observe: object,
) -> dict[str, Any]:
    """Return the configuration of a run that was started from Python."""
    return {
        "name": data.dataset.name,
        "seed": data.seed,
        "data": describe_data(data),
        **describe_network(network),
        "loss": describe_module(loss),
        "optimizer": _optimizer(optimizer, learning_rate),
        "schedule": _schedule(schedule, learning_rate),
        "trainer": plain(trainer),
        "observe": describe_observe(observe),
    }


def describe_observe(observe: object) -> dict[str, Any]:
    """Return the `observe` group of a configuration."""
    if observe is None:
        return {"_target_": None}
    told = {name: getattr(observe, name, None) for name in ("level", "every")}
    return {"_target_": _path(type(observe)), **told}


def describe_data(data: DataModule) -> dict[str, Any]:
    """Return the `data` group of a configuration.

    Data that came as arrays are named, but cannot be built again from their description.
    """
    source = find_source(data.source)() if isinstance(data.source, str) else data.source
    told: dict[str, Any] = {"_target_": None, "name": data.dataset.name}
    if type(source) in SOURCES.values() and dataclasses.is_dataclass(source):
        told = located({"_target_": _path(type(source)), **dataclasses.asdict(source)})
    validation, test = data.fractions
    return {
        **told,
        "batch_size": data.batch_size,
        "normalize": data.scaling.kind,
        "normalize_targets": data.normalize_targets,
        "validation": validation,
        "test": test,
    }


def describe_network(network: nn.Module) -> dict[str, dict[str, Any]]:
    """Return the `network` and `activation` groups of a configuration."""
    if not isinstance(network, Network):
        return {"network": {"_target_": _path(type(network))}, "activation": {}}
    first = network.layers[0]
    embeddings = {} if network.embeddings is None else {"embeddings": network.embeddings.codes}
    return {
        "network": {
            "_target_": _path(Network),
            "hidden": list(network.sizes[1:-1]),
            "inputs": network.sizes[0],
            "outputs": network.sizes[-1],
            "bias": first.bias is not None,
            **embeddings,
        },
        "activation": describe_module(cast(nn.Module, first.activation)),
    }


def describe_module(module: nn.Module) -> dict[str, Any]:
    """Return the class of a module and the arguments it was built with, as far as it keeps them.

    Example:
        >>> describe_module(nn.LeakyReLU(0.2))
        {'_target_': 'torch.nn.modules.activation.LeakyReLU', 'negative_slope': 0.2}
    """
    told = {"_target_": _path(type(module))}
    for name in inspect.signature(type(module).__init__).parameters:
        value = getattr(module, f"initial_{name}", getattr(module, name, None))
        if name not in _NOT_TOLD and isinstance(value, bool | int | float | str):
            told[name] = plain(value)
    return told


def _optimizer(choice: object, learning_rate: float) -> dict[str, Any]:
    if isinstance(choice, str):
        return {"_target_": _path(OPTIMIZERS[choice]), "lr": learning_rate}
    return {"_target_": None, "function": _named(choice)}


def _schedule(choice: object, learning_rate: float) -> dict[str, Any]:
    if not isinstance(choice, str):
        return {"_target_": None, "function": _named(choice)}
    if choice not in SCHEDULES:  # a constant rate
        return {"_target_": None}
    kind = SCHEDULES[choice]
    known = {"max_lr": learning_rate}
    return {"_target_": _path(kind), **{name: known.get(name) for name in left_to_run(kind)}}


def _named(function: object) -> str:
    """Name a function of the user's for the reader; it cannot be built again."""
    function = getattr(function, "func", function)  # of a functools.partial
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(function, '__module__', '')}.{name}"


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
