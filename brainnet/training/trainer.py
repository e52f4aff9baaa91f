"""Trainer: how Lightning's trainer is created; threads, compilation, warnings and signals."""

import inspect
import logging
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Self

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.profilers import AdvancedProfiler, Profiler, SimpleProfiler
from torch import nn

from brainnet.data.datamodule import DataModule
from brainnet.errors import InputError, did_you_mean
from brainnet.observation.probe import isolated_eval
from brainnet.training.checkpoint import AtomicCheckpointIO
from brainnet.training.module import LearningModule

Compile = bool | Literal["graph"]
"""Whether to compile a network; "graph" captures CUDA graphs as well."""

# Multiplications per batch below which a step takes about a millisecond. On a busy machine with two
# cores, two threads took 5 to 15 times as long as one for such a step.
_MAX_SINGLE_THREAD_PRODUCTS = 2**22

_DEFAULT_OPTIONS = {
    "logger": False,
    "enable_checkpointing": True,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}

# Lightning's advice that does not apply: batches come from memory, not from a DataLoader.
_IRRELEVANT_WARNINGS = (
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
)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

# In a distributed run, asking the other processes costs a message.
_BATCHES_BETWEEN_CHECKS = 10


def choose_threads(network: nn.Module, batch_size: int, device: torch.device) -> int:
    """Return 1 for a small network on the CPU, else the current number of threads."""
    products = batch_size * sum(weight.numel() for weight in network.parameters())
    is_small = device.type == "cpu" and products < _MAX_SINGLE_THREAD_PRODUCTS
    return 1 if is_small else torch.get_num_threads()


def compile_network(
    module: LearningModule, data: DataModule, trainer: Trainer, mode: Compile
) -> None:
    """Compile the network of a module in place, and run it once on the trainer's device."""
    network, device = module.network, trainer.strategy.root_device
    batches = trainer.accumulate_grad_batches
    # A captured graph overwrites the gradients of the previous batch.
    if mode == "graph" and (device.type != "cuda" or batches > 1):
        raise InputError(
            "trainer.compile=graph needs a CUDA device and trainer.accumulate_grad_batches=1; got "
            f"{device.type} and {batches}. Set trainer.compile=true."
        )
    module.reuses_output_memory = mode == "graph"
    network.to(device)
    network.compile(mode="reduce-overhead" if mode == "graph" else None)
    # Run here, so that a missing compiler is reported before anything is written.
    rows = data.take("train", data.batch_size)[0].to(next(network.parameters()))
    try:
        with isolated_eval(network):
            network(rows)
    # The base class of the errors of all compilers.
    except RuntimeError as error:
        # The first line of the error names the compiler, the second the problem.
        reason = " ".join(line.strip() for line in str(error).splitlines()[:2])
        raise InputError(
            f"{type(network).__name__} cannot be compiled here: {reason} On a CPU, torch.compile "
            "needs a C++ compiler. Set trainer.compile=false."
        ) from error


def build_profiler(kind: str, folder: Path) -> Profiler:
    """Create Lightning's "simple" or "advanced" profiler that writes to a file of the folder."""
    profiler = SimpleProfiler if kind == "simple" else AdvancedProfiler
    return profiler(dirpath=folder, filename="profile")


def make_trainer(
    options: Mapping[str, Any], callbacks: Sequence[Callback], checkpoint_io: AtomicCheckpointIO
) -> Trainer:
    """Create a `lightning.Trainer` without loggers; nothing is written."""
    known = set(inspect.signature(Trainer.__init__).parameters) - {"self", "callbacks", "logger"}
    # Lightning would raise a TypeError without a suggestion.
    for name in options:
        if name not in known:
            suggestion = did_you_mean(name, [*sorted(known), "loggers"])
            raise InputError(
                f"lightning.Trainer has no option {name!r} here.{suggestion} Callbacks and loggers "
                "are passed as callbacks=[...] and loggers=[...]."
            )
    options = {**_DEFAULT_OPTIONS, **options, "callbacks": [*callbacks]}
    plugins = options.pop("plugins", None) or []
    plugins = [*plugins] if isinstance(plugins, list | tuple) else [plugins]
    try:
        trainer = Trainer(**options, plugins=[*plugins, checkpoint_io])
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise InputError(
            f"the trainer cannot be set up: {error} Set trainer=auto (in Python: "
            "accelerator='auto') to use the devices of this machine."
        ) from error
    # Lightning accepts 0 and returns without training.
    if 0 in (trainer.max_epochs, trainer.max_steps):
        raise InputError(
            "trainer.max_epochs and trainer.max_steps must be 1 or more, or -1 for no limit; got 0."
        )
    return trainer


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's messages about itself, but not its warnings and errors that matter."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in _IRRELEVANT_WARNINGS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class Interrupted(Exception):
    """A signal stopped the training."""


class SignalHandler(Callback):
    """Stops training after the current batch at the first signal, and exits at the second one.

    As a context manager, it restores the previous handlers.
    """

    # Lightning's own handling of Ctrl-C ignores further signals and exits with 1.

    def __init__(self) -> None:
        self.signal: int | None = None
        # Called just before the second signal ends the process.
        self.on_exit: Callable[[int], object] | None = None
        self._checks = 0
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Install the handlers, except outside the main thread, where Python allows none."""
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.getsignal(number) for number in _SIGNALS}
            self._install()
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the previous handlers."""
        for number, handler in self._previous.items():
            # None: a handler that was not installed from Python cannot be restored.
            if handler is not None:
                signal.signal(number, handler)
        self._previous = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace the handlers that Lightning has installed."""
        self._install()
        self._check(trainer)

    on_test_start = on_train_start

    def needs_step(self, step: int) -> bool:
        """Whether a signal was received."""
        return self.signal is not None

    def on_train_batch_end(self, trainer: Trainer, *_: object, **__: object) -> None:
        """Stop if a signal was received."""
        self._check(trainer)

    on_validation_batch_end = on_test_batch_end = on_train_batch_end

    def _install(self) -> None:
        for number in self._previous:
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal = number
            return
        if self.on_exit is not None:
            # On a full disk, the process must still end.
            with suppress(Exception):
                self.on_exit(number)
        # Not sys.exit: the process may be stuck in a call that swallows exceptions.
        os._exit(128 + number)

    def _check(self, trainer: Trainer) -> None:
        is_stopped = self.signal is not None
        if trainer.world_size > 1:
            # A process that stopped alone would leave the others waiting.
            self._checks += 1
            if self._checks % _BATCHES_BETWEEN_CHECKS:
                return
            is_stopped = trainer.strategy.reduce_boolean_decision(is_stopped, all=False)
        if is_stopped:
            raise Interrupted("stopped by a signal")
