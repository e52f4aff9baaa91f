"""The blame and the slope of a run are autograd's."""

import pytest
import torch
from torch.nn import functional as F

from brainnet.explanation.report import blame_of, gradient_of


def test_blame_and_slope_are_autograds_on_the_training_rows(classes):
    parameters = list(classes.network.parameters())
    loss = F.cross_entropy(classes.network(classes.learned.inputs), classes.learned.targets)
    squares = [float(each.square().sum()) for each in torch.autograd.grad(loss, parameters)]
    hidden, total = sum(squares[:2]), sum(squares)
    blamed, steep = blame_of(classes), gradient_of(classes)
    assert blamed.loss == pytest.approx(float(loss.detach()))
    assert [each.now for each in blamed.layers] == pytest.approx(
        [hidden / total, 1 - hidden / total]
    )
    assert [(each.first, each.last) for each in blamed.layers] == [(0.25, 0.75), (0.75, 0.25)]
    assert steep.now == pytest.approx(total**0.5)
    assert steep.layers[0].now == pytest.approx(hidden**0.5)
    assert (steep.layers[0].first, steep.layers[0].last) == (0.5, 1.5)
    assert all(each.grad is None for each in parameters)
