"""Checkpoints during training: atomic files, the checkpoint callback, and where a run resumes."""

import contextlib
import copy
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor

from brainnet.data.datamodule import DataModule
from brainnet.errors import InputError, TrainingFailure
from brainnet.files import open_atomic
from brainnet.training.checkpoint_files import (
    BRAINNET_KEY,
    FORMAT_VERSION,
    SCALING_KEY,
    load_checkpoint,
    load_scaling,
    load_weights,
)
from brainnet.training.module import LearningModule
from brainnet.training.run_directory import Run, RunDirectory, to_plain

# Storage option of checkpoints that may be written later: further paths of the same checkpoint.
_DELAYED = "further_paths"

# Share of the run time that delayed writing may take.
_MAX_WRITE_SHARE = 0.02

# Checkpoints with more bytes of weights are written at once: a copy of them and of the optimizer in
# memory would cost more than the time saved.
_MAX_DELAYED_BYTES = 2**24


class RunWriteError(TrainingFailure):
    """A file of the run could not be written."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically, and those of `RunCheckpoint` with a delay.

    For a small network, an epoch takes less time than writing a file. They are therefore copied to
    memory, and written once writing takes less than 2% of the run, or by `flush`.
    """

    def __init__(self) -> None:
        # Called before a file is written, to complete the files that belong to it.
        self.before_write: Callable[[], object] = lambda: None
        self._pending: dict[Path, dict[str, Any]] = {}
        self._next_write = 0.0

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Save a checkpoint; `RunCheckpoint` passes further paths in the storage options."""
        # Remote storage.
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        options = storage_options or {}
        weights = checkpoint.get("state_dict", {}).values()
        is_delayed = (
            _DELAYED in options
            and time.monotonic() < self._next_write
            and sum(weight.nbytes for weight in weights) <= _MAX_DELAYED_BYTES
        )
        if is_delayed:
            # What `RunCheckpoint` adds never changes, and needs no copy.
            checkpoint = {
                key: value if key == BRAINNET_KEY else _copy_state(value)
                for key, value in checkpoint.items()
            }
        self._pending |= dict.fromkeys([*options.get(_DELAYED, ()), Path(path)], checkpoint)
        if not is_delayed:
            self.flush()

    def is_due(self) -> bool:
        """Whether a pending checkpoint should be written now; called at every step."""
        return bool(self._pending) and time.monotonic() >= self._next_write

    def flush(self) -> None:
        """Write all pending checkpoints; raises a RunWriteError, for example on a full disk."""
        if not self._pending:
            return
        start = time.monotonic()
        self.before_write()
        pending, self._pending = self._pending, {}
        try:
            for path, checkpoint in pending.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                with open_atomic(path) as file:
                    _serialize(checkpoint, file)
        except OSError as error:
            folder = f" in {Path(error.filename).parent}" if error.filename else ""
            raise RunWriteError(
                f"the checkpoint{folder} cannot be written: {error.strerror or error}"
            ) from error
        end = time.monotonic()
        self._next_write = end + (end - start) / _MAX_WRITE_SHARE


def _serialize(checkpoint: Mapping[str, Any], file: BinaryIO) -> None:
    """Write a checkpoint to a file without a copy in memory."""
    try:
        torch.save(checkpoint, file)
    except RuntimeError as error:
        # PyTorch closes its archive after a failed write, and raises a RuntimeError that hides it.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def _copy_state(value: Any) -> Any:
    """Copy nested dicts and lists with their tensors to the CPU (10x faster than `tree_map`)."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        # Keeps attributes such as the `_metadata` of a state dict.
        copied = copy.copy(value)
        copied.update({key: _copy_state(part) for key, part in value.items()})
        return copied
    if type(value) in (list, tuple):
        return type(value)(_copy_state(part) for part in value)
    return value


class RunCheckpoint(Checkpoint):
    """Saves `last.ckpt` before the first step and after each epoch, and `best.ckpt`.

    With the state of the random generators, a resumed run is bit-identical to an uninterrupted one.
    Weights that are not finite are never saved.
    """

    def __init__(self, config: Mapping[str, Any], checkpoint_io: AtomicCheckpointIO) -> None:
        self.folder = RunDirectory(Path())
        self.best_loss: float | None = None
        self._config = to_plain(config)
        self._checkpoint_io = checkpoint_io
        self._is_validated = False
        self._resumed_random_state: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the lowest loss so far."""
        return {"best_loss": self.best_loss}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the lowest loss so far."""
        self.best_loss = state_dict["best_loss"]

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the configuration, the scaling of the data and the state of random generators."""
        checkpoint[BRAINNET_KEY] = {
            "format": FORMAT_VERSION,
            "config": self._config,
            "random": get_random_state(),
        }
        data = getattr(trainer, "datamodule", None)
        # Lightning stores this state as well, but under the class name, which a subclass changes.
        if isinstance(data, DataModule):
            checkpoint[BRAINNET_KEY][SCALING_KEY] = data.state_dict()

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the state of the random generators until training starts."""
        self._resumed_random_state = checkpoint[BRAINNET_KEY]["random"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the untrained network, or restore the random generators of a resumed run."""
        if self._resumed_random_state is not None:
            set_random_state(self._resumed_random_state)
        else:
            self._save(trainer, pl_module, "last")
            if trainer.is_global_zero:
                self.folder.set_latest()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that there is a new validation loss."""
        self._is_validated = not trainer.sanity_checking

    def needs_step(self, step: int) -> bool:
        """Whether there is a new validation loss, or a pending checkpoint is due."""
        return self._is_validated or self._checkpoint_io.is_due()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Write what is due, and save the best weights after a validation within an epoch."""
        if self._checkpoint_io.is_due():
            self._checkpoint_io.flush()
        if self._is_validated and self._update_best(trainer):
            self._save(trainer, pl_module, "best")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the last weights, also as the best ones if they are."""
        is_best = self._update_best(trainer)
        self._save(trainer, pl_module, *(["best"] if is_best else []), "last")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write pending checkpoints."""
        self._checkpoint_io.flush()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Write pending checkpoints; they were valid when they were saved."""
        # An error here must not hide the exception that ends the run.
        with contextlib.suppress(RunWriteError):
            self._checkpoint_io.flush()

    def _update_best(self, trainer: Trainer) -> bool:
        """Return whether the current weights have the lowest loss so far, and remember it."""
        stage = "validation" if self._is_validated else "train"
        if stage == "train" and trainer.enable_validation:
            return False
        self._is_validated = False
        # NaN compares as false, so a network without a loss is never the best one.
        loss = float(trainer.callback_metrics.get(f"loss/{stage}", float("nan")))
        is_best = loss < (float("inf") if self.best_loss is None else self.best_loss)
        if is_best:
            self.best_loss = loss
        return is_best

    def _save(self, trainer: Trainer, pl_module: LightningModule, *names: str) -> None:
        weights = [weight for weight in pl_module.parameters() if weight.is_floating_point()]
        if weights and not torch.stack([weight.isfinite().all() for weight in weights]).all():
            raise TrainingFailure(
                f"a weight became infinite or NaN before step {trainer.global_step}"
            )
        paths = [self.folder.checkpoints / f"{name}.ckpt" for name in names]
        if isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
            trainer.save_checkpoint(paths[-1], storage_options={_DELAYED: paths[:-1]})
            return
        # Other strategies do not accept storage options.
        for path in paths:
            trainer.save_checkpoint(path)


@contextmanager
def fork_random_state(seed: int) -> Iterator[None]:
    """Seed the global random generators of Python, NumPy and PyTorch; restore them afterwards."""
    # brainnet itself uses local generators; dropout and modules of the user use the global ones.
    state = get_random_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        set_random_state(state)


def get_random_state() -> dict[str, Any]:
    """Return the state of the global random generators as tensors and plain values."""
    version, internal, gauss = random.getstate()
    numpy_state: Any = np.random.get_state(legacy=True)
    name, keys, position, has_gauss, cached = numpy_state
    # Reading the state would initialize CUDA in a run that does not use it.
    uses_cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
    return {
        "torch": torch.get_rng_state(),
        "cuda": list(torch.cuda.get_rng_state_all()) if uses_cuda else [],
        "python": [version, torch.tensor(internal, dtype=torch.int64), gauss],
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Restore the global random generators from the result of `get_random_state`."""
    torch.set_rng_state(state["torch"].cpu())
    # A run can be resumed on a machine with fewer devices, or none.
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        for device, cuda in enumerate(state["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(cuda.cpu(), device)
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal.tolist()), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))


def load_resume_point(run: Run, module: LearningModule, data: DataModule, trainer: Trainer) -> int:
    """Check that a run can be resumed, restore its curves, and return the first step to log."""
    checkpoint = load_checkpoint(run.last)
    weights, expected = checkpoint["state_dict"], module.state_dict()
    if any(_get_shape(weights, key) != _get_shape(expected, key) for key in {*weights, *expected}):
        # A copy, because the network stays as it is if only some of the weights fit.
        load_weights(copy.deepcopy(module), weights)
    load_scaling(data, checkpoint, unchanged=True)
    try:
        epochs = int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(
            "the checkpoint has no training progress, so it cannot be resumed. Use the "
            "last.ckpt of a run."
        ) from error
    summary, steps = run.folder.read_summary(), int(checkpoint["global_step"])
    is_finished = summary.get("state") == "finished"
    _check_limit("epochs", epochs, trainer.max_epochs, is_finished=is_finished)
    _check_limit("steps", steps, trainer.max_steps, is_finished=is_finished)
    metrics = summary.get("metrics")
    for tag, value in metrics.items() if isinstance(metrics, dict) else ():
        # A value that is not finite is null in a summary.
        if isinstance(value, int | float) and not tag.endswith("/test"):
            module.curves[tag] = float(value)
    # Step 0 is logged again if no step followed it.
    return steps + 1 if steps > 0 else 0


def _get_shape(weights: Mapping[str, Any], key: str) -> object:
    # Extra state of a module is no tensor.
    return getattr(weights[key], "shape", ()) if key in weights else None


def _check_limit(unit: str, done: int, limit: int | None, *, is_finished: bool) -> None:
    """Reject a limit that leaves nothing to do; an interrupted test is only repeated."""
    if limit is not None and 0 <= limit < done + is_finished:
        raise InputError(
            f"the run has already completed {done} {unit}, and trainer.max_{unit} is {limit}. "
            f"To train longer, set trainer.max_{unit}={2 * done}."
        )
