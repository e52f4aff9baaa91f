import itertools
import math

import pytest
import torch

from brainnet.kernels.histogram_layout import STATISTICS_LAYOUT
from brainnet.kernels.statistics import TensorStatistics, compute_statistics, read_statistics
from brainnet.observation.pending_reading import build_histograms, parse_stats

VALUES = [
    [0.0],
    [],
    [math.nan],
    [-1e30, 1e30],
    [1e-30, -1e-30, 0.0, 3.0],
    [-2.0, -1e-3, 5e-5, 1.0, 1.0],
    [math.inf, 1.0, -1.0],
    torch.randn(5000, generator=torch.Generator().manual_seed(0)).tolist(),
]


def merge_bins(row: TensorStatistics) -> list[tuple[float, float, int]]:
    """Buckets (left, right, count), ascending and without gaps, one bin after the other.

    Zeros share a bucket with the values below `2**lowest` on both sides. Adjacent empty bins become
    one empty bucket.
    """
    layout, counts = STATISTICS_LAYOUT, row.histogram
    middle = layout.steps + 2
    ends = (
        min(row.minimum, -(2.0**layout.highest)),
        *layout.edges[: middle - 1],
        *layout.edges[middle + 1 :],
        max(row.maximum, math.nextafter(2.0**layout.highest, math.inf)),
    )
    merged = [*counts[: middle - 1], sum(counts[middle - 1 : middle + 2]), *counts[middle + 2 :]]
    filled = [(ends[bin], ends[bin + 1], count) for bin, count in enumerate(merged) if count]
    buckets = filled[:1]
    for (_, end, _), bucket in itertools.pairwise(filled):
        if end < bucket[0]:
            buckets.append((end, bucket[0], 0))
        buckets.append(bucket)
    return buckets


@pytest.mark.parametrize("values", [*([each] for each in VALUES), VALUES, VALUES[::-1]])
def test_buckets_are_the_layouts_own_of_one_tensor_and_of_many(values):
    table = compute_statistics([torch.tensor(each) for each in values])
    for found, whole in zip(
        build_histograms(parse_stats(table.numpy())), read_statistics(table), strict=True
    ):
        assert (found.count, found.non_finite) == (whole.finite, whole.count - whole.finite)
        if whole.finite:
            _, edges, counts = zip(*merge_bins(whole), strict=True)
            assert (*found.edges, *found.buckets) == (*edges, *counts)
            assert (found.minimum, found.maximum) == (whole.minimum, whole.maximum)
            assert (found.total, found.total_of_squares) == (whole.sum, whole.sum_of_squares)
        else:
            assert (*found.edges, *found.buckets) == (0.0, 0)


def test_of_nothing_nothing_is_drawn():
    assert build_histograms([]) == []
