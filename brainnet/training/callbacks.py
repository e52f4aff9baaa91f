"""Observe: a Lightning callback that records readings of any LightningModule."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.optim import Optimizer

from brainnet.errors import InputError
from brainnet.learning.gradient_descent import OPTIMIZERS
from brainnet.learning.loss import LOSSES
from brainnet.observation.capabilities import (
    MODE_INVARIANT_TYPES,
    is_sharded,
    list_parameters,
)
from brainnet.observation.probe import isolated_eval
from brainnet.observation.reading import Reading
from brainnet.observation.recording import Recording, measure_length_before, read_recording
from brainnet.observation.schedule import Every, check_interval
from brainnet.observation.session import ObservationSession
from brainnet.observation.tags import Level
from brainnet.observation.tensorboard import TensorBoardWriter, write_introduction
from brainnet.observation.watch import get_gradient_scale, modifies_gradients
from brainnet.training.checkpoint import AtomicCheckpointIO
from brainnet.training.loggers import RunLogger
from brainnet.training.module import LearningModule


class Observe(Callback):
    """Records readings of each layer at the steps that are due, and writes them to TensorBoard.

    Steps 0, 1, 2, 5, 10, 20 … are observed, then every `every`-th. On other steps the model has
    no hooks, and nothing waits for the device. The results of the training do not change, and no
    random numbers are drawn. If observation fails, this is logged once, and training continues.
    Gradients are read before clipping. In distributed training, process 0 observes its rows.

    `light` records for each layer the norms of weights, biases and gradients, the update ratio,
    firing rate, silent and saturated shares, the share of the blame, and histograms of weights,
    biases, gradients and outputs. `full` adds histograms of sums, deltas, bias gradients and
    updates, and the cosine with the previous gradient. Not observed are the activations of compiled
    parts, parameters sharded over devices (FSDP), and the actual decrease of the loss of other
    modules than `LearningModule`.

    Args:
        every: steps between two observations. "auto" keeps their cost within 3% of the training
            time; the observed steps then vary between runs.
        level: how much to record, "light" or "full".
        folder: where to write; by default the folder of the trainer's TensorBoard logger, else of
            its first logger, else its `default_root_dir`.

    Example:
        >>> trainer = Trainer(callbacks=[Observe(every=100)], logger=False, accelerator="cpu")
    """

    works_in_fast_loop = True

    def __init__(
        self, every: Every = 50, level: Level = "light", folder: Path | str | None = None
    ) -> None:
        if level not in get_args(Level):
            raise InputError(
                f"observe must be {', '.join(get_args(Level))} or off; got {level!r}. "
                "Set observe=light."
            )
        self.every = check_interval(every, "observe.every")
        self.level: Level = level
        self.folder = None if folder is None else Path(folder)
        self._loaded_state: Mapping[str, Any] = {}
        self._is_settled_by_checkpoints = False
        self._first_step = 0  # the step that is being observed
        self._batches: list[Any] = []
        self._is_exact = False  # whether evaluation mode would give the same loss
        self._session = ObservationSession("Observe", self.every, level)
        self._session.is_active = False

    @property
    def readings(self) -> list[Reading]:
        """The readings of the last training; complete at its end."""
        return self._session.readings

    def settle(self) -> None:
        """Write all readings so far to disk."""
        if self._session.writer is not None:
            self._session.writer.wait()

    def state_dict(self) -> dict[str, Any]:
        """Return the gradients that the next reading is compared with."""
        if not self._is_settled_by_checkpoints:
            self.settle()
        directions = {name: value.cpu() for name, value in self._session.directions.items()}
        return {"directions": directions} if directions else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from the last reading before a checkpoint."""
        self._loaded_state = state_dict

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the files, and write the graph, the layout and the explanations."""
        directions = self._loaded_state.get("directions", {})
        session = ObservationSession("Observe", self.every, self.level, directions)
        self._session, self._loaded_state = session, {}
        session.is_active = trainer.is_global_zero
        with session.stop_on_error():
            if is_sharded(pl_module) and session.is_active:
                session.is_active = False
                session.report("the parameters are sharded over devices; nothing is observed.")
            outermost = trainer.strategy.model
            is_observed = session.is_active and session.check_model(pl_module, outermost)
            # `fast_dev_run` writes no files.
            if is_observed and not getattr(trainer, "fast_dev_run", False):
                self._open_writer(trainer, pl_module)

    def _open_writer(self, trainer: Trainer, module: LightningModule) -> None:
        session, writer = self._session, find_writer(trainer, self.folder)
        if trainer.global_step == 0:
            loss, task = "loss", None
            if isinstance(module, LearningModule):
                loss, task = type(module.loss).__name__, module.task
            optimizer = type(trainer.optimizers[0]).__name__ if trainer.optimizers else "optimizer"
            write_introduction(writer, module, loss=loss, optimizer=optimizer, task=task)
        recording = None
        try:
            length = measure_length_before(writer.folder, trainer.global_step)
            recording = Recording(writer.folder, length=length)
            session.readings += read_recording(writer.folder)
        except (InputError, OSError) as error:
            session.report(f"readings are not recorded: {error}")
        checkpoint_io = trainer.strategy.checkpoint_io
        self._is_settled_by_checkpoints = isinstance(checkpoint_io, AtomicCheckpointIO)
        # It may write a checkpoint long after its state was collected.
        if isinstance(checkpoint_io, AtomicCheckpointIO):
            checkpoint_io.before_write = self.settle
        session.open_writer(recording, writer, with_loss=False)

    def needs_step(self, step: int) -> bool:
        """Return whether a step is due or being observed."""
        return self._session.needs_step(step)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Register the hooks if the step that begins is due."""
        session, step = self._session, trainer.global_step
        if not session.needs_step(step):
            return
        with session.stop_on_error():
            if session.observer is None:
                session.start_step(pl_module)
                self._first_step, self._batches = step, []
            self._batches.append(batch)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Read the accumulated gradients, which are unscaled and not clipped yet."""
        observer = self._session.observer
        if observer is None:
            return
        with self._session.stop_on_error():
            if observer.learning_rate is None:
                observer.learning_rate = float(optimizer.param_groups[0]["lr"])
                is_single = len(self._batches) == 1
                self._is_exact = is_single and self._has_exact_loss(pl_module, optimizer)
                # The outputs of a captured network would overwrite memory that gradients need.
                reuses_memory = getattr(pl_module, "reuses_output_memory", False)
                if not self._is_exact and not reuses_memory:
                    observer.loss_before = self._compute_loss(trainer, pl_module)
            scaler = getattr(trainer.precision_plugin, "scaler", None)
            observer.measure_gradients(
                list_parameters(optimizer),
                scale=get_gradient_scale(scaler, pl_module.device),
                # Clipping comes next, and manual optimization may do anything.
                keep_gradients=bool(trainer.gradient_clip_val)
                or not pl_module.automatic_optimization
                or modifies_gradients(optimizer),
            )

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: object,
        batch_idx: int,
    ) -> None:
        """After the optimizer step, remove the hooks and submit the reading."""
        session, observer = self._session, self._session.observer
        if observer is None:
            return
        with session.stop_on_error():
            loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
            if isinstance(loss, Tensor) and loss.numel() == 1:
                # Lightning has divided it by the number of accumulated batches.
                total = observer.loss
                observer.loss = loss.detach() if total is None else total + loss.detach()
            if trainer.global_step == self._first_step:
                return
            observer.measure_changes()
            observer.close()  # the evaluation is faster without hooks
            loss_after = None
            if self._is_exact:
                observer.loss_before = observer.loss
            if observer.loss_before is not None:
                loss_after = self._compute_loss(trainer, pl_module)
            epoch = trainer.current_epoch
            session.add_reading(observer.finish(self._first_step, epoch, loss_after=loss_after))

    def _compute_loss(self, trainer: Trainer, module: LightningModule) -> Tensor | None:
        """Loss of the observed batches in evaluation mode.

        None for other modules than `LearningModule`, whose `training_step` may do more.
        """
        if not isinstance(module, LearningModule):
            return None
        network, criterion = module.network, module.loss
        # The losses of brainnet do not depend on the mode.
        evaluated = [network] if type(criterion) in LOSSES.values() else [network, criterion]
        with isolated_eval(*evaluated), trainer.precision_plugin.forward_context():
            losses = [criterion(network(inputs), targets) for inputs, targets in self._batches]
        return losses[0] if len(losses) == 1 else torch.stack(losses).mean()

    def _has_exact_loss(self, module: LightningModule, optimizer: Optimizer) -> bool:
        """Whether the loss of the step is the one that `_compute_loss` would return."""
        return (
            # A derived class may add a penalty; other optimizers may evaluate a batch repeatedly.
            type(module) is LearningModule
            and type(optimizer) in OPTIMIZERS.values()
            and type(module.loss) in LOSSES.values()
            and all(type(part) in MODE_INVARIANT_TYPES for part in module.network.modules())
        )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the remaining readings."""
        self._session.close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Remove the hooks and write the remaining readings."""
        self._session.close()


def find_writer(trainer: Trainer, folder: Path | None) -> TensorBoardWriter:
    """Create a writer for `folder`, or for the run and the file of the trainer's logger."""
    if folder is not None:
        return TensorBoardWriter(folder)
    for logger in trainer.loggers:
        if isinstance(logger, RunLogger):
            return TensorBoardWriter(logger.log_dir, file=logger.file)
        if isinstance(logger, TensorBoardLogger):
            return TensorBoardWriter(logger.log_dir, file=logger.experiment.file_writer)
    folders = [path for logger in trainer.loggers if (path := getattr(logger, "log_dir", None))]
    return TensorBoardWriter(folders[0] if folders else trainer.default_root_dir)
