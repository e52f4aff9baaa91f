"""Learning rate: the factor of each step, and its schedules."""

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

# Fraction of the initial learning rate that an exponential schedule reaches at the end.
_FINAL_FRACTION = 0.01


class WarmupCosine(LRScheduler):
    """Linear warm-up, then cosine decay to zero; to be stepped once per optimizer step.

    Goyal et al., Accurate, Large Minibatch SGD (2017); Loshchilov & Hutter, SGDR (2017).

    Args:
        optimizer: optimizer whose learning rates are scheduled.
        total_steps: number of optimizer steps of the run.
        warmup: fraction of the steps used for the warm-up, in [0, 1).
        last_epoch: index of the last step, as in PyTorch's schedulers; -1 for a new run.

    Raises:
        ValueError: if `total_steps` is not positive or `warmup` is out of range.
    """

    concept = concepts.LEARNING_RATE

    def __init__(
        self, optimizer: Optimizer, total_steps: int, warmup: float = 0.1, last_epoch: int = -1
    ) -> None:
        if total_steps < 1 or not 0 <= warmup < 1:
            raise ValueError(
                "WarmupCosine needs total_steps of at least 1 and a warmup between 0 and 1 (1 "
                f"excluded); got total_steps={total_steps}, warmup={warmup}."
            )
        self.total_steps = total_steps
        self.warmup = warmup
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """Learning rates of the next step, one per parameter group."""
        step, warmup_steps = self.last_epoch, round(self.warmup * self.total_steps)
        if step < warmup_steps:
            # The first step already has a learning rate above zero.
            factor = (step + 1) / (warmup_steps + 1)
        else:
            # Limited, because a resumed run may take more steps than planned.
            progress = min(1.0, (step - warmup_steps) / max(1, self.total_steps - warmup_steps))
            factor = (1 + math.cos(math.pi * progress)) / 2
        return [base * factor for base in self.base_lrs]


SCHEDULES: dict[str, type[LRScheduler]] = {
    "cosine": CosineAnnealingLR,
    "one_cycle": OneCycleLR,
    "warmup_cosine": WarmupCosine,
    "exponential": ExponentialLR,
    "step": StepLR,
}
"""Schedules by name, each stepped once per optimizer step; a constant rate needs none."""


def fill_run_settings(optimizer: Optimizer, total_steps: int) -> dict[str, float]:
    """Compute the arguments of schedules that depend on the run, by PyTorch's names.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.5)
        >>> settings = fill_run_settings(optimizer, total_steps=300)
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
    """Find the arguments of `fill_run_settings` that a schedule requires."""
    # Arguments that the user can leave out, because the run determines them.
    names = ("T_max", "total_steps", "step_size", "gamma", "max_lr")
    parameters = inspect.signature(schedule).parameters.values()
    return [p.name for p in parameters if p.name in names and p.default in (p.empty, None)]
