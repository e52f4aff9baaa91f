"""The parts of a run: chosen by name, checked against the data, described as configuration."""

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from brainnet.data.datamodule import DataModule
from brainnet.data.datasets import SOURCES, find_source, resolve_paths
from brainnet.data.validation import join_names, report_warning
from brainnet.errors import InputError, did_you_mean
from brainnet.learning.gradient_descent import OPTIMIZERS
from brainnet.learning.learning_rate import SCHEDULES, fill_run_settings, find_run_settings
from brainnet.learning.loss import DEFAULT_LOSS, LOSSES, Task
from brainnet.observation.probe import isolated_eval
from brainnet.structure.embedding import Embeddings
from brainnet.structure.network import Network
from brainnet.training.module import OptimizerFactory, ScheduleFactory
from brainnet.training.run_directory import to_plain

Chosen = TypeVar("Chosen")


def build_loss(choice: str | nn.Module, task: Task, outputs: int | None = None) -> nn.Module:
    """Return the loss of that name; "auto" is the one that fits the task, and the network.

    Args:
        choice: a name, "auto", or a loss to take as it is.
        task: what is to be learnt.
        outputs: of the network; with two, two classes are told apart by one output each.

    Raises:
        InputError: there is no such loss.

    Example:
        >>> type(loss_for("auto", "regression")).__name__
        'MeanSquaredError'
        >>> type(loss_for("auto", "binary", outputs=2)).__name__
        'CrossEntropy'
    """
    if isinstance(choice, nn.Module):
        return choice
    one_each = task == "binary" and outputs == 2
    fitting = "cross_entropy" if one_each else DEFAULT_LOSS[task]
    name = fitting if choice == "auto" else choice
    return _named("loss", name, LOSSES, "auto")()


def choose_optimizer(choice: str | OptimizerFactory, learning_rate: float) -> OptimizerFactory:
    """Return what makes the optimizer of that name.

    Raises:
        InputError: there is no such optimizer.
    """
    if not isinstance(choice, str):
        return choice
    kind: Callable[..., Optimizer] = _named("optimizer", choice, OPTIMIZERS)

    def optimizer(parameters: Iterable[nn.Parameter]) -> Optimizer:
        return kind(parameters, lr=learning_rate)

    return optimizer


def choose_schedule(choice: str | ScheduleFactory) -> ScheduleFactory | None:
    """Return what makes the schedule of that name from optimizer and number of steps.

    Raises:
        InputError: there is no such schedule.
    """
    if not isinstance(choice, str):
        return choice
    if choice == "constant":
        return None
    kind = _named("schedule", choice, SCHEDULES, "constant")
    make: Callable[..., LRScheduler] = kind

    def schedule(optimizer: Optimizer, total_steps: int) -> LRScheduler:
        settings = fill_run_settings(optimizer, total_steps)
        return make(optimizer, **{name: settings[name] for name in find_run_settings(kind)})

    return schedule


def _named(what: str, name: str, table: Mapping[str, Chosen], *more: str) -> Chosen:
    if name not in table:
        known = [*more, *table]
        raise InputError(
            f"there is no {what} {name!r}.{did_you_mean(str(name), known)} "
            f"Choose one of {', '.join(known)}."
        )
    return table[name]


def check_sizes(network: nn.Module, data: DataModule, loss: nn.Module) -> None:
    """Raise an InputError that says what to change unless network, data and loss fit together."""
    _check_task(data, loss)
    _check_mean(loss)
    wanted = count_outputs(data, loss)
    if isinstance(network, Network):
        _check_inputs(network.sizes[0], data)
    outputs = measure_outputs(network, data)
    if wanted is not None and outputs != wanted:
        answers = f"{data.targets} classes" if data.class_names else f"{data.targets} targets"
        raise InputError(
            f"{type(loss).__name__} on {data.dataset.name} ({answers}) needs {_outputs(wanted)}; "
            f"the network has {outputs}. {_remedy(network, data, outputs, wanted)}."
        )


def check_has_parameters(network: nn.Module) -> None:
    """Raise an InputError unless there is a weight in the network that may change."""
    if not any(weight.requires_grad for weight in network.parameters()):
        raise InputError(
            "every weight of the network is frozen (requires_grad=False), so there is nothing to "
            "learn. Leave some of them free, or judge it as it is."
        )


def set_embedding_codes(network: nn.Module, data: DataModule) -> None:
    """Note where a network reads the codes of categories as if they were amounts."""
    embedded = data.preparation.embedded
    kinds = (Embeddings, nn.Embedding, nn.EmbeddingBag)
    if not embedded or any(isinstance(part, kinds) for part in network.modules()):
        return
    names = join_names([data.input_names[place] for place in embedded], 6)
    report_warning(
        f"{names}: of so many words each is one code, and this {type(network).__name__} has no "
        "embeddings, so that it takes codes for amounts. Give it some: "
        "Network([...], embeddings=data.preparation.embedded)."
    )


def measure_outputs(network: nn.Module, data: DataModule) -> int:
    """Return how many numbers a network answers with; one that does not tell is asked.

    Raises:
        InputError: it cannot read these data, has no weights, or answers in another form.
    """
    return network.sizes[-1] if isinstance(network, Network) else _asked(network, data)


def _remedy(network: nn.Module, data: DataModule, outputs: int, wanted: int) -> str:
    """Say what to change; how many outputs a module of the user's has is told by no key of ours."""
    loss = _fitting_loss(data, outputs)
    chosen = f'loss={loss} (in Python: loss="{loss}")'
    if isinstance(network, Network):
        sized = f"Set network.outputs={wanted} (in Python: give the network {_outputs(wanted)})"
        return sized if loss is None else f"{sized}, or choose {chosen}"
    if loss is None:
        return f"Give the {type(network).__name__} {_outputs(wanted)}"
    return f"Choose {chosen}"


def _outputs(count: int) -> str:
    return f"{count} output{'' if count == 1 else 's'}"


def _fitting_loss(data: DataModule, outputs: int) -> str | None:
    """Name a loss for this task that takes so many outputs, if there is one."""
    for name, kind in LOSSES.items():
        if data.task in getattr(kind, "tasks", ()) and _takes(kind(), data.targets, outputs):
            return name
    return None


def _takes(loss: nn.Module, targets: int, outputs: int) -> bool:
    try:
        return bool(loss.outputs_for(targets) == outputs)  # type: ignore[operator]
    except ValueError:
        return False


def _check_task(data: DataModule, loss: nn.Module) -> None:
    tasks = getattr(loss, "tasks", None)
    if tasks is not None and data.task not in tasks:
        raise InputError(
            f"{type(loss).__name__} is for {' or '.join(tasks)} tasks; {data.dataset.name} is "
            f"a {data.task} task. Set loss=auto "
            '(in Python: loss="auto"), and the loss follows from the data.'
        )


def _check_mean(loss: nn.Module) -> None:
    reduction = getattr(loss, "reduction", "mean")
    if reduction != "mean":
        raise InputError(
            f"the loss must be the mean over a batch, as curves weigh it by rows; "
            f"{type(loss).__name__} has reduction={reduction!r}. Leave reduction out."
        )


def _check_inputs(expected: int, data: DataModule) -> None:
    if expected != data.inputs:
        raise InputError(
            f"the network expects {expected} inputs; got {data.inputs} "
            f"(data: {data.dataset.name}). Set network.inputs={data.inputs}, or leave it out: "
            f"it follows from the data. (In Python: Network([{data.inputs}, ...]).)"
        )


def count_outputs(data: DataModule, loss: nn.Module) -> int | None:
    """Return how many numbers a loss needs for each row of these data; None where it does not tell.

    Raises:
        InputError: it cannot judge so many classes.
    """
    outputs_for = getattr(loss, "outputs_for", None)
    if outputs_for is None:
        return None
    try:
        return int(outputs_for(data.targets))
    except ValueError as error:
        raise InputError(str(error)) from error


def _asked(network: nn.Module, data: DataModule) -> int:
    """Ask a network that does not tell its sizes for an answer to two rows."""
    rows, _ = data.first("train", 2)
    weight = next(network.parameters(), None)
    if weight is None:
        raise InputError(
            f"{type(network).__name__} has no weights, so there is nothing to learn. "
            "Give a network with at least one layer that has weights."
        )
    if weight.is_meta:
        raise InputError("the network is on the meta device. Give its weights values first.")
    try:
        with isolated_eval(network):
            outputs = network(rows.to(weight))
    except Exception as error:  # whatever a network of the user's may raise
        raise InputError(
            f"the network cannot read rows of {data.inputs} inputs (data: {data.dataset.name}): "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(outputs, torch.Tensor) or outputs.ndim != 2:
        found = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs)
        raise InputError(f"the network must answer with (batch, outputs) numbers; got {found}.")
    return outputs.shape[1]


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
        "trainer": to_plain(trainer),
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
        told = resolve_paths({"_target_": _path(type(source)), **dataclasses.asdict(source)})
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
            told[name] = to_plain(value)
    return told


def _optimizer(choice: object, learning_rate: float) -> dict[str, Any]:
    if isinstance(choice, str):
        return {"_target_": _path(OPTIMIZERS[choice]), "lr": learning_rate}
    return {"_target_": None, "function": _named_description(choice)}


def _schedule(choice: object, learning_rate: float) -> dict[str, Any]:
    if not isinstance(choice, str):
        return {"_target_": None, "function": _named_description(choice)}
    if choice not in SCHEDULES:  # a constant rate
        return {"_target_": None}
    kind = SCHEDULES[choice]
    known = {"max_lr": learning_rate}
    return {"_target_": _path(kind), **{name: known.get(name) for name in find_run_settings(kind)}}


def _named_description(function: object) -> str:
    """Name a function of the user's for the reader; it cannot be built again."""
    function = getattr(function, "func", function)  # of a functools.partial
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(function, '__module__', '')}.{name}"


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
