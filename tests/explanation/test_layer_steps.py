"""Layer steps: the terms of each neuron add up to its pre-activation."""

import pytest
import torch
from torch import nn

from brainnet.explanation.layer_steps import (
    count_states,
    describe_layer,
    describe_sum,
    find_largest,
    get_upper_limit,
)
from brainnet.structure.forward_pass import trace
from brainnet.structure.network import Network

TERMS, NEURONS = 4, 2


def trace_both(model, inputs):
    return trace(model, inputs), trace(model, torch.zeros_like(inputs))


def make_network(sizes, activation="threshold_ramp", **options):
    generator = torch.Generator().manual_seed(0)
    return Network(sizes, activation, generator=generator, **options)


def make_inputs(count, seed=1):
    return torch.randn(1, count, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("activation", ["threshold_ramp", "relu", "tanh", "gelu"])
@pytest.mark.parametrize("bias", [True, False])
def test_terms_others_and_bias_add_up_to_the_pre_activation(activation, bias):
    forward_pass, baseline = trace_both(
        make_network([9, 7, 6, 3], activation, bias=bias), make_inputs(9)
    )
    for layer, before in zip(forward_pass.layers, baseline.layers, strict=True):
        sources = [str(place) for place in range(layer.inputs.shape[1])]
        for neuron, pre_activation in enumerate(layer.pre_activation[0].tolist()):
            steps = describe_sum(layer, before, neuron, sources, "it", 0.0)
            named = sum(term.product for term in steps.terms)
            assert named + steps.others_sum + (steps.bias or 0.0) == pytest.approx(steps.total)
            assert steps.total == pytest.approx(pre_activation, abs=1e-6)
            assert steps.pre_activation == pre_activation
            assert steps.output == layer.output[0].tolist()[neuron]
            assert steps.baseline_output == before.output[0].tolist()[neuron]
            assert (steps.bias is not None) == bias


def test_terms_are_the_largest_products_of_signal_and_weight():
    model = make_network([9, 2])
    forward_pass, baseline = trace_both(model, make_inputs(9))
    steps = describe_sum(
        forward_pass.layers[0], baseline.layers[0], 1, [f"x{i}" for i in range(9)], "it", 0.0
    )
    weights = model.layers[0].weights.value[1]
    for term in steps.terms:
        place = int(term.source[1:])
        assert term.signal == forward_pass.inputs[0].tolist()[place]
        assert term.weight == weights.tolist()[place]
        assert term.product == pytest.approx(term.signal * term.weight, abs=1e-12)
    sizes = [abs(term.product) for term in steps.terms]
    every = (weights * forward_pass.inputs[0]).abs().sort(descending=True).values.tolist()
    assert sizes == pytest.approx(every[:TERMS])
    assert steps.others == 9 - TERMS


def test_one_term_beyond_the_limit_is_listed_and_zero_terms_are_not():
    forward_pass, baseline = trace_both(make_network([TERMS + 1, 1]), make_inputs(TERMS + 1))
    assert (
        describe_sum(forward_pass.layers[0], baseline.layers[0], 0, "abcde", "it", 0.0).others == 0
    )
    quiet = torch.tensor([[0.0, 2.0, 0.0]])
    forward_pass, baseline = trace_both(make_network([3, 1]), quiet)
    steps = describe_sum(forward_pass.layers[0], baseline.layers[0], 0, "abc", "it", 0.0)
    assert [term.source for term in steps.terms] == ["b"]
    assert (steps.others, steps.others_sum) == (2, 0.0)


def test_a_layer_counts_silent_and_full_neurons_and_lists_the_largest_conductance():
    model = Network([1, 4])
    layer = model.layers[0]
    layer.activation = nn.Hardtanh(0.0, 1.0)
    layer.weights.value.data = torch.tensor([[-1.0], [0.5], [2.0], [3.0]])
    layer.bias.value.data.zero_()
    forward_pass, baseline = trace_both(model, torch.ones(1, 1))
    conductance = torch.tensor([0.0, -3.0, 1.0, 2.0])
    steps = describe_layer(
        forward_pass.layers[0], baseline.layers[0], ["x"], list("abcd"), conductance
    )
    assert (steps.neurons, steps.silent, steps.full, steps.contribution) == (4, 1, 2, 0.0)
    assert [each.name for each in steps.sums] == ["b", "d"]
    assert len(steps.sums) == NEURONS


def test_pre_activation_is_taken_after_a_normalization():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.ReLU()).eval()
    model[1].running_mean.fill_(5.0)
    forward_pass, baseline = trace_both(model, make_inputs(3))
    steps = describe_sum(forward_pass.layers[0], baseline.layers[0], 0, "abc", "it", 0.0)
    assert steps.total == pytest.approx(model[0](make_inputs(3))[0].tolist()[0], abs=1e-6)
    assert steps.pre_activation == pytest.approx((steps.total - 5) / (1 + 1e-5) ** 0.5, abs=1e-5)


def test_layers_without_plain_sums_say_why():
    model = nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU())
    forward_pass, baseline = trace_both(model, torch.ones(1, 1, 5))
    steps = describe_layer(
        forward_pass.layers[0], baseline.layers[0], ["x"], ["a", "b"], torch.zeros(2, 3)
    )
    assert steps.sums == ()
    assert "one sum per neuron and position" in steps.limitation
    embedded = Network([2, 3], embeddings={1: 4})
    forward_pass, baseline = trace_both(embedded, torch.tensor([[0.5, 2.0]]))
    steps = describe_layer(
        forward_pass.layers[0], baseline.layers[0], ["x"], list("ab"), torch.zeros(3)
    )
    assert "vector of a category code" in steps.limitation


def test_largest_values_are_ranked_by_size_without_zeros():
    assert find_largest(torch.tensor([0.0, -2.0, 1.0]), 3) == [1, 2]
    assert get_upper_limit(nn.ReLU6()) == 6.0
    assert get_upper_limit(nn.Hardtanh(-1.0, 2.0)) == 2.0
    assert get_upper_limit(nn.ReLU()) is None


def test_states_of_outputs_that_are_not_finite_are_not_counted():
    model = make_network([2, 3, 1])
    layer = trace(model, torch.tensor([[1.0, -1.0]])).layers[0]
    silent, full = count_states(layer)
    assert (silent, full) == (int((layer.output == 0).sum()), int((layer.output == 1).sum()))
    layer = trace(model, torch.tensor([[float("nan"), 1.0]])).layers[0]
    assert count_states(layer) == (None, None)
