"""Build the data, network, loss, optimizer and callbacks of a run from its configuration."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from brainnet.config.instantiate import DATAMODULE_KEYS, Builder, check_parameters, has_parameter
from brainnet.config.schema import Config
from brainnet.data.datamodule import DataModule
from brainnet.data.validation import get_total_memory
from brainnet.errors import InputError, did_you_mean
from brainnet.learning.learning_rate import fill_run_settings
from brainnet.structure.embedding import choose_width
from brainnet.structure.network import Network
from brainnet.training.assembly import (
    choose_loss,
    compute_network_sizes,
    describe_class,
    measure_outputs,
)
from brainnet.training.callbacks import Observe
from brainnet.training.module import OptimizerFactory, ScheduleFactory
from brainnet.training.trainer import build_profiler


def build_datamodule(config: Mapping[str, Any], build: Builder) -> DataModule:
    """Build the data of a configuration; the source's own keys stand beside those of the module.

    Args:
        config: its `data` group, and `seed`.
        build: builds what it names.

    Raises:
        InputError: where a class is not allowed or refuses its keys, or the rows cannot be read.
    """
    options = dict(config["data"])
    rows = {key: options.pop(key) for key in DATAMODULE_KEYS if key in options}
    keys = [key for key in options if key != "_target_"]
    check_parameters(keys, build.target(options, "data"), "data", beside=DATAMODULE_KEYS)
    return DataModule(build.instance(options, "data"), seed=config["seed"], **rows)


BYTES = 4  # of a number in 32 bits

COPIES = 2  # each weight and its gradient; what the optimizer keeps comes on top

UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB")


def check_memory_fits(sizes: Sequence[int], embeddings: Mapping[int, int] | None = None) -> None:
    """Hold a network of these layers against the memory of this machine.

    Args:
        sizes: inputs, neurons of each hidden layer, outputs.
        embeddings: how many codes there are, by the column of the inputs that holds them.

    Raises:
        InputError: when its weights and their gradients alone need more than there is.
    """
    tables = [(codes, choose_width(codes)) for codes in (embeddings or {}).values()]
    seen = sizes[0] + sum(width - 1 for _, width in tables)
    numbers = sum((inputs + 1) * neurons for inputs, neurons in pairwise([seen, *sizes[1:]]))
    numbers += sum(codes * width for codes, width in tables)
    needed = BYTES * COPIES * numbers
    there = get_total_memory()
    if there is not None and needed > there:
        raise InputError(
            f"that network needs {amount(needed)} of memory for its weights and their gradients; "
            f"this machine has {amount(there)}. Set network.hidden to fewer neurons."
        )


def amount(number: float) -> str:
    """A number of bytes as people say it.

    Example:
        >>> amount(2_560_000_000_000)
        '2.6 TB'
    """
    unit = 0
    while number >= 999.5 and unit < len(UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.2g} {UNITS[unit]}" if number < 10 else f"{number:.0f} {UNITS[unit]}"


def build_network(
    config: Mapping[str, Any],
    build: Builder,
    *,
    inputs: int,
    outputs: int,
    embeddings: Mapping[int, int] | None = None,
    image_shape: Sequence[int] | None = None,
) -> nn.Module:
    """Build the network of a configuration; the same seed gives the same first weights.

    Args:
        config: its `network` and `activation` groups, and `seed`.
        build: builds what it names.
        inputs: how many numbers a row has.
        outputs: how many numbers the network gives for it.
        embeddings: the number of codes of each input that is a code, by its position.
        image_shape: (height, width) or (channels, height, width) where a row is a picture. A class
            with an argument of this name is always told of three: rows come to it flat, and it
            may view them so.

    Raises:
        InputError: where a class is not allowed or refuses its keys, or where the network cannot
            fit into this machine.
    """
    options = {
        key: value for key, value in config["network"].items() if key not in ("inputs", "outputs")
    }
    seed = config.get("seed", 0)
    torch.manual_seed(seed)  # for networks that take no generator
    target = build.target(options, "network")
    offered: dict[str, Any] = {"inputs": inputs, "outputs": outputs}
    if target is Network:
        offered = {"sizes": [inputs, *options.pop("hidden", []), outputs]}
        check_memory_fits(offered["sizes"], embeddings)
    offered["generator"] = torch.Generator().manual_seed(seed)
    offered["activation"] = config["activation"]
    if image_shape:
        offered["image_shape"] = (1, *image_shape)[-3:]
    if embeddings:
        offered["embeddings"] = dict(embeddings)
    taken = {key: value for key, value in offered.items() if has_parameter(target, key)}
    network: nn.Module = build.instance(taken | options, "network")
    return network


REHEARSED_STEPS = 100


@dataclass(frozen=True, slots=True)
class Components:
    """What a run is made of.

    Attributes:
        data: the rows, split and scaled.
        network: with sizes that follow from the data.
        loss: the chosen one, or the one that fits the task.
        optimizer: makes the optimizer from the parameters.
        schedule: makes the schedule from the optimizer and the steps of the run, if there is one.
        trainer: arguments of Lightning's Trainer.
        observe: the watcher, if one was chosen.
        callbacks: Lightning's own, in the order of the configuration.
        loggers: Lightning's own, beside TensorBoard's.
        config: the configuration with its nulls filled in.
    """

    data: DataModule
    network: nn.Module
    loss: nn.Module
    optimizer: OptimizerFactory
    schedule: ScheduleFactory | None
    trainer: dict[str, Any]
    observe: Observe | None
    callbacks: list[Any]
    loggers: list[Any]
    config: Config


def build_components(config: Config, build: Builder, folder: Path) -> Components:
    """Build everything that a checked configuration asks for, and nothing that writes.

    Args:
        config: the configuration.
        build: builds what it names.
        folder: where the run will be; loggers are told.

    Raises:
        InputError: where parts do not fit together, or a class refuses its keys.
    """
    filled = deepcopy(config)
    data = build_datamodule(config, build)
    loss = resolve_loss(filled, data, build)
    network = resolve_network(filled, data, loss, build)
    if config["loss"].get("_target_") is None:
        loss = fitted_loss(filled, data, network, loss)
    optimizer = build_optimizer(config, build)
    schedule = build_schedule(config, build)
    rehearse(network, optimizer, schedule)
    observed = config["observe"].get("_target_") is not None
    return Components(
        data=data,
        network=network,
        loss=loss,
        optimizer=optimizer,
        schedule=schedule,
        trainer=build_trainer_options(config, folder),
        observe=build.instance(config["observe"], "observe") if observed else None,
        callbacks=build_callbacks(config, data, build),
        loggers=build_loggers(config, folder, build),
        config=filled,
    )


def build_trainer_options(config: Config, folder: Path) -> dict[str, Any]:
    """What goes to Lightning's Trainer; a profiler writes into the run's folder."""
    options = dict(config["trainer"])
    if options.get("profiler") is not None:
        options["profiler"] = build_profiler(options["profiler"], folder)
    return options


def resolve_loss(filled: Config, data: DataModule, build: Builder) -> nn.Module:
    """The loss that was chosen or, where none was, the one that fits the task."""
    if filled["loss"].get("_target_") is None:
        filled["loss"] = {"_target_": describe_class(choose_loss(data.task))}
    loss: nn.Module = build.instance(filled["loss"], "loss")
    return loss


def fitted_loss(filled: Config, data: DataModule, network: nn.Module, loss: nn.Module) -> nn.Module:
    """The default loss of the task for the outputs that the network really has."""
    outputs = measure_outputs(network, data)
    chosen = choose_loss(data.task, outputs=outputs)
    if type(chosen) is type(loss):
        return loss
    filled["loss"] = {"_target_": describe_class(chosen)}
    filled["network"] = filled["network"] | {"outputs": outputs}
    return chosen


def resolve_network(filled: Config, data: DataModule, loss: nn.Module, build: Builder) -> nn.Module:
    """The network, with as many inputs and outputs as data and loss ask for."""
    sizes = compute_network_sizes(loss, data)
    for key, needed in sizes.items():
        given = filled["network"].get(key)
        if given is not None and given != needed:
            raise InputError(
                f"the network has {given} {key} (network.{key}={given}); the data "
                f"({data.dataset.name}) need {needed}. In a new run leave network.{key} out: it "
                "follows from the data. A trained network needs data like those it learnt from."
            )
    filled["network"] = filled["network"] | sizes
    network = build_network(
        filled,
        build,
        inputs=sizes["inputs"],
        outputs=sizes["outputs"],
        embeddings=data.encoder.embeddings,
        image_shape=data.image_shape,
    )
    if isinstance(network, Network) and network.embeddings is not None:
        filled["network"]["embeddings"] = network.embeddings.codes
    return network


def build_optimizer(config: Config, build: Builder) -> OptimizerFactory:
    """A function of the parameters, since these exist only once the network does."""
    options = {
        # PyTorch's own type of `betas`; YAML has no tuples.
        key: tuple(value) if isinstance(value, list) else value
        for key, value in config["optimizer"].items()
    }
    return lambda parameters: build.instance(options | {"params": parameters}, "optimizer")


def build_schedule(config: Config, build: Builder) -> ScheduleFactory | None:
    """A function of the optimizer and the steps of the run, which fill in what is null."""
    options = config["schedule"]
    if options.get("_target_") is None:
        return None

    def schedule_for(optimizer: Optimizer, total_steps: int) -> LRScheduler:
        from_run = fill_run_settings(optimizer, total_steps)
        filled = {
            key: from_run.get(key) if value is None else value for key, value in options.items()
        }
        schedule: LRScheduler = build.instance(filled | {"optimizer": optimizer}, "schedule")
        return schedule

    return schedule_for


def rehearse(
    network: nn.Module, optimizer: OptimizerFactory, schedule: ScheduleFactory | None
) -> None:
    """Make optimizer and schedule once and let go of them, so that they complain now or never."""
    made = optimizer(network.parameters())
    if schedule is not None:
        schedule(made, REHEARSED_STEPS)


def build_callbacks(config: Config, data: DataModule, build: Builder) -> list[Any]:
    """The callbacks, in the order of the configuration.

    Raises:
        InputError: when one watches a curve that these data do not have.
    """
    score = "r2" if data.task == "regression" else "accuracy"
    curves = [f"{name}/{part}" for name in ("loss", score) for part in ("train", "validation")]
    found: list[Any] = []
    for name, node in (config.get("callbacks") or {}).items():
        watched = node.get("monitor", curves[0])
        if watched not in curves:
            raise InputError(
                f"callbacks.{name}.monitor={watched}: there is no such curve."
                f"{did_you_mean(watched, curves)} The curves are {', '.join(curves)}."
            )
        found.append(build.instance(node, f"callbacks.{name}"))
    return found


def build_loggers(config: Config, folder: Path, build: Builder) -> list[Any]:
    """The loggers beside TensorBoard; a `save_dir` that is null is the run's folder."""
    nodes = (config.get("logger") or {}).items()
    filled = {
        name: node | {"save_dir": str(folder)} if node.get("save_dir", "") is None else node
        for name, node in nodes
    }
    return [build.instance(node, f"logger.{name}") for name, node in filled.items()]
