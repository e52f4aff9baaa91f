"""The parts of a run: what follows from the data is filled in, what does not fit is told."""

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from brainnet.building.build import Build
from brainnet.building.data import data_from
from brainnet.building.network import network_from
from brainnet.cli.configuration import Config
from brainnet.data.module import DataModule
from brainnet.errors import InputError
from brainnet.learning.learning_rate import settings_of_run
from brainnet.learning.loss import DEFAULT_LOSS, LOSSES
from brainnet.structure.network import Network
from brainnet.suggestion import did_you_mean
from brainnet.training.choices import loss_for
from brainnet.training.module import OptimizerFactory, ScheduleFactory
from brainnet.training.observe import Observe
from brainnet.training.profiling import profiler_for
from brainnet.training.sizes import outputs_for
from brainnet.training.sizes import outputs_of as answered

REHEARSED_STEPS = 100


@dataclass(frozen=True, slots=True)
class Parts:
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


def parts_of(config: Config, build: Build, folder: Path) -> Parts:
    """Build everything that a checked configuration asks for, and nothing that writes.

    Args:
        config: the configuration.
        build: builds what it names.
        folder: where the run will be; loggers are told.

    Raises:
        InputError: where parts do not fit together, or a class refuses its keys.
    """
    filled = deepcopy(config)
    data = data_from(config, build)
    loss = loss_of(filled, data, build)
    network = network_of(filled, data, loss, build)
    if config["loss"].get("_target_") is None:
        loss = fitted_loss(filled, data, network, loss)
    optimizer = optimizer_of(config, build)
    schedule = schedule_of(config, build)
    rehearse(network, optimizer, schedule)
    observed = config["observe"].get("_target_") is not None
    return Parts(
        data=data,
        network=network,
        loss=loss,
        optimizer=optimizer,
        schedule=schedule,
        trainer=trainer_of(config, folder),
        observe=build.instance(config["observe"], "observe") if observed else None,
        callbacks=callbacks_of(config, data, build),
        loggers=loggers_of(config, folder, build),
        config=filled,
    )


def trainer_of(config: Config, folder: Path) -> dict[str, Any]:
    """What goes to Lightning's Trainer; a profiler writes into the run's folder."""
    options = dict(config["trainer"])
    if options.get("profiler") is not None:
        options["profiler"] = profiler_for(options["profiler"], folder)
    return options


def loss_of(filled: Config, data: DataModule, build: Build) -> nn.Module:
    """The loss that was chosen or, where none was, the one that fits the task."""
    if filled["loss"].get("_target_") is None:
        chosen = LOSSES[DEFAULT_LOSS[data.task]]
        filled["loss"] = {"_target_": f"{chosen.__module__}.{chosen.__qualname__}"}
    loss: nn.Module = build.instance(filled["loss"], "loss")
    return loss


def fitted_loss(filled: Config, data: DataModule, network: nn.Module, loss: nn.Module) -> nn.Module:
    """The loss that fits the task and the network; one of the user's may answer in its own way.

    A network of ours has as many outputs as the loss of the task asks for. One that takes no
    `outputs` has its own, and with two, two classes are told apart by one output each.
    """
    if data.task != "binary" or isinstance(network, Network):
        return loss
    outputs = answered(network, data)
    chosen = loss_for("auto", data.task, outputs)
    if type(chosen) is type(loss):
        return loss
    filled["loss"] = {"_target_": f"{type(chosen).__module__}.{type(chosen).__qualname__}"}
    filled["network"] = filled["network"] | {"outputs": outputs}
    return chosen


def outputs_of(loss: nn.Module, data: DataModule) -> int:
    """How many numbers the network must give for this loss on these data.

    Raises:
        InputError: when the loss cannot judge so many classes.
    """
    wanted = outputs_for(data, loss)
    return data.targets if wanted is None else wanted


def network_of(filled: Config, data: DataModule, loss: nn.Module, build: Build) -> nn.Module:
    """The network, with as many inputs and outputs as data and loss ask for."""
    sizes = {"inputs": data.inputs, "outputs": outputs_of(loss, data)}
    for key, needed in sizes.items():
        given = filled["network"].get(key)
        if given is not None and given != needed:
            raise InputError(
                f"the network has {given} {key} (network.{key}={given}); the data "
                f"({data.dataset.name}) need {needed}. In a new run leave network.{key} out: it "
                "follows from the data. A trained network needs data like those it learnt from."
            )
    filled["network"] = filled["network"] | sizes
    network = network_from(
        filled,
        build,
        inputs=sizes["inputs"],
        outputs=sizes["outputs"],
        embeddings=data.preparation.embedded,
        image_shape=data.image_shape,
    )
    if isinstance(network, Network) and network.embeddings is not None:
        filled["network"]["embeddings"] = network.embeddings.codes
    return network


def optimizer_of(config: Config, build: Build) -> OptimizerFactory:
    """A function of the parameters, since these exist only once the network does."""
    options = {
        # PyTorch's own type of `betas`; YAML has no tuples.
        key: tuple(value) if isinstance(value, list) else value
        for key, value in config["optimizer"].items()
    }
    return lambda parameters: build.instance(options | {"params": parameters}, "optimizer")


def schedule_of(config: Config, build: Build) -> ScheduleFactory | None:
    """A function of the optimizer and the steps of the run, which fill in what is null."""
    options = config["schedule"]
    if options.get("_target_") is None:
        return None

    def schedule_for(optimizer: Optimizer, total_steps: int) -> LRScheduler:
        from_run = settings_of_run(optimizer, total_steps)
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


def callbacks_of(config: Config, data: DataModule, build: Build) -> list[Any]:
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


def loggers_of(config: Config, folder: Path, build: Build) -> list[Any]:
    """The loggers beside TensorBoard; a `save_dir` that is null is the run's folder."""
    nodes = (config.get("logger") or {}).items()
    filled = {
        name: node | {"save_dir": str(folder)} if node.get("save_dir", "") is None else node
        for name, node in nodes
    }
    return [build.instance(node, f"logger.{name}") for name, node in filled.items()]
