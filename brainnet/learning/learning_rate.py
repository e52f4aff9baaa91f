"""Learning rate: the size of the step; too big and you panic, too small and you never learn."""

import inspect
import math

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LRScheduler,
    OneCycleLR,
    StepLR,
)

from brainnet import concepts


class WarmupCosine(LRScheduler):
    """Careful first steps, then full ones, then smaller and smaller ones down to rest.

    The rate rises in a straight line over the warm-up (Goyal et al., 2017) and falls along half a
    cosine to zero (Loshchilov & Hutter, 2017). Step it once per optimizer step.

    Args:
        optimizer: whose learning rates are scaled.
        total_steps: optimizer steps of the whole run.
        warmup: share of the steps that rise, in [0, 1).
        last_epoch: the last step done, as in every scheduler of PyTorch; -1 to begin.

    Raises:
        ValueError: where `total_steps` is not positive or `warmup` is out of range.
    """

    concept = concepts.LEARNING_RATE

    def __init__(
        self, optimizer: Optimizer, total_steps: int, warmup: float = 0.1, last_epoch: int = -1
    ) -> None:
        if total_steps < 1 or not 0 <= warmup < 1:
            raise ValueError(
                "a schedule needs at least one step in all, and a share from 0 up to, not "
                f"including, 1 to warm up; got total_steps={total_steps}, warmup={warmup}."
            )
        self.total_steps = total_steps
        self.warmup = warmup
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """The rates of the step about to be taken, one per parameter group."""
        return [base * self._factor(self.last_epoch) for base in self.base_lrs]

    def _factor(self, step: int) -> float:
        rising = round(self.warmup * self.total_steps)
        if step < rising:
            return (step + 1) / (rising + 1)
        progress = min(1.0, (step - rising) / max(1, self.total_steps - rising))
        return (1 + math.cos(math.pi * progress)) / 2


SCHEDULES: dict[str, type[LRScheduler]] = {
    "cosine": CosineAnnealingLR,
    "one_cycle": OneCycleLR,
    "warmup_cosine": WarmupCosine,
    "exponential": ExponentialLR,
    "step": StepLR,
}

"""Schedules by name, each stepped once per optimizer step; a constant rate needs none."""

_FINAL_FRACTION = 0.01

"""What an exponential schedule leaves of the learning rate at the end of a run."""


def fill_run_settings(optimizer: Optimizer, total_steps: int) -> dict[str, float]:
    """What schedules ask about the run they move through, by the names PyTorch has for it.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.5)
        >>> settings = settings_of_run(optimizer, total_steps=300)
        >>> settings["max_lr"], settings["step_size"], settings["T_max"]
        (0.5, 100, 300)
    """
    return {
        "T_max": total_steps,
        "total_steps": total_steps,
        "step_size": max(1, total_steps // 3),
        "gamma": _FINAL_FRACTION ** (1 / total_steps),
        "max_lr": optimizer.param_groups[0]["lr"],
    }


def find_run_settings(schedule: type[LRScheduler]) -> list[str]:
    """The settings that a schedule cannot do without and has no value for by itself.

    Example:
        >>> left_to_run(ExponentialLR), left_to_run(StepLR), left_to_run(OneCycleLR)
        (['gamma'], ['step_size'], ['max_lr', 'total_steps'])
    """
    asked = ("T_max", "total_steps", "step_size", "gamma", "max_lr")
    parameters = inspect.signature(schedule).parameters.values()
    return [p.name for p in parameters if p.name in asked and p.default in (p.empty, None)]
