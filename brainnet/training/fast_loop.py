"""Fast loop: steps that no callback needs, without Lightning's hooks for each step."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.optim import Optimizer

from brainnet.data.datamodule import DataModule
from brainnet.data.loader import InMemoryLoader

_PER_STEP_HOOKS = (
    "on_train_batch_start",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_train_batch_end",
)

# A private counter of Lightning that is part of its checkpoints.
_COUNTER = "_batches_that_stepped"


class FastLoop:
    """Takes several training steps within one iteration of Lightning's loop, bit-identically.

    A callback says with `needs_step(step)` which steps it needs; if its class sets
    `works_in_fast_loop = True`, it gets them from this loop, else from Lightning's.
    """

    def __init__(self, trainer: Trainer, training_step: Callable[[Any, int], Tensor]) -> None:
        self._trainer = trainer
        self._training_step = training_step
        self._optimizer = trainer.optimizers[0]
        self._schedules = [
            config.scheduler for config in trainer.lr_scheduler_configs if config.interval == "step"
        ]
        callbacks: list[Any] = list(_get_callbacks(trainer))
        self._callbacks = [c for c in callbacks if hasattr(c, "needs_step")]
        self._loop = trainer.fit_loop.epoch_loop
        self._batches = trainer.fit_loop._data_fetcher
        # PyTorch's own implementation takes as long as the forward pass of a layer.
        zero_grad = self._optimizer.zero_grad
        is_default = getattr(zero_grad, "__func__", None) is Optimizer.zero_grad
        self._zero_grad = self._clear_gradients if is_default else zero_grad

    @staticmethod
    def is_possible(trainer: Trainer) -> bool:
        """Whether nothing in this training needs Lightning's loop at each step."""
        return (
            all(is_selective(callback) for callback in _get_callbacks(trainer))
            and hasattr(trainer.fit_loop.epoch_loop, _COUNTER)
            # Exact types, because derived classes may do more in a step.
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

    def run(self, max_steps: int) -> None:
        """Take up to `max_steps` steps, until a callback needs one that only Lightning can take."""
        step = self._trainer.global_step
        for _ in range(max_steps):
            callbacks = [callback for callback in self._callbacks if callback.needs_step(step)]
            # A callback that needs Lightning's hooks gets its step from Lightning. Not inherited: a
            # derived class may have more hooks.
            works = [vars(type(c)).get("works_in_fast_loop", False) for c in callbacks]
            if self._trainer.should_stop or not all(works):
                return
            self._take_step(callbacks)
            step += 1

    def _take_step(self, callbacks: Sequence[Any]) -> None:
        """Take one step, call the callbacks that need it, and update Lightning's counters."""
        loop, trainer, module = self._loop, self._trainer, self._trainer.lightning_module
        assert self._batches is not None, "set during training"
        batch, index, _ = next(self._batches)
        loop.batch_progress.increment_ready()
        for callback in callbacks:
            callback.on_train_batch_start(trainer, module, batch, index)
        loop.batch_progress.increment_started()
        losses: list[Tensor] = []

        def compute_gradients() -> Any:
            loss = self._training_step(batch, index)
            progress = loop.automatic_optimization.optim_progress.optimizer.zero_grad
            # Lightning clears the gradients after the forward pass as well.
            progress.increment_ready()
            progress.increment_started()
            self._zero_grad()
            progress.increment_completed()
            loss.backward()
            if callbacks:
                losses.append(loss.detach())
            for callback in callbacks:
                callback.on_before_optimizer_step(trainer, module, self._optimizer)
            return loss

        progress = loop.automatic_optimization.optim_progress.optimizer.step
        progress.increment_ready()
        # As a closure, because some optimizers evaluate a batch several times.
        self._optimizer.step(compute_gradients)
        progress.increment_completed()
        loop.batch_progress.increment_processed()
        for schedule in self._schedules:
            loop.scheduler_progress.increment_ready()
            schedule.step()
            loop.scheduler_progress.increment_completed()
        for callback in callbacks:
            callback.on_train_batch_end(trainer, module, {"loss": losses[-1]}, batch, index)
        loop.batch_progress.increment_completed()
        loop._batches_that_stepped += 1

    def _clear_gradients(self) -> None:
        for group in self._optimizer.param_groups:
            for parameter in group["params"]:
                # Cheaper than zeros, and what Lightning does by default.
                parameter.grad = None


def _get_callbacks(trainer: Trainer) -> list[Callback]:
    # Lightning sets the attribute outside its class, where type checkers do not see it.
    callbacks: list[Callback] = getattr(trainer, "callbacks", [])
    return callbacks


def is_selective(callback: Callback) -> bool:
    """Whether a callback says which steps it needs, or has no hooks for steps."""
    # Defined by the class itself, as a derived class may need more steps.
    if "needs_step" in vars(type(callback)):
        return True
    return all(
        getattr(getattr(callback, hook), "__func__", None) is getattr(Callback, hook)
        for hook in _PER_STEP_HOOKS
    )
