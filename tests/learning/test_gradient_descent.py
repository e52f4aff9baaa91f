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


@pytest.mark.parametrize("how", [{"foreach": True}, {"foreach": False}, {"fused": True}])
def test_a_step_is_told_by_the_slope_that_it_was_taken_on(how: dict[str, bool]) -> None:
    value = torch.nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))
    descent = GradientDescent([value], lr=0.1, momentum=0.9, nesterov=True, **how)
    for _ in range(3):
        descent.zero_grad()
        value.square().sum().backward()
        start, slope = value.detach().clone(), value.grad.clone()
        (told,) = descent.tell_step()
    assert told.slope == pytest.approx(slope.norm().item())
    promised = -(slope * (value.detach() - start)).sum().item()
    assert told.predicted_decrease == pytest.approx(promised)


def test_with_a_closure_the_slope_is_that_of_the_closure() -> None:
    value = torch.nn.Parameter(torch.tensor([2.0]))
    descent = GradientDescent([value], lr=0.1)
    asked = []

    def closure() -> float:
        descent.zero_grad()
        loss = value.square().sum()
        loss.backward()
        asked.append(loss.item())
        return asked[-1]

    with torch.no_grad():
        (told,) = descent.tell_step(closure)
    assert (told.slope, asked) == (4.0, [4.0])
    assert value.item() == pytest.approx(1.6)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_steep_ground_in_few_bits(kind: torch.dtype) -> None:
    value = torch.nn.Parameter(torch.full((16,), 2.0**14, dtype=kind))
    value.grad = torch.full_like(value, 2.0**15)
    (told,) = GradientDescent([value], lr=0.25).tell_step()
    assert told.slope == 2.0**17
    assert told.change == 2.0**15
    assert told.update_ratio == 0.5
    assert told.predicted_decrease == 2.0**32


def test_gradients_of_a_few_rows_are_told_as_well() -> None:
    table = torch.nn.Embedding(5, 2, sparse=True)
    (3 * table(torch.tensor([1, 1, 4]))).sum().backward()  # slopes 6, 6, 3 and 3
    (told,) = GradientDescent(table.parameters(), lr=0.5).tell_step()
    assert told.slope == pytest.approx(90**0.5)
    assert told.change == pytest.approx(90**0.5 / 2)


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
