"""The way to a row: what inputs and neurons carry adds up, in steps as fine as it takes."""

import pytest
import torch
from torch import nn

from brainnet.explanation import attribution as way
from brainnet.explanation.attribution import attribute_path, slopes_of
from brainnet.structure.network import Network


def network(sizes, activation="threshold_ramp", **options):
    generator = torch.Generator().manual_seed(0)
    return Network(sizes, activation, generator=generator, **options).eval()


def inputs(count, seed=1):
    return torch.randn(1, count, generator=torch.Generator().manual_seed(seed))


def first_over_second(outputs):
    return outputs[:, 0] - outputs[:, 1]


def risen(model, row):
    with torch.no_grad():
        return float(first_over_second(model(row)) - first_over_second(model(row * 0)))


@pytest.mark.parametrize("activation", ["threshold_ramp", "relu", "tanh", "gelu"])
def test_what_the_inputs_carried_adds_up_to_what_the_score_rose_by(activation):
    model, row = network([5, 16, 8, 3], activation), inputs(5) * 2
    with torch.no_grad():
        rose = float(first_over_second(model(row)) - first_over_second(model(torch.zeros(1, 5))))
    carried = attribute_path(model, row, first_over_second)
    assert float(carried.inputs.sum()) == pytest.approx(rose, abs=3e-3)
    for layer in carried.layers.values():
        assert float(layer.sum()) == pytest.approx(rose, abs=3e-3)


def test_another_makes_model_is_followed_as_well():
    model = nn.Sequential(
        nn.Unflatten(1, (1, 3, 3)), nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)
    ).eval()
    row = inputs(9)
    rose = float((first_over_second(model(row)) - first_over_second(model(row * 0))).detach())
    carried = attribute_path(model, row, first_over_second)
    assert float(carried.inputs.sum()) == pytest.approx(rose, abs=1e-3)
    assert carried.layers["1"].shape == (2, 2, 2)
    assert float(carried.layers["1"].sum()) == pytest.approx(rose, abs=1e-3)


def test_steps_that_miss_a_sharp_ramp_are_cut_and_no_others(monkeypatch):
    model, row = network([1, 1, 2], bias=False), torch.ones(1, 1)
    model.layers[0].weights.value.data.fill_(5e4)  # the whole ramp is a fiftieth of a step
    model.layers[1].weights.value.data[:] = torch.tensor([[3.0], [1.0]])
    walked, along = [], way._along
    monkeypatch.setattr(way, "_along", lambda *args: (walked.append(len(args[2])), along(*args))[1])
    carried = attribute_path(model, row, first_over_second)
    assert risen(model, row) == pytest.approx(2.0)
    assert float(carried.inputs.sum()) == pytest.approx(2.0, rel=0.02)
    assert float(carried.layers["hidden_1"].sum()) == pytest.approx(2.0, rel=0.02)
    assert sum(walked) < 2.5 * way.STEPS
    monkeypatch.setattr(way, "FINER", 0)
    coarse = float(attribute_path(model, row, first_over_second).inputs.sum())
    assert abs(coarse - 2.0) > 1.0


def test_what_was_computed_without_gradients_has_no_slope():
    weight = torch.ones(2, requires_grad=True)
    aside = weight.detach() * 2
    slopes = slopes_of((weight * 3 + aside).sum(), [aside, weight])
    assert slopes[0] is None
    assert slopes[1].tolist() == [3.0, 3.0]
    assert slopes_of(aside.sum(), [weight]) == [None]


def test_the_way_to_a_row_that_is_no_number_ends():
    model, row = network([2, 3, 2]), torch.tensor([[float("nan"), 1.0]])
    assert attribute_path(model, row, first_over_second).inputs.isnan().any()
