"""Learning rate: the size of the step; too big and you panic, too small and you never learn."""

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
