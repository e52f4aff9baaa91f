"""Sums: every neuron's terms add up to the network's own pre-activation."""

import pytest
import torch
from torch import nn

from brainnet.explanation.row_explanation import (
    NEURONS,
    TERMS,
    find_strongest,
    get_upper_limit,
    list_layer_steps,
    sum_of,
)
from brainnet.structure.forward_pass import trace
from brainnet.structure.network import Network


def passes(model, inputs):
    return trace(model, inputs), trace(model, torch.zeros_like(inputs))


def network(sizes, activation="threshold_ramp", **options):
    generator = torch.Generator().manual_seed(0)
    return Network(sizes, activation, generator=generator, **options)


def inputs(count, seed=1):
    return torch.randn(1, count, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("activation", ["threshold_ramp", "relu", "tanh", "gelu"])
@pytest.mark.parametrize("bias", [True, False])
def test_terms_others_and_bias_add_up_to_the_pre_activation_of_every_neuron(activation, bias):
    thought, zero = passes(network([9, 7, 6, 3], activation, bias=bias), inputs(9))
    for layer, before in zip(thought.layers, zero.layers, strict=True):
        sources = [str(place) for place in range(layer.inputs.shape[1])]
        for neuron, stirred in enumerate(layer.pre_activation[0].tolist()):
            told = sum_of(layer, before, neuron, sources, "it", 0.0)
            named = sum(term.product for term in told.terms)
            assert named + told.others_sum + (told.bias or 0.0) == pytest.approx(told.total)
            assert told.total == pytest.approx(stirred, abs=1e-6)
            assert told.stirred == stirred
            assert told.output == layer.output[0].tolist()[neuron]
            assert told.before == before.output[0].tolist()[neuron]
            assert (told.bias is not None) == bias


def test_each_term_is_a_signal_times_its_weight_and_the_largest_come_first():
    model = network([9, 2])
    thought, zero = passes(model, inputs(9))
    told = sum_of(thought.layers[0], zero.layers[0], 1, [f"x{i}" for i in range(9)], "it", 0.0)
    weights = model.layers[0].weights.value[1]
    for term in told.terms:
        place = int(term.source[1:])
        assert term.signal == thought.inputs[0].tolist()[place]
        assert term.weight == weights.tolist()[place]
        assert term.product == pytest.approx(term.signal * term.weight, abs=1e-12)
    sizes = [abs(term.product) for term in told.terms]
    every = (weights * thought.inputs[0]).abs().sort(descending=True).values.tolist()
    assert sizes == pytest.approx(every[:TERMS])
    assert told.others == 9 - TERMS


def test_a_single_term_left_over_is_named_as_well_and_silent_signals_are_not():
    thought, zero = passes(network([TERMS + 1, 1]), inputs(TERMS + 1))
    assert sum_of(thought.layers[0], zero.layers[0], 0, "abcde", "it", 0.0).others == 0
    quiet = torch.tensor([[0.0, 2.0, 0.0]])
    thought, zero = passes(network([3, 1]), quiet)
    told = sum_of(thought.layers[0], zero.layers[0], 0, "abc", "it", 0.0)
    assert [term.source for term in told.terms] == ["b"]
    assert (told.others, told.others_sum) == (2, 0.0)


def test_a_layer_counts_its_silent_and_fully_firing_neurons_and_follows_the_strongest():
    model = Network([1, 4])
    layer = model.layers[0]
    layer.activation = nn.Hardtanh(0.0, 1.0)
    layer.weights.value.data = torch.tensor([[-1.0], [0.5], [2.0], [3.0]])
    layer.bias.value.data.zero_()
    thought, zero = passes(model, torch.ones(1, 1))
    carried = torch.tensor([0.0, -3.0, 1.0, 2.0])
    told = list_layer_steps(thought.layers[0], zero.layers[0], ["x"], list("abcd"), carried)
    assert (told.neurons, told.silent, told.full, told.carried) == (4, 1, 2, 0.0)
    assert told.activation == "Hardtanh"
    assert [each.name for each in told.shown] == ["b", "d"]
    assert len(told.shown) == NEURONS


def test_a_normalisation_between_sum_and_activation_is_told_apart():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.ReLU()).eval()
    model[1].running_mean.fill_(5.0)
    thought, zero = passes(model, inputs(3))
    told = sum_of(thought.layers[0], zero.layers[0], 0, "abc", "it", 0.0)
    assert told.total == pytest.approx(model[0](inputs(3))[0].tolist()[0], abs=1e-6)
    assert told.stirred == pytest.approx((told.total - 5) / (1 + 1e-5) ** 0.5, abs=1e-5)


def test_what_is_no_plain_sum_says_why():
    model = nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU())
    thought, zero = passes(model, torch.ones(1, 1, 5))
    told = list_layer_steps(thought.layers[0], zero.layers[0], ["x"], ["a", "b"], torch.zeros(2, 3))
    assert told.shown == ()
    assert "small windows" in told.untold
    embedded = Network([2, 3], embeddings={1: 4})
    thought, zero = passes(embedded, torch.tensor([[0.5, 2.0]]))
    told = list_layer_steps(thought.layers[0], zero.layers[0], ["x"], list("ab"), torch.zeros(3))
    assert "looks the code" in told.untold


def test_the_strongest_are_the_largest_by_size_without_zeros():
    assert find_strongest(torch.tensor([0.0, -2.0, 1.0]), 3) == [1, 2]
    assert get_upper_limit(nn.ReLU6()) == 6.0
    assert get_upper_limit(nn.Hardtanh(-1.0, 2.0)) == 2.0
