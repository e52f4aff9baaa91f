import math

import pytest
import torch
from torch import nn

from brainnet.observation.plots import FARTHEST, LossSlice, compute_loss_slice


def square_hill(end):
    """The parabola w², seen along a step from 1 to `end`."""
    network = nn.Linear(1, 1, bias=False)
    states = ({"weight": torch.tensor([[value]])} for value in (1.0, end))
    return compute_loss_slice(
        network, lambda outputs: outputs.square().mean(), torch.ones(1, 1), *states
    )


def test_heights_and_slope_are_those_of_the_parabola():
    found = square_hill(0.5)
    assert (found.start, found.end) == (1.0, 0.25)
    assert found.slope == pytest.approx(-1.0, rel=1e-4)
    assert found.bottom == 2.0
    assert found.losses == pytest.approx(
        [(1 - 0.5 * position) ** 2 for position in found.positions], abs=1e-6
    )


@pytest.mark.parametrize(
    ("end", "verdict"),
    [
        (0.99, "Short: even 24 such steps"),
        (0.9, "Short: the bottom of this slope lies about 10 such steps away."),
        (0.2, "About right"),
        (-0.6, "A little far"),
        (-1.5, "Overshot"),
        (1.1, "Uphill"),
        (math.inf, "Somewhere along this line the loss is no number"),
    ],
)
def test_the_verdict_says_whether_the_step_was_right(end, verdict):
    assert square_hill(end).verdict.startswith(verdict)


def test_it_looks_only_as_far_as_it_must():
    assert square_hill(0.0).positions[-1] == 3.0
    assert square_hill(0.999).positions[-1] == FARTHEST


def test_the_network_is_left_as_it_was():
    network = nn.Linear(2, 1)
    start = {name: value.detach().clone() for name, value in network.named_parameters()}
    end = {name: value + 1 for name, value in start.items()}
    compute_loss_slice(
        network, lambda outputs: outputs.square().mean(), torch.ones(3, 2), start, end
    )
    for name, value in network.named_parameters():
        assert torch.equal(value, start[name])
        assert value.grad is None


def test_a_hill_is_plain_numbers():
    found = square_hill(0.5)
    assert isinstance(found, LossSlice)
    assert all(isinstance(loss, float) for loss in found.losses)


def test_of_a_large_network_fewer_points_are_measured_and_the_slope_is_as_exact(monkeypatch):
    every = square_hill(0.5)
    monkeypatch.setattr("brainnet.observation.plots.LARGE", 0)
    fewer = square_hill(0.5)
    assert len(fewer.positions) < len(every.positions) / 2
    assert set(fewer.positions) < set(every.positions)
    assert (fewer.slope, fewer.start, fewer.end) == (every.slope, every.start, every.end)
    assert (fewer.bottom, fewer.verdict) == (every.bottom, every.verdict)
