"""Words: what the pages of a run say alike."""

import math
from collections.abc import Iterator

from brainnet.figures import clipped, figure
from brainnet.portrait.weights import Connection
from brainnet.reasons.damage import Damage

NO_ROWS = (
    "That takes the rows of the run, and these are not stored: they were handed over in Python, or "
    "are gone."
)

NO_READINGS = (
    "Nobody looked on while it learned (observe=off), so that little is known of the way here."
)

Lines = Iterator[str]


def counted(count: int, noun: str) -> str:
    """So many of something.

    Example:
        >>> counted(1, "step"), counted(1200, "step")
        ('1 step', '1,200 steps')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def number_told(value: float | str | None, digits: int | None = None, *, sign: bool = False) -> str:
    """What `figure` makes of it; of a number that is none, that it is not finite.

    Example:
        >>> number_told(0.5, 2, sign=True), number_told(math.nan)
        ('+0.50', 'not finite')
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "not finite"
    return figure(value, digits, sign=sign)


def connection_told(each: Connection | Damage, room: int = 20) -> str:
    """From what to what, cut to fit."""
    return f"{clipped(each.source, room)} → {clipped(each.target, min(room, 16))}"
