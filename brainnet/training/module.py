"""Learning module: the LightningModule that trains, validates and tests a network."""

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
from brainnet.structure.inspection import unwrap_compiled
from brainnet.training.fast_loop import FastLoop
from brainnet.training.metrics import StageMetrics

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
ScheduleFactory = Callable[[Optimizer, int], LRScheduler | ReduceLROnPlateau]
_Batch = tuple[Tensor, Tensor]
_Stage = Literal["train", "validation", "test"]

# Enough for two digits of the first point of a curve, also for large data.
_UNTRAINED_ROWS = 8192
# Optimizers that call many functions per tensor, and the number of weights up to which these calls
# cost more than the computation.
FOREACH_OPTIMIZERS = (torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop)
MAX_FOREACH_WEIGHTS = 2**18


class LearningModule(LightningModule):
    """Trains, validates and tests a network, and logs its curves.

    The curves `loss/STAGE` and `accuracy/STAGE` (`r2/STAGE` for regression) have the optimizer
    steps as x-axis and start at step 0 with the untrained network. A training point is the mean
    since the previous one: one per epoch, or about every `log_every_n_steps` in long epochs.
    A step never waits for the device.

    Args:
        network: any module from inputs to outputs.
        loss: loss function of outputs and targets, from `brainnet.learning.loss` or any other.
        task: "multiclass", "binary" or "regression".
        targets: number of classes, or of target columns.
        optimizer: creates the optimizer from the parameters.
        schedule: creates the schedule from the optimizer and the total number of steps; stepped
            once per optimizer step (`ReduceLROnPlateau`: once per epoch).
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
        self.train_metrics = StageMetrics(task, targets, decode=self.decode)
        self.validation_metrics = StageMetrics(task, targets, decode=self.decode)
        self.test_metrics = StageMetrics(task, targets, confusion=True, decode=self.decode)
        # Last value of each curve, by tag.
        self.curves: dict[str, float] = {}
        # Training loss before the first step; None if the run was resumed.
        self.untrained_loss: float | None = None
        self.confusion: Tensor | None = None
        # Captured CUDA graphs overwrite their previous outputs.
        self.reuses_output_memory = False
        self._create_optimizer = optimizer
        self._create_schedule = schedule
        self._log_interval = 1
        self._checks_each_loss = False
        self._fast_loop: FastLoop | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs of the network."""
        outputs: Tensor = self.network(inputs)
        return outputs

    def training_step(self, batch: _Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        loss = self._evaluate_batch("train", batch)
        # On the CPU this costs nothing; elsewhere the loss is checked when a point is logged.
        if self._checks_each_loss and loss.is_cpu and not math.isfinite(loss.item()):
            self._fail(loss.item())
        return loss

    def validation_step(self, batch: _Batch, batch_idx: int) -> None:
        """Evaluate a batch of the validation rows."""
        rows = _count_unique_rows(self.trainer.val_dataloaders, batch_idx)
        self._evaluate_batch("validation", batch, rows)

    def test_step(self, batch: _Batch, batch_idx: int) -> None:
        """Evaluate a batch of the test rows."""
        rows = _count_unique_rows(self.trainer.test_dataloaders, batch_idx)
        self._evaluate_batch("test", batch, rows)

    def decode(self, outputs: Tensor) -> Tensor:
        """Convert outputs (batch, outputs) to classes (batch,) or numbers (batch, targets)."""
        return decode_predictions(outputs, self.loss, self.task)

    def configure_optimizers(self) -> Any:
        """Create the optimizer and the schedule."""
        optimizer = use_foreach(self._create_optimizer(self.network.parameters()))
        if self._create_schedule is None:
            return optimizer
        total_steps = self.trainer.estimated_stepping_batches
        if not math.isfinite(total_steps):
            raise InputError(
                "a schedule needs to know where training ends; got no end. "
                "Set trainer.max_epochs or trainer.max_steps, or schedule=constant."
            )
        schedule = self._create_schedule(optimizer, int(total_steps))
        interval = "epoch" if isinstance(schedule, ReduceLROnPlateau) else "step"
        return {
            "optimizer": optimizer,
            "lr_scheduler": {
                "scheduler": schedule,
                "interval": interval,
                "monitor": "loss/validation",
            },
        }

    def on_train_start(self) -> None:
        """Log the metrics of the untrained network."""
        # In a distributed run, a process that stopped alone would leave the others waiting.
        self._checks_each_loss = self.trainer.world_size == 1
        # Divide a long epoch evenly, so that its last point is the end of the epoch.
        self._log_interval = max(1, int(getattr(self.trainer, "log_every_n_steps", 50)))
        batches = self.trainer.num_training_batches
        if math.isfinite(batches):
            points = max(1, round(batches / self._log_interval))
            self._log_interval = math.ceil(batches / points)
        # A resumed run has logged these points already.
        if self.trainer.global_step == 0:
            self._log_untrained("train", self.trainer.train_dataloader)
            self.untrained_loss = self.curves.get("loss/train")
            self._log_untrained("validation", self.trainer.val_dataloaders)

    def on_train_epoch_start(self) -> None:
        """Determine whether the steps of this epoch can be taken by the fast loop."""
        # A derived class may do more in a step.
        is_possible = type(self) is LearningModule and FastLoop.is_possible(self.trainer)
        self._fast_loop = FastLoop(self.trainer, self.training_step) if is_possible else None

    def on_train_batch_end(self, outputs: object, batch: object, batch_idx: int) -> None:
        """Log a point within an epoch, and take the steps that no callback needs."""
        done, batches = batch_idx + 1, self.trainer.num_training_batches
        if done >= batches:
            return
        if done % self._log_interval == 0:
            self._log("train")
        if self._fast_loop is not None:
            # The last step before each point is Lightning's, because its hook logs the point.
            next_point = min(done + self._log_interval - done % self._log_interval, batches)
            self._fast_loop.run(int(next_point) - 1 - done)

    def on_train_epoch_end(self) -> None:
        """Log the training metrics."""
        # Trainer settings can change between epochs.
        self._fast_loop = None
        self._log("train", publish=True)

    def on_validation_epoch_start(self) -> None:
        """Reset the validation metrics."""
        self.validation_metrics.reset()

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics."""
        self._log("validation", publish=True)

    def on_test_epoch_start(self) -> None:
        """Reset the test metrics."""
        self.test_metrics.reset()

    def on_test_epoch_end(self) -> None:
        """Log the test metrics and keep the confusion matrix."""
        self.confusion = self.test_metrics.compute_confusion()
        self._log("test", publish=True)

    def _select_metrics(self, stage: _Stage) -> StageMetrics:
        metrics: StageMetrics = getattr(self, f"{stage}_metrics")
        return metrics

    def _evaluate_batch(self, stage: _Stage, batch: _Batch, rows: int | None = None) -> Tensor:
        """Run the network, count the first `rows` rows of the batch, and return their loss."""
        inputs, targets = batch
        outputs: Tensor = self.network(inputs)
        if self.reuses_output_memory:
            outputs = outputs.clone()
        if rows is not None:
            outputs, targets = outputs[:rows], targets[:rows]
            # The forward pass was still needed: processes may communicate in it.
            if rows == 0:
                return outputs.new_zeros(())
        loss: Tensor = self.loss(outputs, targets)
        self._select_metrics(stage).add(loss.detach(), outputs.detach(), targets)
        return loss

    def _log_untrained(self, stage: _Stage, loader: Any) -> None:
        """Log the metrics of the first rows of a loader, without changing any state."""
        count = 0
        # Inside the context, because a loader of the user may draw random numbers to shuffle.
        with isolated_eval(self.network), self.trainer.precision_plugin.forward_context():
            for index, batch in enumerate(() if loader is None else loader):
                batch = self.trainer.precision_plugin.convert_input(batch)
                batch = self.trainer.strategy.batch_to_device(batch)
                self._evaluate_batch(stage, batch, _count_unique_rows(loader, index))
                count += len(batch[1])
                if count >= _UNTRAINED_ROWS:
                    break
        self._log(stage)

    def _log(self, stage: _Stage, *, publish: bool = False) -> None:
        """Read and reset the metrics of a stage, and log them; publish them to callbacks too."""
        metrics = self._select_metrics(stage)
        values = {f"{name}/{stage}": value for name, value in metrics.read().items()}
        metrics.reset()
        self.curves.update(values)
        # Not by `self.log`, which has no step 0 and averages over epochs.
        for logger in self.loggers if values else ():
            logger.log_metrics(values, step=self.trainer.global_step)
        loss = values.get("loss/train", 0.0)
        if not math.isfinite(loss):
            self._fail(loss)
        if publish:
            # `log_dict` does the same in 5% of the time of a small run.
            tensors = {tag: torch.tensor(value) for tag, value in values.items()}
            self.trainer.callback_metrics.update(tensors)

    def _fail(self, loss: float) -> None:
        raise TrainingFailure(f"the loss became {loss} at step {self.trainer.global_step}")


def _count_unique_rows(loader: object, batch_index: int) -> int | None:
    """Return how many rows of a batch no other process has; None if all batches are complete."""
    if isinstance(loader, InMemoryLoader) and len(loader.sampler) > loader.sampler.unique_rows:
        return loader.count_unique_rows(batch_index)
    return None


def compile_in_place(network: nn.Module) -> nn.Module:
    """Return the module inside `torch.compile(network)`, compiled: weights keep their own names."""
    inner = unwrap_compiled(network)
    compiler = getattr(network, "dynamo_ctx", None)
    if inner is not network and compiler is not None and inner._compiled_call_impl is None:
        inner._compiled_call_impl = compiler(inner._call_impl)
    return inner


def use_foreach(optimizer: Optimizer) -> Optimizer:
    """Use the `foreach` implementation of an optimizer if it is faster and nothing was chosen."""
    # PyTorch does so on GPUs only. On the CPU, its loop over the tensors takes as long as the
    # forward pass of a small network; the results are bit-identical.
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    is_faster = (
        type(optimizer) in FOREACH_OPTIMIZERS
        and sum(weight.numel() for weight in weights) <= MAX_FOREACH_WEIGHTS
        # In half precision, both implementations round differently.
        and all(
            weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.float64)
            for weight in weights
        )
    )
    for group in optimizer.param_groups if is_faster else ():
        is_chosen = any(group.get(name) for name in ("fused", "differentiable", "capturable"))
        numbers = (group["lr"], *group.get("betas", ()))
        # `foreach` does not support learning rates and betas that are tensors.
        if not is_chosen and not any(isinstance(number, Tensor) for number in numbers):
            group["foreach"] = True if group["foreach"] is None else group["foreach"]
    return optimizer
