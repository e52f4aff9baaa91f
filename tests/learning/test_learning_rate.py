"""Learning rate schedules."""

import math

import pytest
import torch

from brainnet.learning.learning_rate import WarmupCosine


def list_rates(total_steps: int, warmup: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = WarmupCosine(optimizer, total_steps=total_steps, warmup=warmup)
    rates = []
    for _ in range(total_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_linear_warmup_and_cosine_decay() -> None:
    rates = list_rates(100, 0.1)
    assert rates[:10] == pytest.approx([2.0 * (step + 1) / 11 for step in range(10)])
    falling = [1 + math.cos(math.pi * step / 90) for step in range(90)]
    assert rates[10:] == pytest.approx(falling)
    assert max(rates) == rates[10] == 2.0


def test_without_warmup_equals_torch_cosine() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    expected = []
    for _ in range(50):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        cosine.step()
    assert list_rates(50, 0.0) == pytest.approx(expected, abs=1e-12)


def test_state_can_be_restored() -> None:
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
def test_invalid_arguments_are_rejected(total_steps: int, warmup: float) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    with pytest.raises(ValueError, match="total_steps of at least 1"):
        WarmupCosine(optimizer, total_steps=total_steps, warmup=warmup)
