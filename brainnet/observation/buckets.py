"""Buckets: the rows of a table of statistics as plain numbers, and the histograms drawn of them."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainnet.kernels.statistics_layout import LAYOUT
from brainnet.observation.reading import Histogram


@dataclass(slots=True)
class Counted:
    """A row of a table of statistics; see `TensorStatistics`."""

    count: int
    non_finite: int
    minimum: float
    maximum: float
    sum: float
    sum_of_squares: float
    bins: NDArray[np.int64]


def rows(table: NDArray[Any]) -> list[Counted]:
    """The rows of a table of statistics that is home."""
    counts = table[:, : LAYOUT.minimum].tolist()
    moments = table[:, LAYOUT.minimum : LAYOUT.first_bin].copy().view(np.float64).tolist()
    return [
        Counted(count, non_finite, low, high, total, squares, bins)
        for (count, non_finite), (low, high, total, squares), bins in zip(
            counts, moments, table[:, LAYOUT.first_bin :], strict=True
        )
    ]


def whole(found: Sequence[Counted]) -> Counted:
    """Several rows as one, at least one of them: what was counted in several goes.

    Example:
        >>> import torch
        >>> from brainnet.kernels.statistics import statistics
        >>> one = whole(rows(statistics([torch.tensor([1.0]), torch.tensor([3.0, 3.0])]).numpy()))
        >>> one.count, one.minimum, one.maximum, one.sum
        (3, 1.0, 3.0, 7.0)
    """
    if len(found) == 1:
        return found[0]
    return Counted(
        sum(each.count for each in found),
        sum(each.non_finite for each in found),
        min(each.minimum for each in found),
        max(each.maximum for each in found),
        sum(each.sum for each in found),
        sum(each.sum_of_squares for each in found),
        np.sum([each.bins for each in found], axis=0),
    )


def histograms_of(found: Sequence[Counted]) -> list[Histogram]:
    """What is drawn of some tensors: `LAYOUT.buckets`, all of them at once and many at a time.

    Example:
        >>> import torch
        >>> from brainnet.kernels.statistics import statistics
        >>> table = statistics([torch.tensor([1.0, 1.5, torch.nan]), torch.zeros(2)]).numpy()
        >>> for histogram in histograms_of(rows(table)):
        ...     print(histogram.edges.tolist(), histogram.buckets.tolist(), histogram.non_finite)
        [1.25, 1.5, 1.75] [1, 0, 1] 1
        [5.42...e-20] [2] 0
    """
    if not found:
        return []
    edges, buckets, begins = _buckets(np.array([row.bins for row in found]))
    highest = 2.0**LAYOUT.highest
    histograms = []
    for row, begin, end in zip(found, begins, begins[1:], strict=False):
        finite = row.count - row.non_finite
        if not finite:
            histograms.append(Histogram(0, row.non_finite, 0.0, 0.0, 0.0, 0.0, _ZERO, _NONE))
            continue
        if row.maximum >= highest:  # the last bucket has no end of its own
            edges[end - 1] = max(row.maximum, math.nextafter(highest, math.inf))
        histograms.append(
            Histogram(
                finite,
                row.non_finite,
                row.minimum,
                row.maximum,
                row.sum,
                row.sum_of_squares,
                edges[begin:end],
                buckets[begin:end],
            )
        )
    return histograms


_ZERO, _NONE = np.zeros(1), np.zeros(1, dtype=np.int64)


def _buckets(
    bins: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.int64], list[int]]:
    """Upper ends and counts of the buckets of all rows, one row after the other; where each begins.

    Args:
        bins: (rows, bins); overwritten.
    """
    # Zeros share a bucket with what is too small to have one, on both sides.
    middle = LAYOUT.steps + 1
    bins[:, middle + 2] += bins[:, middle] + bins[:, middle + 1]
    bins[:, middle : middle + 2] = 0
    counts = bins.reshape(-1)
    (filled,) = (counts != 0).nonzero()  # of truths in one row: five times as fast
    row, bin = np.divmod(filled, LAYOUT.bins)
    place = bin - 2 * (bin > middle)
    # Neighbouring empty ones become one, before the next that is filled.
    gap = np.zeros(len(filled), dtype=bool)
    gap[1:] = (place[1:] > place[:-1] + 1) & (row[1:] == row[:-1])
    at = np.arange(len(filled)) + gap.cumsum()
    length = len(filled) + int(np.count_nonzero(gap))
    edges, buckets = np.empty(length), np.zeros(length, dtype=np.int64)
    ends = _ends()
    edges[at], buckets[at] = ends[place + 1], counts[filled]
    edges[at[gap] - 1] = ends[place[gap]]
    firsts = row.searchsorted(np.arange(len(bins) + 1))
    return edges, buckets, np.append(at, length)[firsts].tolist()


@functools.cache
def _ends() -> NDArray[np.float64]:
    """Where the buckets begin and end, one after the other."""
    edges, middle = LAYOUT.edges, LAYOUT.steps + 1
    return np.array([-math.inf, *edges[:middle], *edges[middle + 2 :], math.inf])
