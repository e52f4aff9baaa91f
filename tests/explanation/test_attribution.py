"""Attribution: contributions are complete, and gradients are those of autograd."""

import pytest
import torch
from torch import nn

from brainnet.explanation import attribution
from brainnet.explanation.attribution import (
    attribute_path,
    compute_contributions,
    compute_score_gradients,
)
from brainnet.explanation.signal_names import SignalNames
from brainnet.structure.forward_pass import trace
from brainnet.structure.network import Network


def make_network(sizes, activation="threshold_ramp", **options):
    generator = torch.Generator().manual_seed(0)
    return Network(sizes, activation, generator=generator, **options).eval()


def make_row(count, seed=1):
    return torch.randn(1, count, generator=torch.Generator().manual_seed(seed))


def subtract_outputs(outputs):
    return outputs[:, 0] - outputs[:, 1]


def measure_change(model, row):
    with torch.no_grad():
        return float(subtract_outputs(model(row)) - subtract_outputs(model(row * 0)))


def contribute(model, row):
    path = attribute_path(model, row, subtract_outputs)
    forward_pass = trace(model, row.clone().requires_grad_())
    return compute_contributions(forward_pass, subtract_outputs, path, SignalNames())


@pytest.mark.parametrize("activation", ["threshold_ramp", "relu", "tanh", "gelu"])
def test_contributions_add_up_to_the_change_of_the_score(activation):
    model, row = make_network([5, 16, 8, 3], activation), make_row(5) * 2
    change = measure_change(model, row)
    path = attribute_path(model, row, subtract_outputs)
    assert float(path.inputs.sum()) == pytest.approx(change, abs=3e-3)
    assert list(path.layers) == ["hidden_1", "hidden_2", "output"]
    for layer in path.layers.values():
        assert float(layer.sum()) == pytest.approx(change, abs=3e-3)


def test_contributions_of_a_linear_network_are_exact():
    model, row = make_network([4, 2]), make_row(4)
    weights = model.layers[0].weights.value
    exact = ((weights[0] - weights[1]) * row[0]).tolist()
    inputs = contribute(model, row)
    assert [each.gradient_times_input for each in inputs] == pytest.approx(exact, abs=1e-6)
    assert [each.contribution for each in inputs] == pytest.approx(exact, abs=1e-6)


@pytest.mark.parametrize("activation", ["threshold_ramp", "tanh"])
def test_contributions_are_the_integral_of_the_gradient(activation):
    model, row = make_network([3, 7, 2], activation), make_row(3)
    shares = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    rows = (shares[:, None] * row).float().requires_grad_()
    (gradients,) = torch.autograd.grad(subtract_outputs(model(rows)).sum(), rows)
    exact = (gradients.double().mean(dim=0) * row[0]).tolist()
    assert attribute_path(model, row, subtract_outputs).inputs.tolist() == pytest.approx(
        exact, abs=2e-3
    )


def test_convolutions_are_attributed():
    model = nn.Sequential(
        nn.Unflatten(1, (1, 3, 3)), nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)
    ).eval()
    row = make_row(9)
    change = measure_change(model, row)
    path = attribute_path(model, row, subtract_outputs)
    assert float(path.inputs.sum()) == pytest.approx(change, abs=1e-3)
    assert path.layers["1"].shape == (2, 2, 2)
    assert float(path.layers["1"].sum()) == pytest.approx(change, abs=1e-3)


def test_only_steps_over_a_sharp_ramp_are_refined(monkeypatch):
    model, row = make_network([1, 1, 2], bias=False), torch.ones(1, 1)
    # The whole ramp is a fiftieth of a step.
    model.layers[0].weights.value.data.fill_(5e4)
    model.layers[1].weights.value.data[:] = torch.tensor([[3.0], [1.0]])
    rows = []
    traced = attribution.trace
    monkeypatch.setattr(
        attribution, "trace", lambda *each: (rows.append(len(each[1])), traced(*each))[1]
    )
    path = attribute_path(model, row, subtract_outputs)
    assert measure_change(model, row) == pytest.approx(2.0)
    assert float(path.inputs.sum()) == pytest.approx(2.0, rel=0.02)
    assert float(path.layers["hidden_1"].sum()) == pytest.approx(2.0, rel=0.02)
    assert sum(rows) < 2.5 * 1024
    monkeypatch.setattr(attribution, "_REFINEMENTS", 0)
    coarse = float(attribute_path(model, row, subtract_outputs).inputs.sum())
    assert abs(coarse - 2.0) > 1.0


def test_gradients_of_unreachable_tensors_are_zero():
    weight = torch.ones(2, requires_grad=True)
    aside = weight.detach() * 2
    gradients = compute_score_gradients((weight * 3 + aside).sum(), [aside, weight])
    assert [each.tolist() for each in gradients] == [[0.0, 0.0], [3.0, 3.0]]
    assert compute_score_gradients(aside.sum(), [weight])[0].tolist() == [0.0, 0.0]


def test_a_row_with_nan_has_nan_contributions():
    model, row = make_network([2, 3, 2]), torch.tensor([[float("nan"), 1.0]])
    assert attribute_path(model, row, subtract_outputs).inputs.isnan().any()


@pytest.mark.parametrize("activation", ["threshold_ramp", "relu", "tanh"])
def test_gradient_and_gradient_times_input_are_those_of_autograd(activation):
    model, row = make_network([5, 8, 3], activation), make_row(5)
    gradient = torch.func.grad(lambda each: subtract_outputs(model(each))[0])(row)[0]
    inputs = contribute(model, row)
    assert [each.gradient for each in inputs] == pytest.approx(gradient.tolist(), abs=1e-6)
    products = (gradient * row[0]).tolist()
    assert [each.gradient_times_input for each in inputs] == pytest.approx(products, abs=1e-6)
    assert [each.scaled for each in inputs] == row[0].tolist()


def test_gradient_times_input_adds_up_to_the_score_of_a_relu_network_without_biases():
    model, row = make_network([6, 9, 7, 2], "relu", bias=False), make_row(6)
    score = float(subtract_outputs(model(row)).detach())
    products = [each.gradient_times_input for each in contribute(model, row)]
    assert sum(products) == pytest.approx(score, abs=1e-6)


def test_saturated_neurons_have_contributions_but_no_gradient():
    model = make_network([2, 4, 2])
    model.layers[0].weights.value.data.fill_(1.0)
    row = torch.tensor([[9.0, 9.0]])
    inputs = contribute(model, row)
    assert [each.gradient_times_input for each in inputs] == [0.0, 0.0]
    change = measure_change(model, row)
    assert change != 0
    assert sum(each.contribution for each in inputs) == pytest.approx(change, rel=0.05)
    assert inputs[0].contribution == pytest.approx(inputs[1].contribution)


def test_a_category_code_has_the_contribution_of_its_embedded_values():
    model = make_network([3, 6, 2], "relu", embeddings={1: 5})
    row = torch.tensor([[0.7, 3.0, -0.4]])
    change = measure_change(model, row)  # code 0 is embedded as zeros
    inputs = contribute(model, row)
    assert inputs[1].gradient == 0.0
    assert inputs[1].contribution != 0.0
    assert sum(each.contribution for each in inputs) == pytest.approx(change, abs=3e-3)
    signals = model.embeddings(row).detach().requires_grad_()
    outputs = model.layers[1](model.layers[0](signals))
    gradient = torch.autograd.grad(subtract_outputs(outputs).sum(), signals)[0]
    width = model.embeddings.width - 2
    product = float((gradient * signals.detach())[0, 1 : 1 + width].sum())
    assert inputs[1].gradient_times_input == pytest.approx(product, abs=1e-6)
