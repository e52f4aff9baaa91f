"""Tensors of more than 2^31 elements, whose indices need 64 bits."""

from pathlib import Path

import pytest
import torch

from brainnet.kernels import build, dispatch
from brainnet.kernels.counters import create_counters, read_counters
from brainnet.kernels.histogram_layout import STATISTICS_LAYOUT as LAYOUT
from brainnet.kernels.statistics import compute_statistics
from brainnet.kernels.threshold_ramp import threshold_ramp

ROWS, NEURONS = 2**29 + 3, 4
LAST = [-1.0, 0.5, 2.0, float("nan")]


def free_gigabytes() -> float:
    """Available memory, where the system reports it."""
    meminfo = Path("/proc/meminfo")
    lines = meminfo.read_text().splitlines() if meminfo.exists() else []
    actual = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
    return actual[0] / 1e6 if actual else 0.0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.native,
    pytest.mark.skipif(build.find_library() is None, reason="not built: brainnet kernels build"),
    pytest.mark.skipif(free_gigabytes() < 16, reason="needs 16 GB of free memory"),
]


@pytest.fixture(scope="module")
def inputs() -> torch.Tensor:
    """Zeros, but for the last row."""
    dispatch.reset_dispatch()
    assert dispatch.read_status()["cpu"]["path"] == "native"
    inputs = torch.zeros(ROWS, NEURONS, dtype=torch.bfloat16)
    inputs[-1] = torch.tensor(LAST)
    return inputs


def test_statistics_of_a_large_tensor(inputs):
    (row,) = compute_statistics([inputs])
    counts = row[[LAYOUT.count, LAYOUT.non_finite, LAYOUT.zeros]]
    assert counts.tolist() == [ROWS * NEURONS, 1, ROWS * NEURONS - 4]
    moments = row.view(torch.float64)[[LAYOUT.sum, LAYOUT.minimum, LAYOUT.maximum]]
    assert moments.tolist() == [1.5, -1.0, 2.0]


def test_threshold_ramp_of_a_large_tensor(inputs):
    width = torch.full((NEURONS,), 4.0, requires_grad=True)
    counters = create_counters(NEURONS)
    inputs.requires_grad_()
    outputs = threshold_ramp(inputs, torch.full((NEURONS,), -1.0), width, counters=counters)
    torch.testing.assert_close(
        outputs[-1], torch.tensor([0.0, 0.375, 0.75, float("nan")]).bfloat16(), equal_nan=True
    )
    seen = read_counters(counters)
    assert seen.silent == (1, 0, 0, 0)
    assert seen.ramp == (ROWS - 1, ROWS, ROWS, ROWS - 1)
    assert seen.not_finite == (0, 0, 0, 1)
    outputs.backward(torch.ones((), dtype=torch.bfloat16).expand_as(outputs))
    assert inputs.grad[-1].tolist() == [0.0, 0.25, 0.25, 0.0]
    assert inputs.grad[-2].tolist() == [0.25] * NEURONS
    expected = -torch.tensor([0.25, 0.25, 0.25]) * 0.25 * (ROWS - 1)
    expected -= torch.tensor([0.0, 0.375 * 0.25, 0.75 * 0.25])
    torch.testing.assert_close(width.grad[:3], expected)
    assert width.grad[3].isnan()
