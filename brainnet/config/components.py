"""Components of a run, built from its checked configuration."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from brainnet.config.instantiate import (
    DATAMODULE_KEYS,
    TargetAllowList,
    instantiate,
)
from brainnet.config.network import build_network
from brainnet.config.schema import Config
from brainnet.data.datamodule import DataModule
from brainnet.errors import InputError, did_you_mean
from brainnet.learning.learning_rate import fill_run_settings
from brainnet.structure.network import Network
from brainnet.training.assembly import (
    choose_loss,
    compute_network_sizes,
    describe_class,
    measure_outputs,
)
from brainnet.training.module import ScheduleFactory
from brainnet.training.trainer import build_profiler


def build_components(
    config: Config, allow_list: TargetAllowList, directory: Path
) -> dict[str, Any]:
    """Build the arguments of `training.fit.train` from a checked configuration; writes nothing.

    Loggers and the profiler receive the directory of the run.
    """
    # Nulls are filled in below; the caller's configuration stays as it was typed.
    config = deepcopy(config)
    data = build_datamodule(config, allow_list)
    network, loss = build_network_and_loss(config, data, allow_list)
    options = {
        # PyTorch expects `betas` as a tuple, which YAML does not have.
        key: tuple(value) if isinstance(value, list) else value
        for key, value in config["optimizer"].items()
    }

    def create_optimizer(parameters: Iterable[nn.Parameter]) -> Optimizer:
        built: Optimizer = instantiate(options | {"params": parameters}, "optimizer", allow_list)
        return built

    create_schedule = _build_schedule_factory(config, allow_list)
    # Wrong optimizer or schedule settings are reported now, not when the training begins.
    trial = create_optimizer(network.parameters())
    if create_schedule is not None:
        create_schedule(trial, 100)
    trainer = dict(config["trainer"])
    if trainer.get("profiler") is not None:
        trainer["profiler"] = build_profiler(trainer["profiler"], directory)
    is_observed = config["observe"].get("_target_") is not None
    return {
        "data": data,
        "network": network,
        "loss": loss,
        "optimizer": create_optimizer,
        "schedule": create_schedule,
        "trainer": trainer,
        "observe": instantiate(config["observe"], "observe", allow_list) if is_observed else None,
        "callbacks": _build_callbacks(config, data, allow_list),
        "loggers": _build_loggers(config, directory, allow_list),
        "config": config,
    }


def build_datamodule(config: Mapping[str, Any], allow_list: TargetAllowList) -> DataModule:
    """Build the data module from the `data` group and the seed."""
    options = dict(config["data"])
    module_options = {key: options.pop(key) for key in DATAMODULE_KEYS if key in options}
    source = instantiate(options, "data", allow_list)
    return DataModule(source, seed=config["seed"], **module_options)


def build_network_and_loss(
    config: Config, data: DataModule, allow_list: TargetAllowList
) -> tuple[nn.Module, nn.Module]:
    """Build loss and network by the rule *data -> loss -> network* of `training.assembly`.

    The chosen loss and the sizes of the network are filled into `config`.
    """
    is_automatic = config["loss"].get("_target_") is None
    if is_automatic:
        config["loss"] = {"_target_": describe_class(choose_loss(data.dataset.task))}
    # The loss comes first: it determines the number of outputs.
    loss: nn.Module = instantiate(config["loss"], "loss", allow_list)
    sizes = compute_network_sizes(loss, data)
    for key, required in sizes.items():
        given = config["network"].get(key)
        if given is not None and given != required:
            raise InputError(
                f"the network has {given} {key} (network.{key}={given}); the data "
                f"({data.dataset.name}) need {required}. In a new run, leave network.{key} out: "
                "it follows from the data. A trained network needs data with as many inputs and "
                "outputs as its training data."
            )
    config["network"] = config["network"] | sizes
    embeddings = data.encoder.embeddings
    network = build_network(
        config, allow_list, **sizes, embeddings=embeddings, image_shape=data.dataset.image_shape
    )
    if isinstance(network, Network) and network.embeddings is not None:
        config["network"]["embeddings"] = network.embeddings.codes
    if is_automatic:
        # A user's network may have another number of outputs, for example two for a binary task.
        outputs = measure_outputs(network, data)
        loss = choose_loss(data.dataset.task, outputs=outputs)
        config["loss"] = {"_target_": describe_class(loss)}
        config["network"] = config["network"] | {"outputs": outputs}
    return network, loss


def _build_schedule_factory(config: Config, allow_list: TargetAllowList) -> ScheduleFactory | None:
    options = config["schedule"]
    if options.get("_target_") is None:
        return None

    def create_schedule(optimizer: Optimizer, total_steps: int) -> LRScheduler:
        settings = fill_run_settings(optimizer, total_steps)
        filled = {
            key: settings.get(key) if value is None else value for key, value in options.items()
        }
        schedule: LRScheduler = instantiate(
            filled | {"optimizer": optimizer}, "schedule", allow_list
        )
        return schedule

    return create_schedule


def _build_callbacks(config: Config, data: DataModule, allow_list: TargetAllowList) -> list[Any]:
    """Build the callbacks in the order of the configuration."""
    score = "r2" if data.dataset.task == "regression" else "accuracy"
    curves = [f"{name}/{part}" for name in ("loss", score) for part in ("train", "validation")]
    callbacks: list[Any] = []
    for name, node in (config.get("callbacks") or {}).items():
        # Lightning would report a missing curve only after the first epoch.
        curve = node.get("monitor", curves[0])
        if curve not in curves:
            raise InputError(
                f"callbacks.{name}.monitor={curve}: there is no such curve."
                f"{did_you_mean(curve, curves)} The curves are {', '.join(curves)}."
            )
        callbacks.append(instantiate(node, f"callbacks.{name}", allow_list))
    return callbacks


def _build_loggers(config: Config, directory: Path, allow_list: TargetAllowList) -> list[Any]:
    """Build the loggers; a `save_dir` of null is the run's directory."""
    loggers: list[Any] = []
    for name, node in (config.get("logger") or {}).items():
        if node.get("save_dir", "") is None:
            node = node | {"save_dir": str(directory)}
        loggers.append(instantiate(node, f"logger.{name}", allow_list))
    return loggers
