"""Stepping downhill: the sentences of the explanation, held as tests."""

import itertools

import pytest
import torch

from brainnet.learning.gradient_descent import OPTIMIZERS, GradientDescent


def walk(start: float, learning_rate: float, steps: int) -> list[float]:
    """Where the walker stands on the valley x², step by step."""
    place = torch.nn.Parameter(torch.tensor([start]))
    descent = GradientDescent([place], lr=learning_rate)
    path = [start]
    for _ in range(steps):
        descent.zero_grad()
        place.square().sum().backward()
        descent.step()
        path.append(place.item())
    return path


def test_the_step_is_proportional_to_the_gradient() -> None:
    steep, flat = walk(8.0, 0.1, 1), walk(2.0, 0.1, 1)
    assert steep[0] - steep[1] == pytest.approx(4 * (flat[0] - flat[1]))


def test_step_after_step_it_reaches_the_valley() -> None:
    path = walk(5.0, 0.1, 100)
    assert abs(path[-1]) < 1e-6
    assert all(abs(later) < abs(earlier) for earlier, later in itertools.pairwise(path))


def test_zero_learning_rate_never_learns() -> None:
    assert walk(5.0, 0.0, 20) == [5.0] * 21


def test_a_huge_learning_rate_overshoots_and_panics() -> None:
    path = walk(5.0, 1.5, 10)
    assert all(abs(later) > abs(earlier) for earlier, later in itertools.pairwise(path))
    assert all(later * earlier < 0 for earlier, later in itertools.pairwise(path))


def test_it_is_pytorchs_sgd() -> None:
    torch.manual_seed(0)
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}
    ours = torch.nn.Parameter(torch.randn(5))
    theirs = torch.nn.Parameter(ours.detach().clone())
    pairs = [
        (ours, GradientDescent([ours], **options)),
        (theirs, torch.optim.SGD([theirs], **options)),
    ]
    for _ in range(5):
        for value, optimizer in pairs:
            optimizer.zero_grad()
            value.pow(4).sum().backward()
            optimizer.step()
    assert torch.equal(ours, theirs)


def test_tell_step_says_what_happened() -> None:
    weights = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    unused = torch.nn.Parameter(torch.ones(2))
    descent = GradientDescent([("weights", weights), ("unused", unused)], lr=0.5)
    (weights * torch.tensor([0.6, 0.8])).sum().backward()
    (told,) = descent.tell_step()
    assert told.name == "weights"
    assert told.learning_rate == 0.5
    assert told.slope == pytest.approx(1.0)
    assert told.change == pytest.approx(0.5)
    assert told.update_ratio == pytest.approx(0.1)
    assert told.predicted_decrease == pytest.approx(0.5)
    torch.testing.assert_close(weights.detach(), torch.tensor([2.7, 3.6]))


def test_unnamed_parameters_are_numbered_across_groups() -> None:
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": rate} for rate in (0.1, 0.2)]
    descent = GradientDescent(groups, lr=1.0)
    for group in groups:
        group["params"][0].grad = torch.ones(1)
    told = descent.tell_step()
    assert [(step.name, step.learning_rate) for step in told] == [
        ("parameter_0", 0.1),
        ("parameter_1", 0.2),
    ]


def test_from_zero_the_ratio_is_infinite() -> None:
    value = torch.nn.Parameter(torch.zeros(2))
    value.grad = torch.ones(2)
    assert GradientDescent([value], lr=0.1).tell_step()[0].update_ratio == float("inf")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_downhill(name: str) -> None:
    value = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = OPTIMIZERS[name]([value], lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        value.square().sum().backward()
        optimizer.step()
    assert value.item() < 1.0
