"""Burst: the steps that nobody wants to see, taken in one go between two that somebody does."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.optim import Optimizer

from brainnet.data.datamodule import DataModule
from brainnet.data.loader import InMemoryLoader

PER_STEP_HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)

"""What Lightning tells a callback about each step."""

# A counter of Lightning's that is not public, and stands in its checkpoints all the same.
_COUNTER = "_batches_that_stepped"


@runtime_checkable
class SelectiveCallback(Protocol):
    """A callback that knows which steps it has to be told about.

    One whose class says `in_bursts = True` is told about them in the middle of a burst; of others'
    steps Lightning makes a round of its own.
    """

    def needs_step(self, step: int) -> bool:
        """Whether it must see the step that begins after `step` optimizer steps."""
        ...


class FastLoop:
    """Takes several steps within one of Lightning's rounds, to the same numbers bit by bit.

    A round (fetching, a dozen hooks for everyone, counting) takes longer than the step of a small
    network itself. Where all who would be told agree that they need not be, a step here is what is
    left: a batch, the module's `training_step`, the gradients, the optimizer and its schedule. All
    of Lightning's counters move along, so that a checkpoint is the same either way.

    Args:
        trainer: in the middle of training, and found `possible`.
        judge: the module's `training_step`: from a batch and its place in the epoch to the loss.
    """

    def __init__(self, trainer: Trainer, judge: Callable[[Any, int], Tensor]) -> None:
        self._trainer = trainer
        self._judge = judge
        self._optimizer = trainer.optimizers[0]
        self._schedules = [
            config.scheduler for config in trainer.lr_scheduler_configs if config.interval == "step"
        ]
        self._selective = [one for one in _callbacks(trainer) if isinstance(one, SelectiveCallback)]
        self._loop = trainer.fit_loop.epoch_loop
        # PyTorch's own does a few things more, which take as long as a layer does to think.
        own = self._optimizer.zero_grad
        plain = getattr(own, "__func__", None) is Optimizer.zero_grad
        self._zero_grad = self._forget if plain else own
        self._batches = trainer.fit_loop._data_fetcher

    @staticmethod
    def possible(trainer: Trainer) -> bool:
        """Whether nothing about this training asks for a round of Lightning's at each step.

        Clipped, accumulated, scaled or shared gradients, validation in mid-epoch, an end at a
        certain step, a profiler, other people's data modules and their callbacks that are told
        about each step do; so does a Lightning that counts otherwise than is known here.
        """
        return (
            all(is_selective(callback) for callback in _callbacks(trainer))
            and hasattr(trainer.fit_loop.epoch_loop, _COUNTER)
            and type(trainer.strategy) is SingleDeviceStrategy
            and type(trainer.precision_plugin) is Precision
            and type(getattr(trainer, "profiler", None)) is PassThroughProfiler
            and type(getattr(trainer, "datamodule", None)) is DataModule
            and isinstance(trainer.train_dataloader, InMemoryLoader)
            and len(trainer.optimizers) == 1
            and trainer.accumulate_grad_batches == 1
            and trainer.gradient_clip_val is None
            and trainer.max_steps == -1
            and trainer.check_val_every_n_epoch is not None
            and trainer.val_check_batch in (trainer.num_training_batches, math.inf)
        )

    def run(self, most: int) -> None:
        """Take steps until somebody needs the next, and not more than so many.

        Args:
            most: the steps until one that the module itself needs; the last batch of an epoch
                always goes Lightning's way.

        Raises:
            TrainingFailure: as the module's `training_step` does.
        """
        step = self._trainer.global_step
        for _ in range(most):
            told = [one for one in self._selective if one.needs_step(step)]
            if self._trainer.should_stop or not all(map(goes_along, told)):
                return
            self._step(told)
            step += 1

    def _step(self, told: Sequence[Any]) -> None:
        """One step, counted as Lightning counts it.

        Args:
            told: callbacks that are told about it as Lightning would tell them.
        """
        loop, trainer, module = self._loop, self._trainer, self._trainer.lightning_module
        assert self._batches is not None, "training is under way"
        batch, index, _ = next(self._batches)
        loop.batch_progress.increment_ready()
        for one in told:
            one.on_train_batch_start(trainer, module, batch, index)
        loop.batch_progress.increment_started()
        seen: list[Tensor] = []

        def judged() -> Any:
            loss = self._judge(batch, index)
            zeroed = loop.automatic_optimization.optim_progress.optimizer.zero_grad
            zeroed.increment_ready()
            zeroed.increment_started()
            self._zero_grad()
            zeroed.increment_completed()
            loss.backward()
            if told:
                seen.append(loss.detach())
            for one in told:
                one.on_before_optimizer_step(trainer, module, self._optimizer)
            return loss

        stepped = loop.automatic_optimization.optim_progress.optimizer.step
        stepped.increment_ready()
        self._optimizer.step(judged)
        stepped.increment_completed()
        loop.batch_progress.increment_processed()
        for schedule in self._schedules:
            loop.scheduler_progress.increment_ready()
            schedule.step()
            loop.scheduler_progress.increment_completed()
        for one in told:
            one.on_train_batch_end(trainer, module, {"loss": seen[-1]}, batch, index)
        loop.batch_progress.increment_completed()
        loop._batches_that_stepped += 1

    def _forget(self) -> None:
        """What `Optimizer.zero_grad` comes to."""
        for group in self._optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None


def _callbacks(trainer: Trainer) -> list[Callback]:
    # Lightning sets the attribute from outside its class, where type checkers do not see it.
    callbacks: list[Callback] = getattr(trainer, "callbacks", [])
    return callbacks


def goes_along(callback: object) -> bool:
    """Whether a callback may be told about a step in a burst, as it asks for nothing else then."""
    return bool(vars(type(callback)).get("in_bursts", False))


def is_selective(callback: Callback) -> bool:
    """Whether a callback says which steps it needs, or is told about none.

    The class itself has to say it: one derived from it may see more than its parent did.
    """
    if "needs_step" in vars(type(callback)):
        return True
    return all(
        getattr(getattr(callback, hook), "__func__", None) is getattr(Callback, hook)
        for hook in PER_STEP_HOOKS
    )
