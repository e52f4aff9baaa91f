"""Gradients: labeled views of `.grad`."""

import pytest
import torch
from torch import nn

from brainnet.learning.gradient import get_gradients
from brainnet.structure.network import Network


def test_gradients_are_views_of_grad() -> None:
    network = Network([4, 3, 2])
    network(torch.randn(5, 4)).square().mean().backward()
    hidden, output = get_gradients(network)
    assert (hidden.name, output.name) == ("hidden_1", "output")
    assert hidden.weights is network.layers[0].weights.value.grad
    assert output.bias is network.layers[1].bias.value.grad


def test_norm_covers_weights_and_bias() -> None:
    model = nn.Sequential(nn.Linear(2, 1))
    model(torch.tensor([[2.0, 2.0]])).sum().backward()  # gradients 2, 2 and 1
    assert get_gradients(model)[0].norm == 3.0


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("value", [2.0**15, 2.0**-14])
def test_norm_in_low_precision(kind: torch.dtype, value: float) -> None:
    model = nn.Linear(15, 1, dtype=kind)
    model.weight.grad = torch.full_like(model.weight, value)
    model.bias.grad = torch.full_like(model.bias, value)
    assert get_gradients(model)[0].norm == pytest.approx(4 * value, rel=1e-12)


def test_norm_of_tiny_gradients() -> None:
    model = nn.Linear(2, 1, bias=False)
    model.weight.grad = torch.tensor([[3e-30, 4e-30]])
    assert get_gradients(model)[0].norm == pytest.approx(5e-30)


def test_no_gradient_before_backward() -> None:
    gradient = get_gradients(Network([4, 2]))[0]
    assert gradient.weights is None
    assert gradient.norm == 0.0
    assert str(gradient) == "output: gradient norm 0"


def test_parametrized_weights_have_no_gradient() -> None:
    model = nn.utils.parametrizations.weight_norm(nn.Linear(2, 1))
    model(torch.tensor([[2.0, 2.0]])).sum().backward()
    gradient = get_gradients(model)[0]
    assert gradient.weights is None
    assert gradient.bias is model.bias.grad
