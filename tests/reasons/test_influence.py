"""Influence: gradient · input is autograd's, and what the inputs carried adds up."""

import pytest
import torch

from brainnet.explanation.attribution import attribute_path, compute_influences
from brainnet.explanation.signal_names import SignalNames
from brainnet.structure.forward_pass import trace
from brainnet.structure.network import Network


def network(sizes, activation="threshold_ramp", **options):
    generator = torch.Generator().manual_seed(0)
    return Network(sizes, activation, generator=generator, **options).eval()


def inputs(count, seed=1):
    return torch.randn(1, count, generator=torch.Generator().manual_seed(seed))


def first_over_second(outputs):
    return outputs[:, 0] - outputs[:, 1]


def told(model, row, score=first_over_second):
    carried = attribute_path(model, row, score)
    thought = trace(model, row.clone().requires_grad_())
    return compute_influences(thought, score, carried, SignalNames())


@pytest.mark.parametrize("activation", ["threshold_ramp", "relu", "tanh"])
def test_gradient_and_its_product_with_the_input_are_autograds(activation):
    model, row = network([5, 8, 3], activation), inputs(5)
    slope = torch.func.grad(lambda each: first_over_second(model(each))[0])(row)[0]
    found = told(model, row)
    assert [each.gradient for each in found] == pytest.approx(slope.tolist(), abs=1e-6)
    assert [each.spoke for each in found] == pytest.approx((slope * row[0]).tolist(), abs=1e-6)
    assert [each.scaled for each in found] == row[0].tolist()


def test_in_a_network_without_bends_every_part_is_exact():
    model, row = network([4, 2]), inputs(4)
    weights = model.layers[0].weights.value
    exact = ((weights[0] - weights[1]) * row[0]).tolist()
    found = told(model, row)
    assert [each.spoke for each in found] == pytest.approx(exact, abs=1e-6)
    assert [each.carried for each in found] == pytest.approx(exact, abs=1e-6)


def test_without_biases_gradient_times_input_is_the_whole_score_of_a_relu_network():
    model, row = network([6, 9, 7, 2], "relu", bias=False), inputs(6)
    score = float(first_over_second(model(row)).detach())
    assert sum(each.spoke for each in told(model, row)) == pytest.approx(score, abs=1e-6)


def test_where_all_neurons_fire_fully_the_slope_is_nothing_and_the_way_here_is_not():
    model = network([2, 4, 2])
    model.layers[0].weights.value.data.fill_(1.0)
    row = torch.tensor([[9.0, 9.0]])
    found = told(model, row)
    assert [each.spoke for each in found] == [0.0, 0.0]
    with torch.no_grad():
        rose = float(first_over_second(model(row)) - first_over_second(model(torch.zeros(1, 2))))
    assert rose != 0
    assert sum(each.carried for each in found) == pytest.approx(rose, rel=0.05)
    assert found[0].carried == pytest.approx(found[1].carried)


def test_a_code_has_the_part_of_the_signals_that_come_back_for_it():
    model, row = network([3, 6, 2], "relu", embeddings={1: 5}), torch.tensor([[0.7, 3.0, -0.4]])
    with torch.no_grad():
        nothing = model(torch.zeros(1, 3))  # code 0 brings zeros
        rose = float(first_over_second(model(row)) - first_over_second(nothing))
    found = told(model, row)
    assert found[1].gradient == 0.0
    assert found[1].carried != 0.0
    assert sum(each.carried for each in found) == pytest.approx(rose, abs=3e-3)
    signals = model.embeddings(row).detach().requires_grad_()
    outputs = model.layers[1](model.layers[0](signals))
    slope = torch.autograd.grad(first_over_second(outputs).sum(), signals)[0]
    width = model.embeddings.width - 2
    part = float((slope * signals.detach())[0, 1 : 1 + width].sum())
    assert found[1].spoke == pytest.approx(part, abs=1e-6)
