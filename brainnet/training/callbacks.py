"""Observe: a Lightning callback that records readings of any LightningModule."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.optim import Optimizer

from brainnet.errors import InputError
from brainnet.learning.gradient_descent import OPTIMIZERS
from brainnet.learning.loss import LOSSES
from brainnet.observation.background_writer import BackgroundWriter
from brainnet.observation.capabilities import (
    MODE_INVARIANT_TYPES,
    ObservedModel,
    describe_missing_activations,
    find_obstacles,
    is_sharded,
    iterate_modules,
    list_parameters,
)
from brainnet.observation.probe import isolated_eval
from brainnet.observation.reading import Reading
from brainnet.observation.recording import Recording, measure_length_before, read_recording
from brainnet.observation.schedule import AdaptiveInterval, Every, check_interval, is_due
from brainnet.observation.step_observer import StepObserver
from brainnet.observation.tags import Level
from brainnet.observation.tensorboard import TensorBoardWriter, write_introduction
from brainnet.observation.watch import get_gradient_scale, modifies_gradients
from brainnet.training.checkpoint import AtomicCheckpointIO
from brainnet.training.loggers import RunLogger
from brainnet.training.module import LearningModule

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Observation:
    """One observed step: its observer, and what only the training loop knows."""

    observer: StepObserver
    step: int
    epoch: int
    batches: list[Any] = field(default_factory=list)
    loss: Tensor | None = None
    loss_before: Tensor | None = None
    is_exact: bool = False  # whether evaluation mode would give the same loss
    learning_rate: float | None = None


class Observe(Callback):
    """Records readings of each layer at the steps that are due, and writes them to TensorBoard.

    Steps 0, 1, 2, 5, 10, 20 … are observed, then every `every`-th. On other steps the model has
    no hooks, and nothing waits for the device. The results of the training do not change, and no
    random numbers are drawn. If observation fails, this is logged once, and training continues.
    Gradient accumulation (one reading per optimizer step), clipping (gradients are read before
    it), mixed precision, frozen and unused parameters and several optimizers are supported. In
    distributed training, process 0 observes its share of the batch.

    `light` records for each layer the norms of weights, biases and gradients, the update ratio,
    firing rate, silent and saturated shares, the share of the blame, and histograms of weights,
    biases, gradients and outputs. `full` adds histograms of sums, deltas, bias gradients and
    updates, and the cosine with the previous gradient.

    A background thread writes the readings to TensorBoard and to `readings.bin`. A resumed
    training continues that file from its checkpoint.

    Not observed are the activations of compiled parts, saturation of activations without a slope
    per neuron, and the actual decrease of the loss of other modules than `LearningModule`. With
    parameters sharded over devices (FSDP), nothing is observed.

    Args:
        every: steps between two observations. "auto" keeps their cost within 3% of the training
            time; the observed steps then vary between runs.
        level: how much to record, "light" or "full".
        folder: where to write; by default the folder of the trainer's TensorBoard logger, else of
            its first logger, else its `default_root_dir`.

    Attributes:
        readings: the readings of the last training; complete at its end.

    Raises:
        InputError: if `every` or `level` is invalid.

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
        self.readings: list[Reading] = []
        self._writer: BackgroundWriter | None = None
        self._loaded_state: Mapping[str, Any] = {}
        self._is_settled_by_checkpoints = self._is_active = False
        self._reset({})

    def _reset(self, directions: Mapping[str, Tensor]) -> None:
        self._interval = AdaptiveInterval(self.every)
        self._started_step = self._observed_step = -1
        self._directions = directions
        self._has_reported_activations = False
        self._observation: _Observation | None = None
        self._observed_model: ObservedModel | None = None
        self._probed: list[nn.Module] = []  # what is evaluated again after an observed step
        self._probe_parts: list[nn.Module] = []  # all their modules

    def settle(self) -> None:
        """Write all readings so far to disk."""
        if self._writer is not None:
            self._writer.wait()

    def state_dict(self) -> dict[str, Any]:
        """Return the gradients that the next reading is compared with."""
        if not self._is_settled_by_checkpoints:
            self.settle()
        directions = {name: direction.cpu() for name, direction in self._directions.items()}
        return {"directions": directions} if directions else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from the last reading before a checkpoint."""
        self._loaded_state = state_dict

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the files, and write the graph, the layout and the explanations."""
        self.readings = []
        self._reset(self._loaded_state.get("directions", {}))
        self._loaded_state = {}
        self._is_active = trainer.is_global_zero
        with self._stop_on_error():
            # `fast_dev_run` writes no files.
            is_dry_run = bool(getattr(trainer, "fast_dev_run", False))
            if not self._is_active or not self._check_model(trainer, pl_module) or is_dry_run:
                return
            writer = find_writer(trainer, self.folder)
            step = trainer.global_step
            if step == 0:
                _introduce(writer, trainer, pl_module)
            recording = None
            try:
                length = measure_length_before(writer.folder, step)
                recording = Recording(writer.folder, length=length)
                self.readings += read_recording(writer.folder)
            except (InputError, OSError) as error:
                _report(f"readings are not recorded: {error}")
            checkpoint_io = trainer.strategy.checkpoint_io
            self._is_settled_by_checkpoints = isinstance(checkpoint_io, AtomicCheckpointIO)
            # It may write a checkpoint long after its state was collected.
            if isinstance(checkpoint_io, AtomicCheckpointIO):
                checkpoint_io.before_write = self.settle
            self._writer = BackgroundWriter(self.readings, recording, writer, report=_report)

    def needs_step(self, step: int) -> bool:
        """Return whether a step is due or being observed."""
        return self._is_active and (self._observation is not None or self._is_due(step))

    def _is_due(self, step: int) -> bool:
        if self.every != "auto":
            return is_due(step, self.every)
        # A step may be asked for several times.
        if step != self._started_step:
            was_observed = self._started_step == self._observed_step
            seconds = self._writer.take_seconds() if was_observed and self._writer else ()
            self._interval.record_step(observed=was_observed, background_seconds=seconds)
            self._started_step = step
        return self._interval.is_due(step)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Register the hooks if the step that begins is due."""
        step = trainer.global_step
        if not self.needs_step(step):
            return
        with self._stop_on_error():
            if self._observation is None:
                observer = StepObserver(
                    pl_module,
                    level=self.level,
                    previous=self._directions,
                    observed_model=self._inspect(pl_module),
                )
                self._observation = _Observation(observer, step, trainer.current_epoch)
            self._observation.batches.append(batch)

    def _inspect(self, module: LightningModule) -> ObservedModel:
        """Inspect the model, only if it has changed since the last time."""
        if self._observed_model is None or not self._observed_model.is_current():
            self._observed_model = ObservedModel(module)
            if isinstance(module, LearningModule):
                # The losses of brainnet do not depend on the mode.
                is_own_loss = type(module.loss) in LOSSES.values()
                self._probed = [module.network] if is_own_loss else [module.network, module.loss]
                self._probe_parts = [
                    part for root in self._probed for part in iterate_modules(root)
                ]
        return self._observed_model

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Read the accumulated gradients, which are unscaled and not clipped yet."""
        observation = self._observation
        if observation is None:
            return
        with self._stop_on_error():
            if observation.learning_rate is None:
                observation.learning_rate = float(optimizer.param_groups[0]["lr"])
                observation.is_exact = len(observation.batches) == 1 and self._has_exact_loss(
                    pl_module, optimizer
                )
                # The outputs of a captured network would overwrite memory that gradients need.
                if not observation.is_exact and not getattr(
                    pl_module, "reuses_output_memory", False
                ):
                    observation.loss_before = self._compute_loss(trainer, pl_module)
            scaler = getattr(trainer.precision_plugin, "scaler", None)
            observation.observer.before_update(
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
        observation = self._observation
        if observation is None:
            return
        with self._stop_on_error():
            loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
            if isinstance(loss, Tensor) and loss.numel() == 1:
                # Lightning has divided it by the number of accumulated batches.
                total = observation.loss
                observation.loss = loss.detach() if total is None else total + loss.detach()
            if trainer.global_step == observation.step:
                return
            self._finish_observation(observation, trainer, pl_module)

    def _finish_observation(
        self, observation: _Observation, trainer: Trainer, module: LightningModule
    ) -> None:
        observer = observation.observer
        observer.after_update()
        observer.close()  # the evaluation is faster without hooks
        before = observation.loss if observation.is_exact else observation.loss_before
        pending = observer.finish(
            observation.step,
            observation.epoch,
            learning_rate=observation.learning_rate,
            loss=observation.loss,
            before=before,
            after=None if before is None else self._compute_loss(trainer, module),
        )
        self._observation = None
        self._observed_step = observation.step
        self._directions = observer.directions
        if observer.layers_without_activation and not self._has_reported_activations:
            self._has_reported_activations = True
            _report(describe_missing_activations(observer.layers_without_activation))
        if self._writer is None:
            self.readings.append(pending.resolve().reading)
        else:
            self._writer.add_reading(pending)

    def _compute_loss(self, trainer: Trainer, module: LightningModule) -> Tensor | None:
        """Compute the loss of the observed batches in evaluation mode.

        Returns:
            None for other modules than `LearningModule`, whose `training_step` may do more.
        """
        if not isinstance(module, LearningModule) or self._observation is None:
            return None
        network, criterion = module.network, module.loss
        with (
            isolated_eval(*self._probed, parts=self._probe_parts),
            trainer.precision_plugin.forward_context(),
        ):
            losses = [
                criterion(network(inputs), targets) for inputs, targets in self._observation.batches
            ]
        return losses[0] if len(losses) == 1 else torch.stack(losses).mean()

    def _has_exact_loss(self, module: LightningModule, optimizer: Optimizer) -> bool:
        """Whether the loss of the step is the one that `_compute_loss` would return."""
        return (
            # A derived class may add a penalty; other optimizers may evaluate a batch repeatedly.
            type(module) is LearningModule
            and type(optimizer) in OPTIMIZERS.values()
            and type(module.loss) in LOSSES.values()
            and all(type(part) in MODE_INVARIANT_TYPES for part in self._probe_parts)
        )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the remaining readings."""
        with self._stop_on_error():
            self._close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Remove the hooks and write the remaining readings."""
        with self._stop_on_error():
            self._close()

    def _check_model(self, trainer: Trainer, module: LightningModule) -> bool:
        """Report what cannot be observed, and return whether anything can."""
        if is_sharded(module):
            reason: str | None = "the parameters are sharded over devices; nothing is observed."
        else:
            reason = find_obstacles(trainer.strategy.model or module)
        if reason is not None:
            _report(reason)
            self._is_active = False
        elif self._inspect(module).is_compiled():
            _report("the model is compiled: weights and gradients are observed, outputs are not.")
        return self._is_active

    @contextmanager
    def _stop_on_error(self) -> Iterator[None]:
        """Stop observing after an exception instead of ending the training."""
        try:
            yield
        except Exception as error:
            _report(f"observation stopped: {type(error).__name__}: {error}")
            _log.debug("Observe: observation stopped", exc_info=True)
            self._cancel()

    def _cancel(self) -> None:
        observation, self._observation, self._is_active = self._observation, None, False
        if observation is not None:
            observation.observer.close()

    def _close(self) -> None:
        self._cancel()
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()


def _report(message: str) -> None:
    # Not a Python warning, which would raise if warnings are errors.
    _log.warning("Observe: %s", message)


def _introduce(writer: TensorBoardWriter, trainer: Trainer, module: LightningModule) -> None:
    loss, task = "loss", None
    if isinstance(module, LearningModule):
        loss, task = type(module.loss).__name__, module.task
    optimizer = type(trainer.optimizers[0]).__name__ if trainer.optimizers else "optimizer"
    write_introduction(writer, module, loss=loss, optimizer=optimizer, task=task)


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
