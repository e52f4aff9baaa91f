import pytest
import torch
from torch import nn

from brainnet.observation.probe import LEAST, WEIGHTS_TIMES_ROWS, ProbeBatch, limit_rows


@pytest.mark.parametrize(
    ("rows", "side", "asked"), [(256, 8, 256), (10**6, 256, 256), (256, 4096, LEAST), (5, 4096, 5)]
)
def test_a_large_network_is_asked_about_fewer_rows(rows, side, asked):
    with torch.device("meta"):
        model = nn.Linear(side, side, bias=False)
    assert limit_rows(rows, model) == asked
    assert asked * side * side <= max(WEIGHTS_TIMES_ROWS, LEAST * side * side)


def test_a_model_without_weights_or_with_lazy_ones_is_asked_about_all():
    assert limit_rows(300, nn.ReLU()) == limit_rows(300, nn.LazyLinear(2)) == 300


def test_the_slope_is_that_of_the_rows_and_no_grad_is_touched():
    torch.manual_seed(0)
    model, inputs, targets = nn.Linear(3, 1), torch.randn(6, 3), torch.randn(6, 1)
    judge = ProbeBatch(model, nn.functional.mse_loss, inputs, targets)
    loss, slopes = judge.slope(model.parameters())
    assert all(weight.grad is None for weight in model.parameters())
    nn.functional.mse_loss(model(inputs), targets).backward()
    assert torch.equal(loss, judge.loss())
    assert all(torch.equal(slopes[weight], weight.grad) for weight in model.parameters())
