"""Choices: the loss, the optimizer and the schedule of a run, by their names."""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from brainnet.errors import InputError
from brainnet.learning.gradient_descent import OPTIMIZERS
from brainnet.learning.learning_rate import SCHEDULES, left_to_run, settings_of_run
from brainnet.learning.loss import DEFAULT_LOSS, LOSSES, Task
from brainnet.suggestion import did_you_mean
from brainnet.training.module import OptimizerFactory, ScheduleFactory

Chosen = TypeVar("Chosen")


def loss_for(choice: str | nn.Module, task: Task, outputs: int | None = None) -> nn.Module:
    """Return the loss of that name; "auto" is the one that fits the task, and the network.

    Args:
        choice: a name, "auto", or a loss to take as it is.
        task: what is to be learnt.
        outputs: of the network; with two, two classes are told apart by one output each.

    Raises:
        InputError: there is no such loss.

    Example:
        >>> type(loss_for("auto", "regression")).__name__
        'MeanSquaredError'
        >>> type(loss_for("auto", "binary", outputs=2)).__name__
        'CrossEntropy'
    """
    if isinstance(choice, nn.Module):
        return choice
    one_each = task == "binary" and outputs == 2
    fitting = "cross_entropy" if one_each else DEFAULT_LOSS[task]
    name = fitting if choice == "auto" else choice
    return _named("loss", name, LOSSES, "auto")()


def optimizer_for(choice: str | OptimizerFactory, learning_rate: float) -> OptimizerFactory:
    """Return what makes the optimizer of that name.

    Raises:
        InputError: there is no such optimizer.
    """
    if not isinstance(choice, str):
        return choice
    kind: Callable[..., Optimizer] = _named("optimizer", choice, OPTIMIZERS)

    def optimizer(parameters: Iterable[nn.Parameter]) -> Optimizer:
        return kind(parameters, lr=learning_rate)

    return optimizer


def schedule_for(choice: str | ScheduleFactory) -> ScheduleFactory | None:
    """Return what makes the schedule of that name from optimizer and number of steps.

    Raises:
        InputError: there is no such schedule.
    """
    if not isinstance(choice, str):
        return choice
    if choice == "constant":
        return None
    kind = _named("schedule", choice, SCHEDULES, "constant")
    make: Callable[..., LRScheduler] = kind

    def schedule(optimizer: Optimizer, total_steps: int) -> LRScheduler:
        settings = settings_of_run(optimizer, total_steps)
        return make(optimizer, **{name: settings[name] for name in left_to_run(kind)})

    return schedule


def _named(what: str, name: str, table: Mapping[str, Chosen], *more: str) -> Chosen:
    if name not in table:
        known = [*more, *table]
        raise InputError(
            f"there is no {what} {name!r}.{did_you_mean(str(name), known)} "
            f"Choose one of {', '.join(known)}."
        )
    return table[name]
