"""A neuron on its own computes, fires and learns."""

import copy

import pytest
import torch
from torch.nn.utils import prune

from brainnet.structure.neuron import Neuron


def build_neuron(weights: list[float], bias: float) -> Neuron:
    neuron = Neuron(inputs=len(weights))
    neuron.weights.data.copy_(torch.tensor(weights))
    neuron.bias.data.fill_(bias)
    return neuron


def test_pre_activation_and_output() -> None:
    neuron = build_neuron([0.5, -0.25], 0.1)
    signals = torch.tensor([[1.0, 1.0], [1.0, 2.0], [0.0, 4.0], [3.0, 0.0]])
    torch.testing.assert_close(neuron.pre_activation(signals), torch.tensor([0.35, 0.1, -0.9, 1.6]))
    torch.testing.assert_close(neuron(signals), torch.tensor([0.35, 0.1, 0.0, 1.0]))


def test_output_is_zero_below_the_threshold() -> None:
    neuron = build_neuron([1.0], 0.0)
    taps = torch.linspace(-5, 0, 50)[:, None]
    assert neuron(taps).count_nonzero() == 0


def test_bias_shifts_the_output() -> None:
    signal = torch.tensor([[0.3]])
    assert (
        build_neuron([1.0], 0.4)(signal)
        > build_neuron([1.0], 0.0)(signal)
        > build_neuron([1.0], -0.4)(signal)
    )


def test_weights_scale_the_inputs() -> None:
    smoke_counts = build_neuron([0.9, 0.1], 0.0)
    assert smoke_counts(torch.tensor([1.0, 0.0])) > smoke_counts(torch.tensor([0.0, 1.0]))


def test_neuron_on_its_own_learns() -> None:
    neuron = build_neuron([0.5, -0.25], 0.1)
    assert len(list(neuron.parameters())) == 2
    optimizer = torch.optim.SGD(neuron.parameters(), lr=0.1)
    neuron(torch.tensor([1.0, 1.0])).backward()
    optimizer.step()
    torch.testing.assert_close(neuron.weights, torch.tensor([0.4, -0.35]))
    torch.testing.assert_close(neuron.bias, torch.tensor(0.0))


@pytest.mark.parametrize("part", ["own_weights", "own_bias"])
def test_pruned_neuron_learns(part: str) -> None:
    neuron = build_neuron([0.5, -0.25], 0.1)
    prune.l1_unstructured(getattr(neuron, part), "value", amount=1)
    optimizer = torch.optim.SGD(neuron.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        neuron.pre_activation(torch.tensor([1.0, 1.0])).backward()
        optimizer.step()
    neuron.pre_activation(torch.zeros(2))  # recomputes the pruned values
    learned = {"own_weights": ([0.3, 0.0], -0.1), "own_bias": ([0.3, -0.45], 0.0)}[part]
    torch.testing.assert_close(neuron.weights, torch.tensor(learned[0]))
    torch.testing.assert_close(neuron.bias, torch.tensor(learned[1]))


def test_copy_is_independent() -> None:
    neuron = build_neuron([0.5, -0.25], 0.1)
    twin = copy.deepcopy(neuron)
    twin.weights.data.zero_()
    assert neuron.weights.tolist() == [0.5, -0.25]
    assert twin(torch.tensor([9.0, 9.0])).item() == pytest.approx(0.1)


def test_wrong_number_of_inputs_is_rejected() -> None:
    with pytest.raises(
        ValueError, match=r"needs 2 inputs in the last dimension; got inputs of shape \(3,\)"
    ):
        Neuron(inputs=2)(torch.zeros(3))


def test_without_bias() -> None:
    neuron = Neuron(inputs=2, bias=False)
    assert neuron.bias is None
    assert neuron.pre_activation(torch.zeros(3, 2)).tolist() == [0.0, 0.0, 0.0]
