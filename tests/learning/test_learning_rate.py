"""The size of the step over a run."""

import math

import pytest
import torch

from brainnet.learning.learning_rate import WarmupCosine


def rates(total_steps: int, warmup: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = WarmupCosine(optimizer, total_steps=total_steps, warmup=warmup)
    seen = []
    for _ in range(total_steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_rises_in_a_line_and_falls_along_a_cosine() -> None:
    seen = rates(100, 0.1)
    assert seen[:10] == pytest.approx([2.0 * (step + 1) / 11 for step in range(10)])
    falling = [1 + math.cos(math.pi * step / 90) for step in range(90)]
    assert seen[10:] == pytest.approx(falling)
    assert max(seen) == seen[10] == 2.0


def test_without_warm_up_it_is_pytorchs_cosine() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    expected = []
    for _ in range(50):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        cosine.step()
    assert rates(50, 0.0) == pytest.approx(expected, abs=1e-12)


def test_state_resumes_where_it_was() -> None:
    first = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = WarmupCosine(first, total_steps=10)
    for _ in range(4):
        first.step()
        schedule.step()
    second = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    resumed = WarmupCosine(second, total_steps=10)
    resumed.load_state_dict(schedule.state_dict())
    assert resumed.get_last_lr() == schedule.get_last_lr()


@pytest.mark.parametrize(("total_steps", "warmup"), [(0, 0.1), (10, 1.0), (10, -0.1)])
def test_out_of_range(total_steps: int, warmup: float) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    with pytest.raises(ValueError, match="at least one step"):
        WarmupCosine(optimizer, total_steps=total_steps, warmup=warmup)
