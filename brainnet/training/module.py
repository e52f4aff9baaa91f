"""Grouped step: a small network's weights moved all at once, to the same numbers bit by bit."""

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from brainnet.data.loader import InMemoryLoader
from brainnet.errors import InputError, TrainingFailure
from brainnet.learning.loss import Task
from brainnet.learning.predictions import decode_predictions
from brainnet.observation.probe import isolated_eval
from brainnet.training.compilation import compile_in_place
from brainnet.training.fast_loop import FastLoop
from brainnet.training.metrics import StageMetrics

GROUPED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop)

"""Optimizers that call more than a function or two for each tensor."""

MOST = 2**18

"""Weights up to which calls cost more than computing; beyond, the temporaries would be felt."""

SAME = (torch.float32, torch.float64)

"""Kinds of numbers in which one tensor at a time and all at once round alike."""


def use_foreach(optimizer: Optimizer) -> Optimizer:
    """Have the optimizer use its `foreach` form where that is quicker, and nobody chose.

    PyTorch does so by itself on GPUs. On the CPU it goes through a network tensor by tensor, from
    Python, for which the step of a small network takes as long as all of its thinking. A state
    that the optimizer loads later may bring a group back as PyTorch made it, so it is seen to
    again then. Groups whose learning rate or betas are tensors stay: all at once refuses those.

    Args:
        optimizer: whose weights are on the device where they will learn.

    Example:
        >>> optimizer = grouped(torch.optim.Adam(torch.nn.Linear(2, 1).parameters()))
        >>> optimizer.param_groups[0]["foreach"]
        True
    """
    _group(optimizer)
    optimizer.register_load_state_dict_post_hook(_group)
    return optimizer


def _group(optimizer: Optimizer) -> None:
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    fits = (
        type(optimizer) in GROUPED
        and sum(weight.numel() for weight in weights) <= MOST
        and all(weight.device.type == "cpu" and weight.dtype in SAME for weight in weights)
    )
    for group in optimizer.param_groups if fits else ():
        chosen = any(group.get(form) for form in ("fused", "differentiable", "capturable"))
        numbers = (group["lr"], *group.get("betas", ()))
        if not chosen and not any(isinstance(number, Tensor) for number in numbers):
            group["foreach"] = True if group["foreach"] is None else group["foreach"]


Batch = tuple[Tensor, Tensor]

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]

ScheduleFactory = Callable[[Optimizer, int], LRScheduler | ReduceLROnPlateau]

Stage = Literal["train", "validation", "test"]

# Enough for the first point of a curve to two digits, whatever the size of the data.
_ROWS_OF_THE_FIRST_GUESS = 8192


class LearningModule(LightningModule):
    """Trains, validates and tests a network, and logs its curves.

    The curves are `loss/train`, `loss/validation`, and `accuracy/...` (`r2/...` for a regression),
    over optimizer steps, from step 0 on, where the untrained network guesses. Values of the
    training part are means since the last point; an epoch is one point, or, where it has many
    batches, one for about each `log_every_n_steps` of the trainer. No step waits for the device.

    Args:
        network: any module from inputs to outputs.
        loss: from outputs and targets to one number; one of `brainnet.learning.loss`, or any.
        task: "multiclass", "binary" or "regression".
        targets: number of classes, or of numbers to predict.
        optimizer: makes the optimizer from the parameters.
        schedule: makes the schedule from the optimizer and the total number of steps; it is
            stepped once per optimizer step (`ReduceLROnPlateau`: once per epoch).

    Attributes:
        curves: the last value of each curve, by tag.
        untrained_loss: on the training rows before the first step; None where a run goes on.
        confusion: after a test, which class (row) was taken for which (column), counted.
        keeps_answers: whether an answer of the network outlives its next one; a captured graph
            gives each in the same memory.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        *,
        task: Task,
        targets: int,
        optimizer: OptimizerFactory = torch.optim.Adam,
        schedule: ScheduleFactory | None = None,
    ) -> None:
        super().__init__()
        self.network = compile_in_place(network)
        self.loss = loss
        self.task = task
        self.targets = targets
        self.train_tally = StageMetrics(task, targets, answer=self.answer)
        self.validation_tally = StageMetrics(task, targets, answer=self.answer)
        self.test_tally = StageMetrics(task, targets, confusion=True, answer=self.answer)
        self.curves: dict[str, float] = {}
        self.untrained_loss: float | None = None
        self.confusion: Tensor | None = None
        self.keeps_answers = True
        self._make_optimizer = optimizer
        self._make_schedule = schedule
        self._window = 1
        self._alone = False
        self._burst: FastLoop | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        """Think: the network's outputs."""
        outputs: Tensor = self.network(inputs)
        return outputs

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one batch."""
        loss = self._judge("train", batch)
        # Free where the loss already lies in memory, and elsewhere checked when a point is read.
        if self._alone and loss.is_cpu and not math.isfinite(loss.item()):
            self._fail(loss.item())
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Judge one batch of the validation rows."""
        self._judge("validation", batch, _own_rows(self.trainer.val_dataloaders, batch_idx))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Judge one batch of the test rows."""
        self._judge("test", batch, _own_rows(self.trainer.test_dataloaders, batch_idx))

    def answer(self, outputs: Tensor) -> Tensor:
        """Turn outputs (batch, outputs) into answers: classes (batch,) or numbers (batch, targets).

        They have the form of the targets.
        """
        return decode_predictions(outputs, self.loss, self.task)

    def configure_optimizers(self) -> Any:
        """Make the optimizer and the schedule."""
        optimizer = use_foreach(self._make_optimizer(self.network.parameters()))
        if self._make_schedule is None:
            return optimizer
        schedule = self._make_schedule(optimizer, self._total_steps())
        plateau = isinstance(schedule, ReduceLROnPlateau)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {
                "scheduler": schedule,
                "interval": "epoch" if plateau else "step",
                "monitor": "loss/validation",
            },
        }

    def on_train_start(self) -> None:
        """Log what the untrained network guesses, before the first step."""
        # Over several processes, one that stopped alone would leave the others waiting.
        self._alone = self.trainer.world_size == 1
        self._window = self._log_every()
        batches = self.trainer.num_training_batches
        if math.isfinite(batches):  # a loader may not know its length
            self._window = math.ceil(batches / max(1, round(batches / self._window)))
        if self.trainer.global_step == 0:
            self._guess("train", self.trainer.train_dataloader)
            self.untrained_loss = self.curves.get("loss/train")
            self._guess("validation", self.trainer.val_dataloaders)

    def on_train_epoch_start(self) -> None:
        """See whether the steps of this epoch may be taken several at a time."""
        # A derived class may do more in a step than is done here.
        alone = type(self) is LearningModule and FastLoop.possible(self.trainer)
        self._burst = FastLoop(self.trainer, self.training_step) if alone else None

    def on_train_batch_end(self, outputs: object, batch: object, batch_idx: int) -> None:
        """Log a point in mid-epoch, and take the steps that nobody wants to see."""
        done, batches = batch_idx + 1, self.trainer.num_training_batches
        if done % self._window == 0 and done < batches:
            self._log("train")
        if self._burst is not None and done < batches:
            next_point = min(done + self._window - done % self._window, batches)
            self._burst.run(int(next_point) - 1 - done)

    def on_train_epoch_end(self) -> None:
        """Log the training part, and offer it to callbacks that monitor."""
        self._burst = None
        self._offer(self._log("train"))

    def on_validation_epoch_start(self) -> None:
        """Begin anew."""
        self._tally("validation").reset()

    def on_validation_epoch_end(self) -> None:
        """Log the validation part, and offer it to callbacks that monitor."""
        self._offer(self._log("validation"))

    def on_test_epoch_start(self) -> None:
        """Begin anew."""
        self._tally("test").reset()

    def on_test_epoch_end(self) -> None:
        """Log the test part and keep the confusion matrix."""
        self.confusion = self._tally("test").confusion_matrix()
        self._offer(self._log("test"))

    def _judge(self, stage: Stage, batch: Batch, own: int | None = None) -> Tensor:
        """Think, count, and return the loss; of the first `own` rows alone, where that is said."""
        inputs, targets = batch
        outputs: Tensor = self.network(inputs)
        if not self.keeps_answers:
            outputs = outputs.clone()
        if own is not None:
            outputs, targets = outputs[:own], targets[:own]
            if own == 0:  # thought all the same, as processes may exchange something in between
                return outputs.new_zeros(())
        loss: Tensor = self.loss(outputs, targets)
        self._tally(stage).add(loss.detach(), outputs.detach(), targets)
        return loss

    def _guess(self, stage: Stage, loader: Any) -> None:
        """Judge the first rows of a loader without learning from them, and log it."""
        rows = 0
        # Also the loader is inside: another's may draw random numbers to shuffle.
        with isolated_eval(self.network), self.trainer.precision_plugin.forward_context():
            for number, batch in enumerate(() if loader is None else loader):
                converted = self.trainer.precision_plugin.convert_input(batch)
                moved = self.trainer.strategy.batch_to_device(converted)
                self._judge(stage, moved, _own_rows(loader, number))
                rows += len(moved[1])
                if rows >= _ROWS_OF_THE_FIRST_GUESS:
                    break
        self._log(stage)

    def _log(self, stage: Stage) -> dict[str, float]:
        """Read a stage's tally, write it to the loggers, and start the tally anew."""
        tally = self._tally(stage)
        values = {f"{name}/{stage}": value for name, value in tally.read().items()}
        tally.reset()
        self.curves.update(values)
        for logger in self.loggers if values else ():
            logger.log_metrics(values, step=self.trainer.global_step)
        loss = values.get("loss/train", 0.0)
        if not math.isfinite(loss):
            self._fail(loss)
        return values

    def _offer(self, values: dict[str, float]) -> None:
        # logger=False: the curves are already written, over optimizer steps.
        self.log_dict(values, logger=False)

    def _fail(self, loss: float) -> None:
        step = self.trainer.global_step
        raise TrainingFailure(f"the loss became {loss} at step {step}")

    def _tally(self, stage: Stage) -> StageMetrics:
        match stage:
            case "train":
                return self.train_tally
            case "validation":
                return self.validation_tally
            case "test":
                return self.test_tally

    def _log_every(self) -> int:
        return max(1, int(getattr(self.trainer, "log_every_n_steps", 50)))

    def _total_steps(self) -> int:
        total = self.trainer.estimated_stepping_batches
        if not math.isfinite(total):
            raise InputError(
                "a schedule needs to know where training ends; got no end. "
                "Set trainer.max_epochs or trainer.max_steps, or schedule=constant."
            )
        return int(total)


def _own_rows(loader: object, batch: int) -> int | None:
    """How many rows of a batch count: the rest are another process's, and fill this one's share."""
    if isinstance(loader, InMemoryLoader) and len(loader.sampler) > loader.sampler.unique_rows:
        return loader.count_unique_rows(batch)
    return None
