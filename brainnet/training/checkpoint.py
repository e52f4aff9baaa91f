"""Checkpoints during training: atomic files, the checkpoint callback, and where a run resumes."""

import copy
import logging
import random
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor, nn

from brainnet.data.datamodule import DataModule
from brainnet.errors import InputError, TrainingFailure
from brainnet.files import open_atomic
from brainnet.training.checkpoint_files import (
    BRAINNET_KEY,
    FORMAT_VERSION,
    SCALING_KEY,
    check_weights,
    load_checkpoint,
    load_scaling,
)
from brainnet.training.run_directory import Run, to_plain

_log = logging.getLogger(__name__)

# Storage option of checkpoints that may be written later: further paths of the same checkpoint.
_DELAYED = "further_paths"

# Share of the run time that delayed writing may take.
_MAX_WRITE_SHARE = 0.02

# Pending checkpoints are written at once if they take more memory than this.
_MAX_PENDING_BYTES = 2**28

_RETRY_SECONDS = 10.0


class CheckpointWriteError(TrainingFailure):
    """A checkpoint could not be written."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically, and those of `RunCheckpoint` with a delay.

    For a small network, an epoch takes less time than writing a file. A checkpoint of
    `RunCheckpoint` is therefore copied to memory, and written when the time spent on writing is
    below 2% of the run (`write_due`), or by `flush`. If it cannot be written, for example to a
    full disk, it stays pending and is retried. Checkpoints of other callbacks are written at once.

    Attributes:
        before_write: called before a file is written, to complete the files that belong to it.
    """

    def __init__(self) -> None:
        self.before_write: Callable[[], object] = lambda: None
        self._pending: dict[Path, dict[str, Any]] = {}
        self._next_write = 0.0
        self._has_warned = False

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Save a checkpoint; `RunCheckpoint` passes further paths in the storage options."""
        if _DELAYED in (storage_options or {}):
            self._save_delayed(checkpoint, [*(storage_options or {})[_DELAYED], Path(path)])
        elif "://" in str(path):  # remote storage
            super().save_checkpoint(checkpoint, path, storage_options)
        else:
            self._pending.pop(Path(path), None)
            self._write({Path(path): checkpoint})

    def _save_delayed(self, checkpoint: dict[str, Any], paths: list[Path]) -> None:
        self._pending |= dict.fromkeys(paths, checkpoint)
        if self.is_due() or self._is_too_large():
            self._next_write = 0.0
            self.write_due()
        # Training changes the tensors of a checkpoint that is still pending.
        unwritten = [path for path, pending in self._pending.items() if pending is checkpoint]
        if unwritten:
            self._pending |= dict.fromkeys(unwritten, _copy_checkpoint(checkpoint))

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint, written or pending."""
        self._pending.pop(Path(path), None)
        super().remove_checkpoint(path)

    def is_due(self) -> bool:
        """Whether a pending checkpoint should be written now; called at every step."""
        return bool(self._pending) and time.monotonic() >= self._next_write

    def write_due(self) -> None:
        """Write the pending checkpoints if they are due; if that fails, keep and retry them.

        Raises:
            CheckpointWriteError: they cannot be written and are too large to keep in memory.
        """
        if not self.is_due():
            return
        try:
            self.flush()
        except CheckpointWriteError as error:
            if self._is_too_large():
                raise
            self._next_write = time.monotonic() + _RETRY_SECONDS
            if not self._has_warned:
                self._has_warned = True
                # Logged, because a warning would raise where warnings are errors.
                _log.warning("%s. It is kept in memory, and writing is retried.", error)

    def flush(self) -> None:
        """Write all pending checkpoints.

        Raises:
            CheckpointWriteError: one cannot be written; it stays pending.
        """
        start = time.monotonic()
        self._write(self._pending)
        end = time.monotonic()
        self._next_write = end + (end - start) / _MAX_WRITE_SHARE

    def _write(self, pending: dict[Path, dict[str, Any]]) -> None:
        """Write checkpoints and remove them from the dictionary."""
        if not pending:
            return
        self.before_write()
        written: dict[int, Path] = {}
        try:
            for path, checkpoint in list(pending.items()):
                path.parent.mkdir(parents=True, exist_ok=True)
                with open_atomic(path) as file:
                    if (same := written.get(id(checkpoint))) is not None:
                        with same.open("rb") as source:
                            shutil.copyfileobj(source, file)
                    else:
                        _serialize(checkpoint, file)
                written[id(checkpoint)] = path
                del pending[path]
        except OSError as error:
            folder = f" in {Path(error.filename).parent}" if error.filename else ""
            raise CheckpointWriteError(
                f"the checkpoint{folder} cannot be written: {error.strerror or error}"
            ) from error

    def _is_too_large(self) -> bool:
        distinct = {id(checkpoint): checkpoint for checkpoint in self._pending.values()}
        tensors = _iterate_tensors(distinct.values())
        return sum(tensor.nbytes for tensor in tensors) >= _MAX_PENDING_BYTES


def _serialize(checkpoint: Mapping[str, Any], file: BinaryIO) -> None:
    """Write a checkpoint to a file without a copy in memory.

    Raises:
        OSError: it cannot be written.
    """
    try:
        torch.save(checkpoint, file)
    except RuntimeError as error:
        # PyTorch closes its archive after a failed write, and raises a RuntimeError that hides it.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def _copy_checkpoint(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Copy a checkpoint, except for what `RunCheckpoint` adds, which never changes."""
    added = checkpoint.get(BRAINNET_KEY, {})
    constants = {id(added), id(added.get(SCALING_KEY))}
    return {
        key: value if id(value) in constants else _copy_state(value)
        for key, value in checkpoint.items()
    }


def _copy_state(value: Any) -> Any:
    """Copy nested dicts and lists with their tensors to the CPU (10x faster than `tree_map`)."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        copied = copy.copy(value)  # keeps attributes such as the `_metadata` of a state dict
        copied.update({key: _copy_state(part) for key, part in value.items()})
        return copied
    if type(value) in (list, tuple):
        return type(value)(_copy_state(part) for part in value)
    return value


def _iterate_tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, dict):
            yield from _iterate_tensors(value.values())
        elif isinstance(value, list | tuple):
            yield from _iterate_tensors(value)


class RunCheckpoint(Checkpoint):
    """Saves `last.ckpt` before the first step and after each epoch, and `best.ckpt`.

    The best checkpoint has the lowest validation loss, or training loss if there is no validation.
    Besides what Lightning stores, a checkpoint holds under "brainnet" the resolved configuration,
    the fitted scaling of the data and the state of the random generators, so that a resumed run is
    bit-identical to an uninterrupted one. Weights that are not finite are never saved.

    Args:
        config: resolved configuration of the run.
        checkpoint_io: the trainer's checkpoint plugin.

    Attributes:
        folder: folder of the checkpoints; only used in the first process.
        best_loss: lowest loss so far, None before the first one.
    """

    def __init__(self, config: Mapping[str, Any], checkpoint_io: AtomicCheckpointIO) -> None:
        self.folder = Path()
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
        self._checkpoint_io.write_due()
        if self._is_validated and self._update_best(trainer):
            self._save(trainer, pl_module, "best")

    def on_validation_batch_start(self, *_: object) -> None:
        """Write what is due; a long validation must not delay it."""
        self._checkpoint_io.write_due()

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
        try:
            self._checkpoint_io.flush()
        except CheckpointWriteError as error:
            if not isinstance(exception, CheckpointWriteError):
                _log.warning("%s.", error)

    def _update_best(self, trainer: Trainer) -> bool:
        """Return whether the current weights have the lowest loss so far, and remember it."""
        stage = "validation" if self._is_validated else "train"
        if stage == "train" and trainer.enable_validation:
            return False
        self._is_validated = False
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
        paths = [self.folder / f"{name}.ckpt" for name in names]
        if isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
            trainer.save_checkpoint(paths[-1], storage_options={_DELAYED: paths[:-1]})
            return
        for path in paths:  # other strategies do not accept storage options
            trainer.save_checkpoint(path)


@contextmanager
def fork_random_state(seed: int) -> Iterator[None]:
    """Seed the global random generators of Python, NumPy and PyTorch, and restore them afterwards.

    brainnet itself uses local generators; dropout and modules of the user use the global ones.
    """
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


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """The state of a run that is resumed.

    Attributes:
        steps: optimizer steps taken.
        epochs: completed epochs.
        is_finished: whether the run was trained and tested completely.
        metrics: last value of each training and validation curve, by tag.
    """

    steps: int
    epochs: int
    is_finished: bool
    metrics: dict[str, float]

    @classmethod
    def load(cls, run: Run, module: nn.Module, data: DataModule) -> Self:
        """Read the state of a run, and check that module and data are those of the run.

        Raises:
            InputError: the weights or data are different, or the run cannot be read.
        """
        checkpoint = load_checkpoint(run.last)
        check_weights(module, checkpoint["state_dict"])
        load_scaling(data, checkpoint, unchanged=True)
        try:
            progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]
            epochs = int(progress["current"]["processed"])
        except (LookupError, TypeError, ValueError) as error:
            raise InputError(
                "the checkpoint has no training progress, so it cannot be resumed. Use the "
                "last.ckpt of a run."
            ) from error
        summary = run.folder.read_summary()
        metrics = summary.get("metrics")
        return cls(
            steps=int(checkpoint["global_step"]),
            epochs=epochs,
            is_finished=summary.get("state") == "finished",
            metrics={
                tag: float(value)
                for tag, value in (metrics.items() if isinstance(metrics, dict) else ())
                # A value that is not finite is null in a summary.
                if isinstance(value, int | float) and not tag.endswith("/test")
            },
        )

    @property
    def first_step(self) -> int:
        """First step that is logged after resuming; step 0 is logged again if nothing followed."""
        return self.steps + 1 if self.steps > 0 else 0

    def check(self, trainer: Trainer) -> None:
        """Check that the limits of the trainer leave something to do.

        A run that was interrupted in its test, or just before, is only tested.

        Raises:
            InputError: the run has already reached or passed the limit.
        """
        limits = (
            ("epochs", self.epochs, trainer.max_epochs),
            ("steps", self.steps, trainer.max_steps),
        )
        for unit, done, limit in limits:
            if limit is None or limit < 0:
                continue
            longer = f"set trainer.max_{unit}={2 * done}"
            if self.is_finished and limit <= done:
                raise InputError(
                    f"the run has already finished all {done} {unit}. To train longer, {longer}."
                )
            if limit < done:
                raise InputError(
                    f"the run has already completed {done} {unit}, more than "
                    f"trainer.max_{unit}={limit}. Leave that out, or {longer} to train longer."
                )
