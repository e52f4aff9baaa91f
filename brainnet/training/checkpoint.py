"""Checkpoints during training, and resuming from them."""

import logging
import random
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
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
    FORMAT,
    OURS,
    SCALING,
    check_weights,
    copy_state,
    load_checkpoint,
    load_scaling,
    serialize,
)
from brainnet.training.run_directory import Run, to_plain


@contextmanager
def fork_random_state(seed: int) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's global random numbers, and put them back afterwards.

    Our own parts draw from generators of their own; dropout, and the modules of others, do not.
    """
    before = get_random_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        set_random_state(before)


def get_random_state() -> dict[str, Any]:
    """Return the state of all global random numbers, as tensors and plain values."""
    version, internal, gauss = random.getstate()
    numpy: Any = np.random.get_state(legacy=True)
    kind, keys, position, has_gauss, cached = numpy
    return {
        "torch": torch.get_rng_state(),
        "cuda": _cuda_states(),
        "python": [version, torch.tensor(internal, dtype=torch.int64), gauss],
        "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Put all global random numbers into a state that `random_state` returned."""
    torch.set_rng_state(state["torch"].cpu())
    # A run may go on where there are fewer devices than before, or none.
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        for device, cuda in enumerate(state["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(cuda.cpu(), device)
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal.tolist()), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))


def _cuda_states() -> list[Tensor]:
    # Asking for them would start CUDA in a run that does not use it.
    started = torch.cuda.is_available() and torch.cuda.is_initialized()
    return list(torch.cuda.get_rng_state_all()) if started else []


log = logging.getLogger(__name__)

ALSO = "also"

# Writing may take this share of a run's time; what is not written yet is kept in memory, up to
# this many bytes of it.
_SHARE_OF_TIME = 0.05

_BYTES_IN_MEMORY = 2**28

# After one that could not be written.
_SECONDS_BETWEEN_TRIES = 10.0


class NotStored(TrainingFailure):
    """What was learned could not be written."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints whole or not at all, and brainnet's own not more often than pays.

    An epoch of a small network takes less time than a file, so that a checkpoint which replaces
    one just written waits in memory until writing is due and somebody asks (`write_due`), or until
    `flush`. One that cannot be written, as on a full disk, waits as well, and is tried again: the
    training goes on. Checkpoints of other callbacks are written at once.

    Attributes:
        still: plain parts of all its checkpoints that never change, and so are not copied.
        settle: called before anything is written, to have on disk what a checkpoint goes on from.
    """

    def __init__(self) -> None:
        self.still: tuple[Any, ...] = ()
        self.settle: Callable[[], object] = lambda: None
        self._waiting: dict[Path, dict[str, Any]] = {}
        self._due = 0.0
        self._said = False

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: Any,
        storage_options: Any | None = None,
    ) -> None:
        """Write the checkpoint now; or soon, and to the paths under `ALSO` in the options."""
        if ALSO not in (storage_options or {}):
            if "://" in str(path):  # on another machine
                super().save_checkpoint(checkpoint, path, storage_options)
            else:
                self._save_now(checkpoint, Path(path))
            return
        paths = [*(storage_options or {})[ALSO], Path(path)]
        waiting = self._waiting | dict.fromkeys(paths, checkpoint)
        if time.monotonic() < self._due and self._bytes_of(waiting) < _BYTES_IN_MEMORY:
            self._waiting |= dict.fromkeys(paths, self._copied(checkpoint))
            return
        self._waiting = waiting
        self._due = 0.0
        self.write_due()
        if any(each is checkpoint for each in self._waiting.values()):  # which training goes on in
            kept = self._copied(checkpoint)
            self._waiting |= {
                path: kept for path, each in self._waiting.items() if each is checkpoint
            }

    def _save_now(self, checkpoint: dict[str, Any], path: Path) -> None:
        """Write somebody else's: who asked for it may read it, or send it away, right after."""
        self.settle()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open_atomic(path) as file:
                _save(checkpoint, file)
        except OSError as error:
            raise NotStored(_not_written(error)) from error
        self._waiting.pop(path, None)

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint, written or not."""
        self._waiting.pop(Path(path), None)
        super().remove_checkpoint(path)

    def is_due(self) -> bool:
        """Whether something waits that may be written by now; asked at every step."""
        return bool(self._waiting) and time.monotonic() >= self._due

    def write_due(self) -> None:
        """Write what waits, if that is due; where it cannot be written, it waits on.

        Raises:
            NotStored: it cannot be written, and is too much to be kept.
        """
        if not self.is_due():
            return
        try:
            self.flush()
        except OSError as error:
            self._put_off(error)

    def _put_off(self, error: OSError) -> None:
        """Keep what could not be written, for later."""
        if self._bytes_of(self._waiting) >= _BYTES_IN_MEMORY:
            raise NotStored(_not_written(error)) from error
        self._due = time.monotonic() + _SECONDS_BETWEEN_TRIES
        if not self._said:
            self._said = True
            # A log, not a warning: where warnings are errors, that would raise.
            log.warning("%s; it is kept in memory and tried again.", _not_written(error))

    def _copied(self, checkpoint: dict[str, Any]) -> dict[str, Any]:
        same: dict[str, Any] = copy_state(checkpoint, still=set(map(id, self.still)))
        return same

    def _bytes_of(self, waiting: Mapping[Path, dict[str, Any]]) -> int:
        return serialize(waiting.values(), still=set(map(id, self.still)))

    def finish(self) -> None:
        """Write what waits, for the last time.

        Raises:
            NotStored: it cannot be written.
        """
        try:
            self.flush()
        except OSError as error:
            raise NotStored(_not_written(error)) from error

    def flush(self) -> None:
        """Write what waits.

        Raises:
            OSError: it cannot be written, and waits on.
        """
        start = time.monotonic()
        if self._waiting:
            self.settle()
        written: dict[int, Path] = {}
        for path, checkpoint in list(self._waiting.items()):
            with open_atomic(path) as file:
                if (twin := written.get(id(checkpoint))) is not None:
                    with twin.open("rb") as same:
                        shutil.copyfileobj(same, file)
                else:
                    _save(checkpoint, file)
            written[id(checkpoint)] = path
            del self._waiting[path]
        end = time.monotonic()
        self._due = end + (end - start) / _SHARE_OF_TIME


class Checkpoints(Checkpoint):
    """Keeps `last.ckpt`, from step 0 on and after every epoch, and `best.ckpt`, by validation loss.

    Besides what Lightning stores, a checkpoint holds under "brainnet" the resolved config, how the
    data are scaled, and the state of the random numbers, so that a resumed run goes on to the bit.
    A network whose weights are not finite is never stored.

    Args:
        config: the resolved config of the run.
        store: what the trainer writes checkpoints with.

    Attributes:
        folder: where to; in a process that writes nothing it is never looked at.
    """

    def __init__(self, config: Mapping[str, Any], store: AtomicCheckpointIO) -> None:
        self.folder = Path()
        self.best: dict[str, float] = {}
        self._config = to_plain(config)
        self._store = store
        self._judged = False
        self._resumed: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return what was best so far."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what was best so far."""
        self.best = state_dict["best"]

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add what is ours."""
        checkpoint[OURS] = {"format": FORMAT, "config": self._config, "random": get_random_state()}
        # Lightning stores it too, but under the name of the class, which may be derived from ours.
        data = getattr(trainer, "datamodule", None)
        self._store.still = (self._config,)
        if isinstance(data, DataModule):
            state = checkpoint[OURS][SCALING] = data.state_dict()
            if type(data).state_dict is DataModule.state_dict:  # which always returns this one
                self._store.still += (state,)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Remember the random numbers, to set them when training begins."""
        self._resumed = checkpoint[OURS]["random"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Store the untrained network, or go on with the random numbers of the resumed one."""
        if self._resumed is not None:
            set_random_state(self._resumed)
        else:
            self._save(trainer, pl_module, "last")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that the network was judged; it is stored once the epoch's end is known."""
        self._judged = not trainer.sanity_checking

    def needs_step(self, step: int) -> bool:
        """Whether the weights were judged and are still to be stored, or stored ones are due."""
        return self._judged or self._store.is_due()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Store the best where it was judged in mid-epoch: the weights have not moved since.

        What was stored earlier is written once it is due: the next to be stored may be hours away.
        """
        self._store.write_due()
        if self._judged and self._is_best(trainer):
            self._save(trainer, pl_module, "best")

    def on_validation_batch_start(self, *_: object) -> None:
        """Write what is due: to judge many rows takes long as well."""
        self._store.write_due()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Store the last, and the best."""
        self._save(trainer, pl_module, "last", *(["best"] if self._is_best(trainer) else []))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what waits."""
        self._store.finish()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Write what waits: it was sound when it was stored."""
        try:
            self._store.flush()
        except OSError as error:
            if not isinstance(exception, NotStored):  # which says so itself
                log.warning("%s.", _not_written(error))

    def _is_best(self, trainer: Trainer) -> bool:
        """Whether the network is better than it ever was, which is noted, so that one asks once."""
        stage = "validation" if self._judged else "train"
        if stage == "train" and trainer.enable_validation:
            return False
        self._judged = False
        loss = float(trainer.callback_metrics.get(f"loss/{stage}", float("nan")))
        better = loss < self.best.get("loss", float("inf"))
        if better:
            self.best = {"loss": loss, "step": trainer.global_step}
        return better

    def _save(self, trainer: Trainer, pl_module: LightningModule, name: str, *also: str) -> None:
        if not _is_finite(pl_module):
            raise TrainingFailure(
                f"a weight stopped being a finite number before step {trainer.global_step}"
            )
        paths = [self.folder / f"{each}.ckpt" for each in (*also, name)]
        if isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
            trainer.save_checkpoint(paths[-1], storage_options={ALSO: paths[:-1]})
            return
        for path in paths:  # others write by themselves, and know of no options
            trainer.save_checkpoint(path)


def _not_written(error: OSError) -> str:
    where = f" in {Path(error.filename).parent}" if error.filename else ""
    return f"the checkpoint{where} cannot be written: {error.strerror or error}"


def _save(checkpoint: Mapping[str, Any], file: BinaryIO) -> None:
    """Write it there, and nowhere in between: it may be as large as what memory is left.

    Raises:
        OSError: it cannot be written; PyTorch's own writer would say RuntimeError.
    """
    outlet = _Outlet(file)
    try:
        torch.save(checkpoint, outlet)  # type: ignore[arg-type]  # it asks for no more
    except RuntimeError as error:
        if outlet.error is not None:
            raise outlet.error from error
        raise


class _Outlet:
    """A file that remembers why it took no more: PyTorch's writer fails again at its end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, content: bytes) -> int:
        try:
            return self._file.write(content)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def _is_finite(module: nn.Module) -> bool:
    weights = [weight for weight in module.parameters() if weight.is_floating_point()]
    return not weights or bool(torch.stack([weight.isfinite().all() for weight in weights]).all())


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """A run that is gone on with, and how far it has come.

    Attributes:
        run: its folder, and the checkpoint where one was named.
        steps: optimizer steps taken.
        epochs: gone through to their end.
        tested: whether it came to its end, test and all.
        metrics: the last value of each curve, by tag; none of a test, which is to come.
    """

    run: Run
    steps: int
    epochs: int
    tested: bool
    metrics: dict[str, float]

    @classmethod
    def find(cls, run: Run, module: nn.Module, data: DataModule) -> Self:
        """Read how far a run has come.

        Args:
            run: the run.
            module: what goes on with it, and takes over its weights.
            data: what it goes on to learn from: the run's own.

        Raises:
            InputError: it holds the weights of another network, its data are no longer the same,
                or it cannot be read.
        """
        checkpoint = load_checkpoint(run.last)
        check_weights(module, checkpoint["state_dict"])
        if checkpoint[OURS].get(SCALING):  # the first runs did not tell
            load_scaling(data, checkpoint, unchanged=True)
        summary = run.folder.read_summary()
        return cls(
            run=run,
            steps=int(checkpoint["global_step"]),
            epochs=_epochs(checkpoint),
            tested=summary.get("state") == "finished",
            metrics=_curves(summary.get("metrics")),
        )

    @property
    def first_step(self) -> int:
        """The first step that is not in the curves of the checkpoint yet."""
        # What the untrained network guesses is logged again where nothing was learnt since.
        return self.steps + 1 if self.steps > 0 else 0

    def check(self, trainer: Trainer) -> None:
        """Raise an InputError where nothing is left to do.

        A run that was stopped in its test, or just before, goes straight to the test.
        """
        most = trainer.max_epochs
        if not self.tested:
            if most is not None and 0 <= most < self.epochs:
                raise InputError(_too_far("gone through", self.epochs, most, "epochs"))
            if 0 <= trainer.max_steps < self.steps:
                raise InputError(_too_far("taken", self.steps, trainer.max_steps, "steps"))
            return
        if most is not None and 0 <= most <= self.epochs:
            raise InputError(_nothing_left("gone through", self.epochs, "epochs"))
        if 0 <= trainer.max_steps <= self.steps:
            raise InputError(_nothing_left("taken", self.steps, "steps"))


def _nothing_left(did: str, number: int, what: str) -> str:
    return (
        f"this run has {did} all of its {number} {what}; there is nothing to go on with. "
        f"Set trainer.max_{what}={2 * number} to train it longer."
    )


def _too_far(did: str, number: int, most: int, what: str) -> str:
    return (
        f"this run has {did} {number} {what} already, more than trainer.max_{what}={most}. Leave "
        f"that out, or set trainer.max_{what}={2 * number} to train it longer."
    )


def _epochs(checkpoint: Mapping[str, Any]) -> int:
    try:
        return int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(
            "the checkpoint does not say how far its run has come, so that it cannot be gone on "
            "with. Use the last.ckpt of a run."
        ) from error


def _curves(metrics: object) -> dict[str, float]:
    # One that was not finite stands in a summary as null.
    return {
        tag: float(value)
        for tag, value in (metrics.items() if isinstance(metrics, Mapping) else ())
        if isinstance(value, int | float) and not tag.endswith("/test")
    }
