"""Threads: a tiny network is computed fastest by one."""

import inspect
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.profilers import AdvancedProfiler, Profiler, SimpleProfiler
from torch import nn

from brainnet.errors import InputError, did_you_mean
from brainnet.training.checkpoint import AtomicCheckpointIO
from brainnet.training.module import OptimizerFactory

# Products of a weight and a signal per batch. Below it a step takes about a millisecond and there
# is nothing to share; on a machine of two busy cores, two threads that wait for each other took 5
# to 15 times as long as one.
_TINY = 2**22

_CHOSEN_BY = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def limit_threads(network: nn.Module, batch_size: int, device: torch.device) -> Iterator[None]:
    """Compute a tiny network by one thread, unless the user chose a number in the environment."""
    before = torch.get_num_threads()
    chosen = _chosen()
    products = batch_size * sum(weight.numel() for weight in network.parameters())
    tiny = device.type == "cpu" and products < _TINY
    if tiny and not chosen:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def reserve_thread() -> Iterator[None]:
    """Compute by one thread less, unless the user chose a number: one reads and writes meanwhile.

    On two cores, two threads that wait for each other took half as much again of the processor.
    """
    before = torch.get_num_threads()
    if not _chosen():
        torch.set_num_threads(max(1, before - 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _chosen() -> bool:
    return any(os.environ.get(variable) for variable in _CHOSEN_BY)


def check_precision(trainer: Trainer, network: nn.Module, optimizer: OptimizerFactory) -> None:
    """Raise an InputError where half precision would lose what keeps the optimizer from 0 / 0.

    Adam and its kind divide by the size of past gradients plus `eps`. Its default of 1e-8 is zero
    in float16, whose smallest number is 6e-8, and a weight without a gradient becomes NaN.
    """
    if trainer.precision != "16-true":
        return
    for group in optimizer(network.parameters()).param_groups:
        eps = group.get("eps")
        if eps is not None and torch.tensor(float(eps), dtype=torch.float16) == 0:
            raise InputError(
                f"with precision 16-true the optimizer's eps must not vanish; eps={eps:g} is 0 in "
                "16-bit numbers. Set optimizer.eps=1e-4, or trainer.precision=bf16-true."
            )


PROFILERS: dict[str, type[SimpleProfiler] | type[AdvancedProfiler]] = {
    "simple": SimpleProfiler,
    "advanced": AdvancedProfiler,
}


def build_profiler(kind: str, folder: Path) -> Profiler:
    """Return Lightning's profiler of this kind, writing into the folder when the run ends.

    By itself it tells its table to Lightning's log, which a run keeps quiet.

    Args:
        kind: "simple", by hook, or "advanced", by Python function.
        folder: of the run; `fit-profile.txt` and `test-profile.txt` are written there.
    """
    return PROFILERS[kind](dirpath=folder, filename="profile")


# What brainnet does itself: curves, checkpoints, progress and the summary of the network.
_OURS = {
    "logger": False,
    "enable_checkpointing": True,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}

# Advice of Lightning that does not apply here: batches come from memory, not from a DataLoader,
# and curves are not written by `self.log`.
_NOISE = (
    r".*does not have many workers.*",
    r".*smaller than the logging interval.*",
    r".*GPU available but not used.*",
    r".*MPS available but not used.*",
    r".*Trainer already configured with model summary callbacks.*",
    r".*Be aware that when using `ckpt_path`, callbacks used to create the checkpoint.*",
    r".*`max_epochs` was not set.*",
    r".*The `srun` command is available.*",
    r".*Starting from v1\.9\.0, `tensorboardX`.*",
    r".*isinstance\(treespec, LeafSpec\)` is deprecated.*",
    r".*It is recommended to use `self\.log\(.*sync_dist=True\)`.*",
)

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"

_NO_HALF_ON_CPU = r".*AMP with fp16 is not supported on CPU.*"


def make_trainer(
    options: Mapping[str, Any], callbacks: Sequence[Callback], store: AtomicCheckpointIO
) -> Trainer:
    """Make a trainer; nothing is written, and loggers are added later.

    Args:
        options: arguments of `lightning.Trainer`.
        callbacks: what it calls.
        store: what it writes checkpoints with.

    Raises:
        InputError: an option is unknown or cannot be had on this machine.
    """
    _check_names(options)
    _check_devices(options.get("accelerator", "auto"), options.get("devices", "auto"))
    options = {**_OURS, **options, "callbacks": [*callbacks]}
    plugins = options.pop("plugins", None) or []
    plugins = [*plugins] if isinstance(plugins, list | tuple) else [plugins]
    try:
        with warnings.catch_warnings():
            # Rather than compute with other numbers than were asked for.
            warnings.filterwarnings("error", message=_NO_HALF_ON_CPU)
            trainer = Trainer(**options, plugins=[*plugins, store])
    except UserWarning as error:
        if "fp16" not in str(error):  # another, where all warnings are errors
            raise
        raise InputError(
            "precision 16-mixed needs a GPU. Set trainer.precision=bf16-mixed, or 32-true."
        ) from error
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise InputError(f"the trainer cannot be set up: {error}") from error
    for end in ("max_epochs", "max_steps"):
        if getattr(trainer, end) == 0:
            raise InputError(
                f"trainer.{end} must be 1 or more, or nothing is learnt; got 0. "
                f"Set trainer.{end}=-1 for no such limit."
            )
    return trainer


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what Lightning says about itself; its warnings and errors that matter still come."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in _NOISE:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def restored_determinism() -> Iterator[None]:
    """Put back what `deterministic=True` and `benchmark=True` change for the whole process."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    workspace = os.environ.get(_WORKSPACE)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
        if workspace is None:
            os.environ.pop(_WORKSPACE, None)
        else:
            os.environ[_WORKSPACE] = workspace


def _check_names(options: Mapping[str, Any]) -> None:
    known = set(inspect.signature(Trainer.__init__).parameters) - {"self"}
    for name in options:
        if name in ("callbacks", "logger"):
            raise InputError(
                f"{name} cannot be an option of the trainer here. Hand them over beside it, "
                "as callbacks=[...] or loggers=[...]."
            )
        if name not in known:
            raise InputError(
                f"lightning.Trainer has no option {name!r}.{did_you_mean(name, sorted(known))}"
            )


def _check_devices(accelerator: object, devices: object) -> None:
    if accelerator not in ("gpu", "cuda", "mps"):
        return
    cuda, mps = torch.cuda.device_count(), torch.backends.mps.is_available()
    if (accelerator == "mps" and not mps) or (accelerator != "mps" and not cuda):
        if accelerator == "gpu" and mps:
            return
        raise InputError(
            f"accelerator {accelerator!r} needs such a device, and this machine has none that "
            "PyTorch can use. Set trainer=cpu or trainer=auto (in Python: accelerator='auto')."
        )
    wanted = _last_device(devices)
    if accelerator != "mps" and wanted > cuda:
        raise InputError(
            f"{wanted} GPUs are needed for devices={devices}; this machine has {cuda}. "
            f"Set trainer.devices={cuda}."
        )


def _last_device(devices: object) -> int:
    if isinstance(devices, int):
        return devices
    if isinstance(devices, list | tuple) and devices:
        return max(int(device) for device in devices) + 1
    return 0
