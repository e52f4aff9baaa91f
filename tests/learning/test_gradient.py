"""The slope: labelled views of `.grad`."""

import torch
from torch import nn

from brainnet.learning.gradient import gradients
from brainnet.structure.network import Network


def test_labelled_views_of_grad() -> None:
    network = Network([4, 3, 2])
    network(torch.randn(5, 4)).square().mean().backward()
    hidden, output = gradients(network)
    assert (hidden.name, output.name) == ("hidden_1", "output")
    assert hidden.weights is network.layers[0].weights.value.grad
    assert output.bias is network.layers[1].bias.value.grad


def test_steepness_is_the_norm_over_weights_and_bias() -> None:
    model = nn.Sequential(nn.Linear(2, 1))
    model(torch.tensor([[2.0, 2.0]])).sum().backward()  # slopes 2, 2 and 1
    assert gradients(model)[0].steepness == 3.0


def test_flat_ground_before_any_pass() -> None:
    gradient = gradients(Network([4, 2]))[0]
    assert gradient.weights is None
    assert gradient.steepness == 0.0
    assert str(gradient) == "output: steepness 0"
