"""Spread: which numbers lie so close together, far from 0, that float32 cannot tell them apart."""

from collections.abc import Iterator, Sequence

import numpy as np

from brainnet.data.cells import Numbers
from brainnet.data.notes import note

# Numbers that take up fewer steps of float32 than this have lost what told them apart.
_STEPS = 1024
_LARGEST = float(np.finfo(np.float32).max)


class Spread:
    """How far apart the numbers of a column are, from all its rows.

    Args:
        name: of the column.

    Example:
        >>> seconds = Spread("seconds")
        >>> seconds.add(1_700_000_000.0 + np.arange(50))
        >>> seconds.is_merged
        True
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._least, self._most = np.inf, -np.inf
        self._inexact = False

    def add(self, values: Numbers) -> None:
        """Take note of numbers (rows,), NaN among them where one is missing."""
        if not len(values) or values.dtype.itemsize < 8:
            return
        self.widen(values, float(np.fmin.reduce(values)), float(np.fmax.reduce(values)))

    def widen(self, values: Numbers, least: float, most: float) -> None:
        """Take note of numbers (rows,) of 64 bits, the least and the most of which are known."""
        self._least, self._most = min(self._least, least), max(self._most, most)
        if self._is_narrow and not self._inexact:
            there = values[~np.isnan(values)]
            self._inexact = bool((there.astype(np.float32) != there).any())

    @property
    def _is_narrow(self) -> bool:
        size = max(abs(self._least), abs(self._most))
        if not np.isfinite(size) or size > _LARGEST:
            return False
        step = float(np.spacing(np.float32(size)))
        return 0 < self._most - self._least < _STEPS * step

    @property
    def is_merged(self) -> bool:
        """Whether different numbers become one and the same."""
        return self._inexact and self._is_narrow

    @property
    def told(self) -> str:
        """From where to where they go, and what 32 bits make of it."""
        return (
            f"goes from {self._least:.15g} to {self._most:.15g}, so close together that numbers of "
            "32 bits cannot tell all of them apart"
        )

    @property
    def advice(self) -> str:
        """What helps."""
        return f"Subtract {self._least:.15g} from it"

    def tell(self, what: str = "column", where: str = " in the file") -> None:
        """Say so, and what helps.

        Args:
            what: the numbers are.
            where: they can be made others.
        """
        note(
            f"{what} {self.name!r} {self.told}. {self.advice}{where} to learn from the differences."
        )


def extremes(table: Numbers) -> tuple[Numbers, Numbers]:
    """The least and the most of each column of an array (rows, columns), whatever is missing."""
    return np.fmin.reduce(table), np.fmax.reduce(table)


def spreads_of(table: Numbers, names: Sequence[str]) -> Iterator[Spread]:
    """Yield the spreads of those columns of an array (rows, columns) that may be merged."""
    if table.dtype.itemsize < 8 or not len(table):
        return
    least, most = (found.astype(np.float64) for found in extremes(table))
    with np.errstate(over="ignore", invalid="ignore"):
        step = np.spacing(np.maximum(abs(least), abs(most)).astype(np.float32))
        narrow = most - least < 2 * _STEPS * step
    for place in np.flatnonzero(narrow).tolist():
        spread = Spread(names[place])
        spread.add(table[:, place])
        yield spread
