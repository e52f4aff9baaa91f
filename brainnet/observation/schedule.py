"""Schedule: which steps are observed: often at first, then at a regular interval."""

import math
from collections import deque
from statistics import median
from time import perf_counter
from typing import Literal

from brainnet.errors import InputError

Every = int | Literal["auto"]
"""Steps between two observations; "auto" derives the interval from their measured cost."""

_BUDGET = 0.03  # largest share of the training time at "auto"
_WINDOW = 31  # observed and unobserved steps whose durations are remembered
_MIN_STEPS = 3  # unobserved steps needed for an estimate, because one may have ended an epoch
_UNKNOWN = 10**9  # interval until the cost is known; the first round steps are due anyway


def is_round_step(count: int) -> bool:
    """Return whether a count is 0, 1, 2, 5, 10, 20, 50, 100 …: evenly spaced on a log scale."""
    if count < 10:
        return count in (0, 1, 2, 5)
    return count % 10 == 0 and is_round_step(count // 10)


def is_due(step: int, every: int) -> bool:
    """Return whether a step is observed: round steps first, then each multiple of `every`."""
    return step % every == 0 or (step < every and is_round_step(step))


def choose_interval(observation: float, step: float, budget: float = _BUDGET) -> int:
    """Compute the smallest round interval at which observations stay within their budget.

    `observation` are the seconds that one adds to a step, and `step` those of other steps.
    """
    ratio = observation / (budget * step) if step > 0 else 1.0
    scale: int = 10 ** int(math.log10(max(ratio, 1.0)))
    return next(factor * scale for factor in (1, 2, 5, 10) if factor * scale >= ratio)


class AdaptiveInterval:
    """Interval between observations: fixed, or adapted to the measured cost of observations.

    `background_seconds` is the processor time of the latest observations in another thread.
    """

    def __init__(self, every: Every) -> None:
        self._is_fixed = every != "auto"
        self.interval: int = _UNKNOWN if every == "auto" else every
        self.background_seconds: deque[float] = deque(maxlen=_WINDOW)
        self._step_seconds: deque[float] = deque(maxlen=_WINDOW)
        self._observed_seconds: deque[float] = deque(maxlen=_WINDOW)
        self._step: int | None = None
        self._start_time = 0.0

    def is_due(self, step: int) -> bool:
        """Return whether the step that begins is observed; can be asked repeatedly."""
        if not self._is_fixed and step != self._step:
            now = perf_counter()
            if self._step is not None:
                self._add_seconds(
                    now - self._start_time, observed=is_due(self._step, self.interval)
                )
            self._step, self._start_time = step, now
        return is_due(step, self.interval)

    def _add_seconds(self, seconds: float, *, observed: bool) -> None:
        """Add the duration of a step, and adapt the interval if that matters."""
        (self._observed_seconds if observed else self._step_seconds).append(seconds)
        is_known = self._observed_seconds and len(self._step_seconds) >= _MIN_STEPS
        # Only when new durations matter, so that most steps cost next to nothing.
        if is_known and (observed or self.interval == _UNKNOWN):
            step = median(self._step_seconds)
            added = max(median(self._observed_seconds) - step, 0.0)
            # A copy, because another thread may append to it.
            added += median(list(self.background_seconds) or [0.0])
            # At an interval of 1, no unobserved step would be left for comparison.
            self.interval = max(2, choose_interval(added, step))


def check_interval(every: object, name: str) -> Every:
    """Return the interval, or raise an `InputError` with the name of the parameter."""
    if every == "auto":
        return "auto"
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise InputError(
            f"{name} must be a positive number of steps or auto; got {every!r}. "
            f"Set {name}=50 to observe every 50th step."
        )
    return every
