"""Gradient descent: steps, their reports, and convergence on a parabola."""

import itertools

import pytest
import torch

from brainnet.learning.gradient_descent import OPTIMIZERS, GradientDescent


def descend(start: float, learning_rate: float, steps: int) -> list[float]:
    """Return the positions of gradient descent on x²."""
    place = torch.nn.Parameter(torch.tensor([start]))
    descent = GradientDescent([place], lr=learning_rate)
    path = [start]
    for _ in range(steps):
        descent.zero_grad()
        place.square().sum().backward()
        descent.step()
        path.append(place.item())
    return path


def test_step_is_proportional_to_the_gradient() -> None:
    steep, flat = descend(8.0, 0.1, 1), descend(2.0, 0.1, 1)
    assert steep[0] - steep[1] == pytest.approx(4 * (flat[0] - flat[1]))


def test_descent_converges() -> None:
    path = descend(5.0, 0.1, 100)
    assert abs(path[-1]) < 1e-6
    assert all(abs(later) < abs(earlier) for earlier, later in itertools.pairwise(path))


def test_zero_learning_rate_changes_nothing() -> None:
    assert descend(5.0, 0.0, 20) == [5.0] * 21


def test_large_learning_rate_diverges() -> None:
    path = descend(5.0, 1.5, 10)
    assert all(abs(later) > abs(earlier) for earlier, later in itertools.pairwise(path))
    assert all(later * earlier < 0 for earlier, later in itertools.pairwise(path))


def test_equals_torch_sgd() -> None:
    torch.manual_seed(0)
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}
    actual = torch.nn.Parameter(torch.randn(5))
    reference = torch.nn.Parameter(actual.detach().clone())
    pairs = [
        (actual, GradientDescent([actual], **options)),
        (reference, torch.optim.SGD([reference], **options)),
    ]
    for _ in range(5):
        for value, optimizer in pairs:
            optimizer.zero_grad()
            value.pow(4).sum().backward()
            optimizer.step()
    assert torch.equal(actual, reference)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_decreases_the_loss(name: str) -> None:
    value = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = OPTIMIZERS[name]([value], lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        value.square().sum().backward()
        optimizer.step()
    assert value.item() < 1.0
