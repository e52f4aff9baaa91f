"""Numbers that float32 merges are told, by the name of their column."""

import numpy as np
import pytest

from brainnet.data.preprocessing import Spread


@pytest.mark.parametrize(
    ("values", "merged"),
    [
        (1.7e9 + np.arange(50), True),
        (1_700_000_000 + np.arange(50), True),
        (1.7e9 + np.arange(50) * 86_400.0, False),
        (1e7 + np.arange(50), False),  # whole numbers that float32 holds
        (np.full(50, 0.1), False),
        (0.1 + np.arange(50) * 0.01, False),
        (np.array([np.nan, 1.7e9, 1.7e9 + 1]), True),
        (np.array([np.nan]), False),
        (np.zeros(0), False),
        ((1.7e9 + np.arange(50)).astype(np.float32), False),
        (np.array([1e300, 2e300]), False),
        (np.array([-np.inf, 1.0]), False),
    ],
)
def test_numbers_are_merged_where_they_differ_by_less_than_float32_tells(values, merged):
    spread = Spread("t")
    for part in np.array_split(values, 2):
        spread.add(part)
    assert spread.is_merged == merged
