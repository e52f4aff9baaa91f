"""Layout of a statistics table: the meaning of its columns and the bins of its histogram."""

import math
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class StatisticsLayout:
    """Columns of a statistics table: int64, one row per tensor.

    Counts are plain integers. Minimum, maximum and the two sums are the bits of a float64, so that
    one tensor holds both. All columns except the first two describe finite values only.

    The histogram is symmetric around a bin for exact zeros. On each side, from the center outwards:
    one bin below `2**lowest`; four bins per octave, which begin at 1, 1.25, 1.5 and 1.75 times a
    power of two (the top two bits of the mantissa); one bin from `2**highest` on. A bin includes
    its edge closer to zero. The bins are the same for all dtypes.

    Example:
        >>> STATISTICS_LAYOUT.width, STATISTICS_LAYOUT.bins, STATISTICS_LAYOUT.zeros
        (779, 773, 392)
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
        """Number of bins on one side of zero, without the two outermost and innermost ones."""
        return (self.highest - self.lowest) * self.per_octave

    @property
    def bins(self) -> int:
        """Number of bins."""
        return 2 * (self.steps + 2) + 1

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.first_bin + self.bins

    @property
    def zeros(self) -> int:
        """Column of the bin for exact zeros of either sign."""
        return self.first_bin + self.steps + 2

    @cached_property
    def edges(self) -> tuple[float, ...]:
        """Upper edge of each bin but the last, ascending; the bin of zeros has no width."""
        octaves = range(self.lowest * self.per_octave, self.highest * self.per_octave + 1)
        positive = [
            math.ldexp(1 + step % self.per_octave / self.per_octave, step // self.per_octave)
            for step in octaves
        ]
        return (*(-edge for edge in reversed(positive)), 0.0, 0.0, *positive)


STATISTICS_LAYOUT = StatisticsLayout()
