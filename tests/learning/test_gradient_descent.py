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


def test_report_of_a_step() -> None:
    weights = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    unused = torch.nn.Parameter(torch.ones(2))
    descent = GradientDescent([("weights", weights), ("unused", unused)], lr=0.5)
    (weights * torch.tensor([0.6, 0.8])).sum().backward()
    (report,) = descent.step_with_report()
    assert report.name == "weights"
    assert report.learning_rate == 0.5
    assert report.gradient_norm == pytest.approx(1.0)
    assert report.update_norm == pytest.approx(0.5)
    assert report.update_ratio == pytest.approx(0.1)
    assert report.predicted_decrease == pytest.approx(0.5)
    torch.testing.assert_close(weights.detach(), torch.tensor([2.7, 3.6]))


def test_unnamed_parameters_are_numbered_across_groups() -> None:
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": rate} for rate in (0.1, 0.2)]
    descent = GradientDescent(groups, lr=1.0)
    for group in groups:
        group["params"][0].grad = torch.ones(1)
    reports = descent.step_with_report()
    assert [(step.name, step.learning_rate) for step in reports] == [
        ("parameter_0", 0.1),
        ("parameter_1", 0.2),
    ]


@pytest.mark.parametrize("how", [{"foreach": True}, {"foreach": False}, {"fused": True}])
def test_report_uses_the_gradient_before_the_step(how: dict[str, bool]) -> None:
    value = torch.nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))
    descent = GradientDescent([value], lr=0.1, momentum=0.9, nesterov=True, **how)
    for _ in range(3):
        descent.zero_grad()
        value.square().sum().backward()
        start, gradient = value.detach().clone(), value.grad.clone()
        (report,) = descent.step_with_report()
    assert report.gradient_norm == pytest.approx(gradient.norm().item())
    predicted = -(gradient * (value.detach() - start)).sum().item()
    assert report.predicted_decrease == pytest.approx(predicted)


def test_report_with_a_closure() -> None:
    value = torch.nn.Parameter(torch.tensor([2.0]))
    descent = GradientDescent([value], lr=0.1)
    losses = []

    def closure() -> float:
        descent.zero_grad()
        loss = value.square().sum()
        loss.backward()
        losses.append(loss.item())
        return losses[-1]

    with torch.no_grad():
        (report,) = descent.step_with_report(closure)
    assert (report.gradient_norm, losses) == (4.0, [4.0])
    assert value.item() == pytest.approx(1.6)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_report_in_low_precision(kind: torch.dtype) -> None:
    value = torch.nn.Parameter(torch.full((16,), 2.0**14, dtype=kind))
    value.grad = torch.full_like(value, 2.0**15)
    (report,) = GradientDescent([value], lr=0.25).step_with_report()
    assert report.gradient_norm == 2.0**17
    assert report.update_norm == 2.0**15
    assert report.update_ratio == 0.5
    assert report.predicted_decrease == 2.0**32


def test_report_of_sparse_gradients() -> None:
    table = torch.nn.Embedding(5, 2, sparse=True)
    (3 * table(torch.tensor([1, 1, 4]))).sum().backward()  # gradients 6, 6, 3 and 3
    (report,) = GradientDescent(table.parameters(), lr=0.5).step_with_report()
    assert report.gradient_norm == pytest.approx(90**0.5)
    assert report.update_norm == pytest.approx(90**0.5 / 2)


def test_update_ratio_of_zero_parameters_is_infinite() -> None:
    value = torch.nn.Parameter(torch.zeros(2))
    value.grad = torch.ones(2)
    assert GradientDescent([value], lr=0.1).step_with_report()[0].update_ratio == float("inf")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_decreases_the_loss(name: str) -> None:
    value = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = OPTIMIZERS[name]([value], lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        value.square().sum().backward()
        optimizer.step()
    assert value.item() < 1.0
