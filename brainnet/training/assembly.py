"""Assembly: choose the parts of a run by name, check that they fit, and describe them.

The rule *data -> loss -> network*: the task of the data chooses the loss (`choose_loss`), and both
determine the sizes of the network (`compute_network_sizes`).
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from brainnet.data.datamodule import DataModule
from brainnet.data.datasets import DATA_SOURCES, find_source, resolve_paths
from brainnet.data.validation import check_one_of, join_names, report_warning
from brainnet.errors import InputError
from brainnet.learning.gradient_descent import OPTIMIZERS
from brainnet.learning.learning_rate import SCHEDULES, fill_run_settings, find_run_settings
from brainnet.learning.loss import DEFAULT_LOSS, LOSSES, Task
from brainnet.observation.probe import isolated_eval
from brainnet.structure.embedding import Embeddings
from brainnet.structure.network import Network
from brainnet.training.module import OptimizerFactory, ScheduleFactory
from brainnet.training.run_directory import to_plain


def choose_loss(
    task: Task, name: str | nn.Module = "auto", outputs: int | None = None
) -> nn.Module:
    """Return the loss with a name, or the default of a task; a module is returned unchanged."""
    if isinstance(name, nn.Module):
        return name
    # Two classes have one logit each if the network has two outputs, else a single one.
    if name == "auto":
        name = "cross_entropy" if task == "binary" and outputs == 2 else DEFAULT_LOSS[task]
    check_one_of("loss", name, ["auto", *LOSSES])
    return LOSSES[name]()


def count_outputs(loss: nn.Module, data: DataModule) -> int | None:
    """Return how many outputs a loss needs for the targets of the data, or None if unknown."""
    # Losses of PyTorch have no such method.
    count = getattr(loss, "count_outputs", None)
    if count is None:
        return None
    try:
        return int(count(data.dataset.target_count))
    # The loss raises if it does not support the number of classes.
    except ValueError as error:
        raise InputError(str(error)) from error


def compute_network_sizes(loss: nn.Module, data: DataModule) -> dict[str, int]:
    """Return the `inputs` and `outputs` that a network needs for a loss and data."""
    outputs = count_outputs(loss, data) or data.dataset.target_count
    return {"inputs": data.dataset.input_count, "outputs": outputs}


def measure_outputs(network: nn.Module, data: DataModule) -> int:
    """Return the number of outputs of a network; one without `sizes` is run on two rows."""
    if isinstance(network, Network):
        return network.sizes[-1]
    weight = next(network.parameters(), None)
    if weight is None:
        raise InputError(
            f"{type(network).__name__} has no weights, so there is nothing to train. "
            "Use a network with at least one layer that has weights."
        )
    if weight.is_meta:
        raise InputError("the network is on the meta device. Initialize its weights first.")
    # Two rows, so that a network that drops the batch dimension is detected.
    rows, _ = data.take("train", 2)
    try:
        with isolated_eval(network):
            outputs = network(rows.to(weight))
    # A network of the user can raise anything.
    except Exception as error:
        raise InputError(
            f"the network cannot process rows of {data.dataset.input_count} inputs "
            f"(data: {data.dataset.name}): {type(error).__name__}: {error}"
        ) from error
    if not isinstance(outputs, torch.Tensor) or outputs.ndim != 2:
        received = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs)
        raise InputError(f"the network must return a (batch, outputs) tensor; got {received}.")
    return outputs.shape[1]


def check_sizes(network: nn.Module, data: DataModule, loss: nn.Module) -> None:
    """Check that network, data and loss fit together."""
    # Losses of PyTorch declare no tasks, and are not checked.
    tasks, task = getattr(loss, "tasks", None), data.dataset.task
    if tasks is not None and task not in tasks:
        raise InputError(
            f"{type(loss).__name__} is for {' or '.join(tasks)} tasks; {data.dataset.name} is "
            f'a {task} task. Set loss=auto (in Python: loss="auto") to choose the loss by the data.'
        )
    reduction = getattr(loss, "reduction", "mean")
    if reduction != "mean":
        raise InputError(
            "the loss must be the mean over a batch, because curves average it over rows; "
            f"{type(loss).__name__} has reduction={reduction!r}. Leave reduction out."
        )
    required = count_outputs(loss, data)
    # Checked here, as the forward pass would only report shapes of matrices.
    inputs = data.dataset.input_count
    if isinstance(network, Network) and network.sizes[0] != inputs:
        raise InputError(
            f"the network expects {network.sizes[0]} inputs; got {inputs} "
            f"(data: {data.dataset.name}). Set network.inputs={inputs}, or leave it out to "
            f"use the size of the data. (In Python: Network([{inputs}, ...]).)"
        )
    outputs = measure_outputs(network, data)
    if required is not None and outputs != required:
        targets = (
            f"{data.dataset.target_count} {'classes' if data.dataset.class_names else 'targets'}"
        )
        needed = f"{required} output{'' if required == 1 else 's'}"
        # Only brainnet's own network has a key for its outputs.
        key = f"Set network.outputs={required}, or give" if isinstance(network, Network) else "Give"
        raise InputError(
            f"{type(loss).__name__} on {data.dataset.name} ({targets}) needs {needed}; the network "
            f'has {outputs}. {key} the network {needed}, or choose loss=auto (in Python: "auto").'
        )


def check_trainable(network: nn.Module, data: DataModule) -> None:
    """Check that the network has trainable weights; warn if it reads category codes as numbers."""
    if not any(weight.requires_grad for weight in network.parameters()):
        raise InputError(
            "all weights of the network are frozen (requires_grad=False), so there is nothing to "
            "train. Unfreeze some of them, or evaluate the network as it is."
        )
    embedded = data.encoder.embeddings
    kinds = (Embeddings, nn.Embedding, nn.EmbeddingBag)
    if embedded and not any(isinstance(part, kinds) for part in network.modules()):
        names = join_names([data.dataset.input_names[index] for index in embedded], 6)
        report_warning(
            f"{names}: each category of these columns is one code, and this "
            f"{type(network).__name__} has no embeddings, so it reads the codes as numbers. Use "
            "Network([...], embeddings=data.encoder.embeddings)."
        )


def choose_optimizer(name: str | OptimizerFactory, learning_rate: float) -> OptimizerFactory:
    """Return a function that creates the optimizer with a name from parameters."""
    if not isinstance(name, str):
        return name
    check_one_of("optimizer", name, list(OPTIMIZERS))
    kind: Callable[..., Optimizer] = OPTIMIZERS[name]
    return partial(kind, lr=learning_rate)


def choose_schedule(name: str | ScheduleFactory) -> ScheduleFactory | None:
    """Return a function that creates the schedule with a name; None for "constant"."""
    if not isinstance(name, str):
        return name
    if name == "constant":
        return None
    check_one_of("schedule", name, ["constant", *SCHEDULES])
    kind: Callable[..., LRScheduler] = SCHEDULES[name]

    def create_schedule(optimizer: Optimizer, total_steps: int) -> LRScheduler:
        settings = fill_run_settings(optimizer, total_steps)
        needed = find_run_settings(SCHEDULES[name])
        return kind(optimizer, **{key: settings[key] for key in needed})

    return create_schedule


# Arguments that do not change what a module computes.
_OMITTED_ARGUMENTS = {"self", "device", "dtype", "inplace", "generator", "neurons"}


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
    """Return the configuration of a run from Python; arrays and functions are only named."""
    observation: dict[str, Any] = {"_target_": None}
    if observe is not None:
        settings = {name: getattr(observe, name, None) for name in ("level", "every")}
        observation = {"_target_": describe_class(observe), **settings}
    return {
        "name": data.dataset.name,
        "seed": data.seed,
        "data": describe_data(data),
        **describe_network(network),
        "loss": describe_module(loss),
        "optimizer": (
            {"_target_": describe_class(OPTIMIZERS[optimizer]), "lr": learning_rate}
            if isinstance(optimizer, str)
            else _describe_function(optimizer)
        ),
        "schedule": _describe_schedule(schedule, learning_rate),
        "trainer": to_plain(trainer),
        "observe": observation,
    }


def describe_data(data: DataModule) -> dict[str, Any]:
    """Return the `data` group of a configuration."""
    source = find_source(data.source)() if isinstance(data.source, str) else data.source
    # Without a class: arrays cannot be rebuilt from a configuration.
    config: dict[str, Any] = {"_target_": None, "name": data.dataset.name}
    if type(source) in DATA_SOURCES.values() and dataclasses.is_dataclass(source):
        config = resolve_paths({"_target_": describe_class(source), **dataclasses.asdict(source)})
    validation, test = data.fractions
    return {
        **config,
        "batch_size": data.batch_size,
        "normalize": data.scaling.kind,
        "normalize_targets": data.normalize_targets,
        "validation": validation,
        "test": test,
    }


def describe_network(network: nn.Module) -> dict[str, dict[str, Any]]:
    """Return the `network` and `activation` groups of a configuration."""
    if not isinstance(network, Network):
        return {"network": {"_target_": describe_class(network)}, "activation": {}}
    first = network.layers[0]
    embeddings = {} if network.embeddings is None else {"embeddings": network.embeddings.codes}
    return {
        "network": {
            "_target_": describe_class(Network),
            "hidden": list(network.sizes[1:-1]),
            "inputs": network.sizes[0],
            "outputs": network.sizes[-1],
            "bias": first.bias is not None,
            **embeddings,
        },
        "activation": describe_module(cast(nn.Module, first.activation)),
    }


def describe_module(module: nn.Module) -> dict[str, Any]:
    """Return the class of a module and the constructor arguments that it stores."""
    config = {"_target_": describe_class(module)}
    for name in inspect.signature(type(module).__init__).parameters:
        # A parameter that is learned differs from its initial value.
        value = getattr(module, f"initial_{name}", getattr(module, name, None))
        if name not in _OMITTED_ARGUMENTS and isinstance(value, bool | int | float | str):
            config[name] = to_plain(value)
    return config


def describe_class(value: object) -> str:
    """Return the import path of a class, or of the class of a value."""
    kind = value if isinstance(value, type) else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def _describe_schedule(choice: object, learning_rate: float) -> dict[str, Any]:
    if not isinstance(choice, str):
        return _describe_function(choice)
    # "constant" has no class.
    if choice not in SCHEDULES:
        return {"_target_": None}
    kind = SCHEDULES[choice]
    settings = dict.fromkeys(find_run_settings(kind))
    # The other settings follow from the number of steps, and are null in a configuration.
    settings |= {"max_lr": learning_rate} if "max_lr" in settings else {}
    return {"_target_": describe_class(kind), **settings}


def _describe_function(function: object) -> dict[str, Any]:
    # The function inside a functools.partial.
    function = getattr(function, "func", function)
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return {"_target_": None, "function": f"{getattr(function, '__module__', '')}.{name}"}
