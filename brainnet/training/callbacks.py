"""Observe: a Lightning callback that records readings of any LightningModule."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from torch import Tensor
from torch.optim import Optimizer

from brainnet.errors import InputError
from brainnet.learning.gradient_descent import OPTIMIZERS
from brainnet.learning.loss import LOSSES
from brainnet.observation.background_writer import BackgroundWriter
from brainnet.observation.capabilities import (
    STEADY_TYPES,
    find_layers_without_output,
    find_obstacles,
    is_compiled,
    is_flattened,
    is_sharded,
    list_modules,
)
from brainnet.observation.pending_reading import PendingReading
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


class TrainingObservation:
    """One look as it happens: what the hooks observe, and what only the training loop knows.

    Args:
        observed: the step, listened to from now on.
        step: optimizer steps taken before it.
        epoch: passes over the training rows completed.

    Attributes:
        batches: those whose gradients add up to the step.
    """

    def __init__(self, observed: StepObserver, step: int, epoch: int) -> None:
        self.observed = observed
        self.step = step
        self.epoch = epoch
        self.batches: list[object] = []
        self.loss: Tensor | None = None
        self.loss_before: Tensor | None = None
        self.steady = False  # whether the loss of the step is already that of evaluation
        self.learning_rate: float | None = None

    def before_update(
        self, trainer: Trainer, module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Read the gradients, the learning rate and, where it can be told, the loss once more."""
        if self.learning_rate is None:
            self.learning_rate = float(optimizer.param_groups[0]["lr"])
            self.steady = len(self.batches) == 1 and _is_steady(module, optimizer)
            # A captured network would give its answer in the memory of the gradients.
            if not self.steady and not getattr(module, "reuses_output_memory", False):
                self.loss_before = loss_of(trainer, module, self.batches)
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        self.observed.before_update(
            [parameter for group in optimizer.param_groups for parameter in group["params"]],
            scale=get_gradient_scale(scaler, module.device),
            # Clipping comes after this, and in manual optimization whatever their step does.
            keep_gradients=bool(trainer.gradient_clip_val)
            or not module.automatic_optimization
            or modifies_gradients(optimizer),
        )

    def add_loss(self, outputs: Tensor | Mapping[str, Any] | None) -> None:
        """Add the loss of one batch; Lightning has divided it by the batches of the step."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor) and loss.numel() == 1:
            loss = loss.detach()
            self.loss = loss if self.loss is None else self.loss + loss

    def finish(self, trainer: Trainer, module: LightningModule) -> PendingReading:
        """Bring home what was seen."""
        self.observed.after_update()
        self.observed.close()  # before the network is asked again, so that it takes less time
        if self.steady:
            self.loss_before = self.loss
        after = None if self.loss_before is None else loss_of(trainer, module, self.batches)
        return self.observed.finish(
            self.step,
            self.epoch,
            learning_rate=self.learning_rate,
            loss=self.loss,
            before=self.loss_before,
            after=after,
        )


def loss_of(trainer: Trainer, module: LightningModule, batches: list[Any]) -> Tensor | None:
    """The loss of some batches as the network stands, in evaluation mode and without a trace.

    Returns:
        None for a module that is not brainnet's own: its `training_step` may do more than judge.
    """
    if not isinstance(module, LearningModule) or not batches:
        return None
    with isolated_eval(module.network, module.loss), trainer.precision_plugin.forward_context():
        losses = [module.loss(module.network(inputs), targets) for inputs, targets in batches]
    return losses[0] if len(losses) == 1 else torch.stack(losses).mean()


def _is_steady(module: LightningModule, optimizer: Optimizer) -> bool:
    """Whether a step's own loss is what evaluation would say of the same batch before it."""
    return (
        type(module) is LearningModule  # a derived one may judge by more than the bare loss
        and type(optimizer) in OPTIMIZERS.values()  # others may judge a batch several times
        and type(module.loss) in LOSSES.values()
        and all(type(part) in STEADY_TYPES for part in list_modules(module.network))
    )


log = logging.getLogger(__name__)


class Observe(Callback):
    """Records what happens inside each layer, and shows it in TensorBoard, at the steps due.

    It looks at steps 0, 1, 2, 5, 10, 20 … and then at every `every`-th; on all others there is
    no hook on the model and nothing waits for the device. It changes no weight and draws no random
    number, and where it cannot go on it says so once in the log and leaves the training alone. It
    goes along with gradient accumulation (a look spans all batches of one step), gradient clipping
    (gradients are read before it), mixed precision, frozen and unused parameters, and several
    optimizers. Over several processes, the first one's share of the batch is looked at.

    `light` records, for each layer, the norms of weights, biases and gradients, the step over the
    weights, who fires, who is silent or saturated, the share of the blame, and histograms of
    weights, biases, gradients and answers. `full` adds histograms of the sums before the
    activation, of what comes back to them, of bias gradients and of the step, and the cosine with
    the gradient of the look before.

    Looks are read and written by a thread beside the training: to TensorBoard's file, and as
    `readings.bin`, which a resumed training goes on with where its checkpoint stands.

    Not seen: answers inside a part that `torch.compile` took hold of; saturation where
    PyTorch has no slope for the activation; by how much the loss really fell, unless the module is
    brainnet's own, which can tell the loss of a batch again. Parameters that are sharded over
    several devices (FSDP) turn it off.

    Args:
        every: steps between two looks; "auto": as many as keep all looking within 3% of the time,
            going by what looks and steps have taken so far. The same seed then learns the same, but
            may be looked at at other steps.
        level: how much to look at, "light" or "full".
        folder: where to write; the folder of the trainer's TensorBoard logger where None, and
            where it has none, that of its first logger, or its `default_root_dir`.

    Attributes:
        readings: one `Reading` for each look of the last training, in plain numbers; complete at
            its end.

    Raises:
        InputError: where `every` or `level` cannot be meant.

    Example:
        >>> trainer = Trainer(callbacks=[Observe(every=100)], logger=False, accelerator="cpu")
    """

    works_in_fast_loop = True

    def __init__(
        self, every: Every = 50, level: Level = "light", folder: Path | str | None = None
    ) -> None:
        if level not in get_args(Level):
            raise InputError(
                f"observe needs a level, {' or '.join(get_args(Level))}; got {level!r}. "
                "Set observe=light, observe=full or observe=off."
            )
        self.every = check_interval(every, "observe.every")
        self._pace = AdaptiveInterval(self.every)
        self._begun = self._looked_at = -1
        self.level: Level = level
        self.folder = None if folder is None else Path(folder)
        self.readings: list[Reading] = []
        self._recorder: BackgroundWriter | None = None
        self._resumed: Mapping[str, Any] | None = None
        self._settled_by_store = False
        self._watching = self._told = False
        self._looking: TrainingObservation | None = None
        self._directions: Mapping[str, Tensor] = {}

    def settle(self) -> None:
        """Have on disk what was seen so far."""
        if self._recorder is not None:
            self._recorder.wait()

    def state_dict(self) -> dict[str, Any]:
        """Return what the next look is compared with."""
        if not self._settled_by_store:
            self.settle()
        directions = {name: each.cpu() for name, each in self._directions.items()}
        return {"directions": directions} if directions else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the last look before the checkpoint."""
        self._resumed = state_dict

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the file, and write the graph, the layout of the charts and the explanations."""
        resumed, self._resumed = self._resumed or {}, None
        self.readings, self._looking = [], None
        self._pace, self._begun, self._looked_at = AdaptiveInterval(self.every), -1, -1
        self._directions = resumed.get("directions", {})
        self._watching = trainer.is_global_zero
        with self._careful():
            if not self._watching or not self._can_see(trainer, pl_module) or _rehearsal(trainer):
                return
            writer = find_writer(trainer, self.folder)
            if trainer.global_step == 0:
                self._introduce(writer, trainer, pl_module)
            recording = self._go_on(writer.folder, trainer.global_step)
            store = trainer.strategy.checkpoint_io
            self._settled_by_store = isinstance(store, AtomicCheckpointIO)
            if isinstance(store, AtomicCheckpointIO):  # which may write long after it was asked
                store.before_write = self.settle
            self._recorder = BackgroundWriter(self.readings, recording, writer, said=_say)

    def _go_on(self, folder: Path, step: int) -> Recording | None:
        """Open the recording where this training stands: later readings go."""
        try:
            recording = Recording(folder, length=measure_length_before(folder, step))
            self.readings += read_recording(folder)
        except (InputError, OSError) as error:
            _say(f"nothing is recorded: {error}")
            return None
        return recording

    def needs_step(self, step: int) -> bool:
        """Whether a look is due, or has begun."""
        return self._watching and (self._looking is not None or self._due(step))

    def _due(self, step: int) -> bool:
        """Whether to look at the step that begins."""
        if self.every != "auto":
            return is_due(step, self.every)
        if step != self._begun:  # asked again, it is no other step
            looked = self._begun == self._looked_at
            aside = self._recorder.spent() if looked and self._recorder is not None else ()
            self._pace.passed(looked=looked, aside=aside)
            self._begun = step
        return self._pace.due(step)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Put the hooks on, if the step that begins is due."""
        if not self._watching:
            return
        step = trainer.global_step
        if self._looking is None and not self._due(step):
            return
        with self._careful():
            if self._looking is None:
                observed = StepObserver(pl_module, level=self.level, previous=self._directions)
                self._looking = TrainingObservation(observed, step, trainer.current_epoch)
            self._looking.batches.append(batch)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Read the gradients: unscaled, added up over all batches, and not clipped yet."""
        if self._looking is None:
            return
        with self._careful():
            self._looking.before_update(trainer, pl_module, optimizer)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Take the hooks off once the step is done, and write down what was seen."""
        if self._looking is None:
            return
        with self._careful():
            self._looking.add_loss(outputs)
            if trainer.global_step == self._looking.step:
                return  # gradients are still adding up
            looking, self._looking = self._looking, None
            self._looked_at = looking.step
            unread = looking.finish(trainer, pl_module)
            self._directions = looking.observed.directions
            silent = looking.observed.unanswered
            if silent and not self._told:
                _say(find_layers_without_output(silent))
            self._told |= bool(silent)
            if self._recorder is None:
                self.readings.append(unread.look().reading)
            else:
                self._recorder.look(unread)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait for what is still to be written."""
        with self._careful():
            self._stop()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave the model without hooks, and what was seen on disk."""
        with self._careful():
            self._stop()

    @staticmethod
    def _introduce(writer: TensorBoardWriter, trainer: Trainer, module: LightningModule) -> None:
        """What does not change: the graph, the layout of the charts, the explanations."""
        loss, task = "loss", None
        if isinstance(module, LearningModule):
            loss, task = type(module.loss).__name__, module.task
        optimizer = type(trainer.optimizers[0]).__name__ if trainer.optimizers else "optimizer"
        write_introduction(writer, module, loss=loss, optimizer=optimizer, task=task)

    def _can_see(self, trainer: Trainer, module: LightningModule) -> bool:
        """Whether there is something to look at; says what is not."""
        if is_sharded(module) or is_flattened(trainer.strategy.model or module):
            log.warning("Observe: the parameters are sharded over devices; it looks at none.")
        elif (reason := find_obstacles(module)) is not None:
            log.warning("Observe: %s", reason)
        else:
            if is_compiled(module):
                log.warning(
                    "Observe: the model is compiled; weights and gradients are seen, answers are "
                    "not."
                )
            return True
        self._watching = False
        return False

    @contextmanager
    def _careful(self) -> Iterator[None]:
        """A training must not end because somebody watched it."""
        try:
            yield
        except Exception as error:
            log.warning("Observe stopped looking: %s: %s", type(error).__name__, error)
            log.debug("Observe stopped looking", exc_info=True)
            self._watching = False
            looking, self._looking = self._looking, None
            if looking is not None:
                looking.observed.close()

    def _stop(self) -> None:
        """Take the hooks off and close the file."""
        looking, self._looking, self._watching = self._looking, None, False
        if looking is not None:
            looking.observed.close()
        if self._recorder is not None:
            self._recorder.close()
            self._recorder = None


def _say(message: str) -> None:
    # A log, not a warning: where warnings are errors, that would raise.
    log.warning("Observe: %s", message)


def find_writer(trainer: Trainer, folder: Path | None) -> TensorBoardWriter:
    """A writer into the run that a trainer's logger writes to, sharing its file where it can.

    Args:
        trainer: the trainer.
        folder: where to write instead, in a file of its own.
    """
    if folder is not None:
        return TensorBoardWriter(folder)
    for logger in trainer.loggers:
        if isinstance(logger, RunLogger):
            return TensorBoardWriter(logger.log_dir, sink=logger.file)
        if isinstance(logger, TensorBoardLogger):
            return TensorBoardWriter(logger.log_dir, sink=logger.experiment.file_writer)
    folders = [found for logger in trainer.loggers if (found := _folder_of(logger))]
    return TensorBoardWriter(folders[0] if folders else trainer.default_root_dir)


def _folder_of(logger: Logger) -> str | None:
    return getattr(logger, "log_dir", None)


def _rehearsal(trainer: Trainer) -> bool:
    """Whether this is Lightning's `fast_dev_run`, which leaves nothing behind."""
    return bool(getattr(trainer, "fast_dev_run", False))
