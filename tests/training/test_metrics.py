import math

import pytest
import torch
from torch import nn

from brainnet.training.metrics import StageMetrics


def test_the_mean_loss_weights_batches_by_rows():
    metrics = StageMetrics("multiclass", targets=2)
    metrics.add(torch.tensor(1.0), torch.tensor([0, 0, 0]), torch.tensor([0, 0, 1]))
    metrics.add(torch.tensor(5.0), torch.tensor([1]), torch.tensor([1]))
    assert metrics.read() == {"loss": 2.0, "accuracy": 0.75}


@pytest.mark.parametrize("batches", [1, 64, 65, 200])
def test_counting_many_batches_equals_counting_each(batches):
    generator = torch.Generator().manual_seed(0)
    predictions = torch.randint(3, (batches, 8), generator=generator)
    targets = torch.randint(3, (batches, 8), generator=generator)
    metrics = StageMetrics("multiclass", targets=3, confusion=True)
    for prediction, target in zip(predictions, targets, strict=True):
        metrics.add(torch.tensor(0.0), prediction, target)
    assert metrics.read()["accuracy"] == pytest.approx(
        (predictions == targets).double().mean().item()
    )
    counted = torch.zeros(3, 3, dtype=torch.int64)
    for target, prediction in zip(targets.flatten(), predictions.flatten(), strict=True):
        counted[target, prediction] += 1
    assert torch.equal(metrics.compute_confusion(), counted)


def test_r2_over_several_batches():
    targets = torch.tensor([[1.0], [2.0], [3.0], [6.0]])
    predictions = torch.tensor([[1.5], [2.0], [2.5], [5.0]])
    metrics = StageMetrics("regression", targets=1)
    metrics.add(torch.tensor(0.1), predictions[:3], targets[:3])
    metrics.add(torch.tensor(0.1), predictions[3:], targets[3:])
    residual = (targets - predictions).square().sum()
    variance = (targets - targets.mean()).square().sum()
    assert metrics.read()["r2"] == pytest.approx((1 - residual / variance).item())


@pytest.mark.parametrize(
    ("middle", "size"), [(0, 1), (2e3, 1), (1e5, 1), (-1e6, 8), (0, 1e-3), (0, 1e-15), (0, 1e15)]
)
def test_r2_is_accurate_for_targets_of_any_size(middle, size):
    generator = torch.Generator().manual_seed(0)
    targets = middle + size * torch.randn(500, 2, generator=generator)
    predictions = targets + 0.3 * size * torch.randn(500, 2, generator=generator)
    metrics = StageMetrics("regression", targets=2)
    for prediction, target in zip(predictions.split(32), targets.split(32), strict=True):
        metrics.add(torch.tensor(0.0), prediction, target)
    residual = (targets.double() - predictions).square().sum(0)
    variance = (targets.double() - targets.double().mean(0)).square().sum(0)
    assert metrics.read()["r2"] == pytest.approx((1 - residual / variance).mean().item(), rel=1e-3)


@pytest.mark.parametrize("number", [0.0, 0.1, 1e6])
def test_r2_of_constant_targets(number):
    targets = torch.full((30, 1), number)
    metrics = StageMetrics("regression", targets=1)
    metrics.add(torch.tensor(0.0), targets, targets)
    assert metrics.read()["r2"] == 1.0
    metrics.add(torch.tensor(0.0), targets + 1, targets)
    assert metrics.read()["r2"] == 0.0


def test_a_non_finite_prediction_makes_r2_nan():
    metrics = StageMetrics("regression", targets=1)
    metrics.add(torch.tensor(0.0), torch.tensor([[math.nan], [1.0]]), torch.tensor([[1.0], [2.0]]))
    assert math.isnan(metrics.read()["r2"])


def test_one_row_has_no_r2():
    metrics = StageMetrics("regression", targets=1)
    metrics.add(torch.tensor(0.5), torch.ones(1, 1), torch.ones(1, 1))
    assert metrics.read() == {"loss": 0.5}


def test_nothing_is_read_if_nothing_was_added():
    metrics = StageMetrics("binary", targets=2)
    assert metrics.read() == {}
    metrics.add(torch.tensor(1.0), torch.tensor([0]), torch.tensor([0]))
    metrics.reset()
    assert metrics.read() == {}


def test_a_non_finite_loss_makes_the_mean_nan():
    metrics = StageMetrics("binary", targets=2)
    metrics.add(torch.tensor(float("nan")), torch.tensor([0]), torch.tensor([0]))
    metrics.add(torch.tensor(1.0), torch.tensor([0]), torch.tensor([0]))
    assert math.isnan(metrics.read()["loss"])


def test_half_precision_does_not_overflow():
    metrics = StageMetrics("regression", targets=1)
    targets = torch.tensor([[300.0], [600.0]])
    metrics.add(torch.tensor(1.0, dtype=torch.float16), targets.half(), targets)
    assert metrics.read() == {"loss": 1.0, "r2": 1.0}


def test_adds_no_key_to_a_state_dict():
    holder = nn.Module()
    holder.metrics = StageMetrics("multiclass", targets=3, confusion=True)
    assert holder.state_dict() == {}
