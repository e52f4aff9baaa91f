"""Hill: the loss along the step just taken, back from its start and on beyond its end."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

NEAREST, FARTHEST = 3.0, 24.0
"""How far to look along the step at least and at most, in lengths of it."""

POINTS_AHEAD, POINTS_BEHIND = 36, 12
"""Where the loss is measured: this many points on either side of the start."""

LARGE, FEWER = 2**20, 3
"""Of a network with more weights than this, only every third of these points is measured."""


@dataclass(frozen=True, slots=True)
class Hill:
    """A slice through the loss.

    Attributes:
        positions: where along the step, in lengths of it: 0 is its start, 1 its end.
        losses: how high the loss is there.
        start: the loss before the step.
        end: the loss after it.
    """

    positions: tuple[float, ...]
    losses: tuple[float, ...]
    start: float
    end: float

    @property
    def slope(self) -> float:
        """Steepness at the start, in loss per length of the step; below zero it goes downhill.

        The central difference of the two neighbours.
        """
        here = self.positions.index(0.0)
        rise = self.losses[here + 1] - self.losses[here - 1]
        return rise / (self.positions[here + 1] - self.positions[here - 1])

    @property
    def bottom(self) -> float:
        """Where the loss is lowest."""
        return self.positions[self.losses.index(min(self.losses))]

    @property
    def verdict(self) -> str:
        """Whether the step was too short, about right, or overshot, in plain words."""
        if not all(map(math.isfinite, (*self.losses, self.start, self.end))):
            return "Somewhere along this line the loss is no number any more."
        if self.slope >= 0:
            return "Uphill: this batch pointed another way than the rows it is judged by."
        if self.end > self.start:
            return "Overshot: past the bottom and up the other side, higher than before."
        if self.bottom < 0.75:
            return "A little far: past the bottom, though still lower than before."
        if self.bottom <= 2:
            return "About right: the step ends near the bottom of its slope."
        if self.bottom < self.positions[-1]:
            return f"Short: the bottom of this slope lies about {self.bottom:.0f} such steps away."
        return f"Short: even {self.bottom:.0f} such steps would still lead downhill."


@torch.no_grad()
def hill(
    network: nn.Module,
    judge: Callable[[Tensor], Tensor],
    inputs: Tensor,
    start: Mapping[str, Tensor],
    end: Mapping[str, Tensor],
) -> Hill:
    """Measure the loss on a line through two states of a network, without touching its own.

    It looks three lengths of the step ahead and, where the ground still falls there, up to 24.

    Args:
        network: whose parameters have the names of `start` and `end`; its mode is left as it is.
        judge: from the network's outputs to the loss.
        inputs: the rows to judge by, (rows, inputs).
        start: parameters by name, before the step.
        end: the same, after it.

    Example:
        >>> network = nn.Linear(1, 1, bias=False)
        >>> start, end = {"weight": torch.tensor([[2.0]])}, {"weight": torch.tensor([[0.0]])}
        >>> square = lambda outputs: outputs.square().mean()
        >>> found = hill(network, square, torch.ones(1, 1), start, end)
        >>> round(found.slope, 3), found.bottom, found.verdict
        (-8.0, 1.0, 'About right: the step ends near the bottom of its slope.')
    """
    moved = {name: torch.empty_like(each) for name, each in start.items()}

    def loss_at(position: float) -> float:
        for name, place in moved.items():
            torch.lerp(start[name], end[name], position, out=place)
        return float(judge(functional_call(network, moved, inputs)))

    reach, lowest = NEAREST, loss_at(1.0)
    while reach < FARTHEST and (ahead := loss_at(reach)) < lowest:
        reach, lowest = 2 * reach, ahead
    stride = FEWER if sum(each.numel() for each in start.values()) > LARGE else 1
    points = {-1, 1, *range(-POINTS_BEHIND, POINTS_AHEAD + 1, stride)}  # 0's own neighbours always
    positions = tuple(reach * point / POINTS_AHEAD for point in sorted(points))
    losses = tuple(loss_at(position) for position in positions)
    start_loss, end_loss = losses[positions.index(0.0)], loss_at(1.0)
    return Hill(positions, losses, start=start_loss, end=end_loss)
