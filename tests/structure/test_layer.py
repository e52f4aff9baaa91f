"""A layer is its neurons side by side: same sums, same reactions, same gradients."""

import pytest
import torch
from torch import nn

from brainnet.structure.activation import ACTIVATIONS, ThresholdRamp
from brainnet.structure.layer import Layer


def activations() -> list[str | nn.Module]:
    per_neuron = ThresholdRamp(threshold=torch.tensor([-0.2, 0.0, 0.1, 0.3]), learn_width=True)
    return [*ACTIVATIONS, per_neuron, nn.PReLU(4)]


@pytest.mark.parametrize("activation", activations(), ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_equals_its_neurons(activation: str | nn.Module, bias: bool) -> None:
    layer = Layer(3, 4, activation, bias=bias, dtype=torch.float64).double()
    signals = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    weight_of_answers = torch.randn(7, 4, dtype=torch.float64)

    together = layer(signals)
    one_by_one = torch.stack([layer.neuron(index)(signals) for index in range(4)], dim=1)
    torch.testing.assert_close(one_by_one, together, rtol=0, atol=1e-15)

    sources = [signals, *layer.parameters()]
    expected = torch.autograd.grad((together * weight_of_answers).sum(), sources)
    found = torch.autograd.grad((one_by_one * weight_of_answers).sum(), sources)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-14)


def test_a_neuron_is_a_view_and_adds_no_state() -> None:
    layer = Layer(3, 4)
    keys = list(layer.state_dict())
    neuron = layer.neuron(2)
    assert list(layer.state_dict()) == keys
    assert list(neuron.parameters()) == []
    layer.weights.value.data[2] = 5.0
    assert neuron.weights.tolist() == [5.0, 5.0, 5.0]
    assert layer.neuron(-1).index == 3


def test_a_neuron_that_is_not_there() -> None:
    with pytest.raises(IndexError, match="neurons 0 to 3; got 4"):
        Layer(3, 4).neuron(4)


def test_a_neuron_of_a_mixing_activation_has_no_meaning_alone() -> None:
    with pytest.raises(TypeError, match="Softmax mixes the neurons"):
        Layer(3, 4, nn.Softmax(dim=-1)).neuron(0)


def test_no_activation_instance_serves_two_layers() -> None:
    shared = nn.PReLU()
    first, second = Layer(3, 4, shared), Layer(4, 2, shared)
    assert first.activation is not shared
    assert first.activation is not second.activation


def test_reset_parameters_starts_anew_from_a_generator() -> None:
    layer = Layer(3, 4, ThresholdRamp(width=2.0, learn_width=True))
    layer.reset_parameters(torch.Generator().manual_seed(1))
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    with torch.no_grad():
        for value in layer.parameters():
            value.add_(1)
    layer.reset_parameters(torch.Generator().manual_seed(1))
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize(("inputs", "neurons"), [(0, 4), (3, 0), (3, -1)])
def test_sizes_are_positive(inputs: int, neurons: int) -> None:
    with pytest.raises(ValueError, match=r"positive size"):
        Layer(inputs, neurons)


def test_print_out_names_the_concepts() -> None:
    text = str(Layer(3, 4, name="hidden_1"))
    for words in ("hidden_1: 3 -> 4, concept=layers", "concept=weights", "concept=biases"):
        assert words in text
    assert "concept=activation function" in text
