"""The table of statistics: which column means what, and where the bins of the histogram lie."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StatisticsLayout:
    """Columns of a table of statistics: int64, one row per tensor.

    Counts are plain integers. The four other columns hold the bits of a float64, so that one
    tensor carries both, on devices without float64 too.

    The histogram has a bin for exact zeros in the middle and mirrors itself around it. Outwards
    from there, on each side: one bin below `2**lowest`; then four bins per octave, cut where the
    top two bits of the mantissa change (1, 1.25, 1.5 and 1.75 times a power of two); then one bin
    from `2**highest` on. Each bin holds its end nearer to zero. They are the same for all dtypes.

    Attributes:
        count: elements, whatever they are.
        non_finite: those that are NaN or infinite; the others stand in the histogram.
        minimum: smallest finite value (float64); infinity where there is none.
        maximum: largest finite value (float64); minus infinity where there is none.
        sum: sum of the finite values (float64).
        sum_of_squares: sum of their squares (float64).
        first_bin: column of the histogram's first bin, that of the most negative values.
        lowest: exponent at which the bins begin.
        highest: exponent at which they end.
        per_octave: bins between one power of two and the next.

    Example:
        >>> LAYOUT.width, LAYOUT.bins, LAYOUT.zeros
        (779, 773, 392)
        >>> LAYOUT.edges[387:391]  # from zero outwards
        (5.42...e-20, 6.77...e-20, 8.13...e-20, 9.48...e-20)
    """

    count: int = 0
    non_finite: int = 1
    minimum: int = 2
    maximum: int = 3
    sum: int = 4
    sum_of_squares: int = 5
    first_bin: int = 6
    lowest: int = -64
    highest: int = 32
    per_octave: int = 4

    @property
    def steps(self) -> int:
        """Bins on one side of zero, without the two for what lies below and beyond."""
        return (self.highest - self.lowest) * self.per_octave

    @property
    def bins(self) -> int:
        """Bins of the histogram."""
        return 2 * (self.steps + 2) + 1

    @property
    def width(self) -> int:
        """Columns of the table."""
        return self.first_bin + self.bins

    @property
    def zeros(self) -> int:
        """Column of the middle bin, which counts exact zeros of either sign."""
        return self.first_bin + self.steps + 2

    @property
    def edges(self) -> tuple[float, ...]:
        """Where each bin but the last ends, in ascending order; the zeros' bin has no width."""
        return _edges(self)

    def buckets(
        self, counts: Sequence[int], minimum: float, maximum: float
    ) -> list[tuple[float, float, int]]:
        """The histogram as ready buckets (left, right, count), ascending and without holes.

        Zeros share a bucket with what lies below `2**lowest` on both sides: no eye tells them
        apart. Neighbouring empty bins become one empty bucket. The outermost buckets end at the
        minimum and the maximum where the bins have no end of their own.

        Args:
            counts: the bins' counts, `bins` of them.
            minimum: smallest finite value.
            maximum: largest finite value.

        Example:
            >>> counts = [0] * LAYOUT.bins
            >>> counts[386], counts[388 + 64 * 4] = 5, 2  # zeros; from 1 on
            >>> LAYOUT.buckets(counts, 0.0, 1.0)
            [(-5.42...e-20, 5.42...e-20, 5), (5.42...e-20, 1.0, 0), (1.0, 1.25, 2)]
        """
        middle = self.steps + 2
        ends = (
            min(minimum, -(2.0**self.highest)),
            *self.edges[: middle - 1],
            *self.edges[middle + 1 :],
            max(maximum, math.nextafter(2.0**self.highest, math.inf)),
        )
        around = [
            *counts[: middle - 1],
            sum(counts[middle - 1 : middle + 2]),
            *counts[middle + 2 :],
        ]
        filled = [
            (ends[place], ends[place + 1], count) for place, count in enumerate(around) if count
        ]
        whole: list[tuple[float, float, int]] = filled[:1]
        for (_, end, _), bucket in itertools.pairwise(filled):
            if end < bucket[0]:
                whole.append((end, bucket[0], 0))
            whole.append(bucket)
        return whole


@functools.cache
def _edges(layout: StatisticsLayout) -> tuple[float, ...]:
    quarters = [1 + step / layout.per_octave for step in range(layout.per_octave)]
    upward = [
        math.ldexp(part, exponent)
        for exponent in range(layout.lowest, layout.highest)
        for part in quarters
    ]
    upward.append(math.ldexp(1.0, layout.highest))
    return (*(-edge for edge in reversed(upward)), 0.0, 0.0, *upward)


LAYOUT = StatisticsLayout()

"""The one layout that every path writes."""
