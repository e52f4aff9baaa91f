"""Cadence: when to look; often while everything is new, then at a steady stride."""

import math
from collections import deque
from collections.abc import Iterable
from statistics import median
from time import perf_counter
from typing import Literal

from brainnet.errors import InputError

Every = int | Literal["auto"]

"""Steps between two looks; "auto": as many as keep the looking within its budget."""

BUDGET = 0.03

"""Share of a training's time that looking may take, where the stride is left to it."""

REMEMBERED = 31

"""Steps of either kind from whose times the stride follows."""

ENOUGH = 3

"""Steps without a look that have to be known first: one may have ended an epoch."""

_UNKNOWN = 10**9  # the first, round ones come anyway


def is_round_step(count: int) -> bool:
    """Whether a count is 0, 1, 2, 5, 10, 20, 50, 100 …: evenly spaced on a logarithmic scale.

    Example:
        >>> [count for count in range(60) if is_round(count)]
        [0, 1, 2, 5, 10, 20, 50]
    """
    if count < 10:
        return count in (0, 1, 2, 5)
    return count % 10 == 0 and is_round_step(count // 10)


def is_due(step: int, every: int) -> bool:
    """Whether to look at a step: at the round ones first, then at each multiple of `every`.

    Args:
        step: optimizer steps taken so far; 0 is the untrained network.
        every: the stride, in optimizer steps.

    Example:
        >>> [step for step in range(151) if due(step, every=50)]
        [0, 1, 2, 5, 10, 20, 50, 100, 150]
    """
    return step % every == 0 or (step < every and is_round_step(step))


def choose_interval(look: float, step: float, budget: float = BUDGET) -> int:
    """The smallest round stride at which looking takes no more than its share of the time.

    Args:
        look: seconds that a look takes.
        step: seconds of a step without one.
        budget: the share.

    Example:
        >>> stride_within(look=0.002, step=0.0002), stride_within(look=0.04, step=0.05)
        (500, 50)
    """
    wanted = look / (budget * step) if step > 0 else 1.0
    scale: int = 10 ** int(math.log10(max(wanted, 1.0)))
    return next(factor * scale for factor in (1, 2, 5, 10) if factor * scale >= wanted)


class AdaptiveInterval:
    """When to look: at a stride that was given, or at one that follows from what looking costs.

    Args:
        every: the stride, or "auto".

    Attributes:
        stride: steps between two looks, as of now.
    """

    def __init__(self, every: Every) -> None:
        self._given = every != "auto"
        self.stride: int = _UNKNOWN if every == "auto" else every
        self._steps: deque[float] = deque(maxlen=REMEMBERED)
        self._looks: deque[float] = deque(maxlen=REMEMBERED)
        self._aside: deque[float] = deque(maxlen=REMEMBERED)
        self._last: float | None = None

    def due(self, step: int) -> bool:
        """Whether to look at a step."""
        return is_due(step, self.stride)

    def passed(self, *, looked: bool, aside: Iterable[float] = ()) -> None:
        """Note the end of a step.

        Args:
            looked: whether it was looked at.
            aside: seconds that looks took elsewhere, in a thread that reads and writes; of those
                that are known by now, which are not this one's.
        """
        if self._given:
            return
        now = perf_counter()
        if self._last is not None:
            (self._looks if looked else self._steps).append(now - self._last)
        self._last = now
        self._aside.extend(aside)
        # Reckoned only where times have come that bear on it: most steps cost next to nothing.
        known = self._looks and len(self._steps) >= ENOUGH
        if known and (looked or self.stride == _UNKNOWN):
            step = median(self._steps)
            look = max(median(self._looks) - step, 0.0) + median(self._aside or [0.0])
            # With looks at all steps no step would be left to compare them with.
            self.stride = max(2, choose_interval(look, step))


def check_interval(every: object, name: str) -> Every:
    """The stride itself, if it is one.

    Args:
        every: what the user gave.
        name: how the user knows it, for the message.

    Raises:
        InputError: where it is neither a whole number of at least 1 nor "auto".
    """
    if every == "auto":
        return "auto"
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise InputError(
            f"{name} needs a whole number of steps, 1 or more, or auto; got {every!r}. "
            f"Set {name}=50 to look at every fiftieth step."
        )
    return every
