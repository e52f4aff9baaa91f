import math

import pytest
import torch
from torch import nn

from brainnet.observation.capabilities import to_dense
from brainnet.observation.step_observer import StepObserver


def look_at(model, inputs, level="light"):
    optimizer = torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=0.1)
    with StepObserver(model, level=level) as observed:
        model(inputs).square().mean().backward()
        observed.before_update(model.parameters())
        optimizer.step()
        return observed.finish(step=0, epoch=0).look()


def test_what_is_no_number_is_said_and_the_rest_is_still_drawn():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    with torch.no_grad():
        model[0].weight[0, 0] = math.nan
    look = look_at(model, torch.ones(2, 3))
    assert math.isnan(look.reading.layers[0].weights_norm)
    assert math.isnan(look.reading.gradient_norm)
    assert look.histograms["weights/0"].non_finite == 1
    assert look.histograms["weights/0"].count == sum(look.histograms["weights/0"].buckets) == 11


def test_buckets_are_those_of_the_kernel_and_hold_every_number():
    model = nn.Sequential(nn.Linear(30, 40))
    values = model[0].weight.detach().clone()
    found = look_at(model, torch.ones(2, 30)).histograms["weights/0"]
    place = torch.bucketize(values.flatten(), torch.tensor(found.edges, dtype=torch.float64))
    assert torch.bincount(place, minlength=len(found.edges)).tolist() == list(found.buckets)


def test_a_sparse_gradient_counts_what_is_stored_and_predicts_the_step():
    table = nn.Embedding(10, 2, sparse=True)
    model = nn.Sequential(table, nn.Linear(2, 1))
    for weights in model.parameters():
        nn.init.constant_(weights, 0.5)  # a steep slope, whatever was drawn
    before = model(torch.tensor([1, 1, 4])).square().mean()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    observed = StepObserver(model)
    model(torch.tensor([1, 1, 4])).square().mean().backward()
    assert len(to_dense(table.weight.grad)) == 2
    slope = sum(each.grad.to_dense().square().sum() for each in model.parameters())
    observed.before_update(model.parameters())
    optimizer.step()
    reading = observed.finish(step=0, epoch=0).look().reading
    assert reading.gradient_norm == pytest.approx(slope.sqrt().item())
    after = model(torch.tensor([1, 1, 4])).square().mean()
    assert reading.predicted_decrease == pytest.approx((before - after).item(), rel=1e-2)


def test_one_weight_in_two_layers_is_told_of_both_and_counted_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    nn.init.constant_(model[0].bias, 2.0)  # so that no neuron is silent, whatever was drawn
    look = look_at(model, torch.ones(2, 3))
    first, second = look.reading.layers
    assert first.weights_norm == second.weights_norm
    assert first.update_ratio == second.update_ratio > 0
    parts = [each.grad.square().sum().item() for each in model.parameters()]
    assert len(parts) == 3
    assert look.reading.gradient_norm == pytest.approx(math.sqrt(sum(parts)))


def test_weights_of_half_width_are_read_in_full():
    model = nn.Sequential(nn.Linear(300, 200)).bfloat16()
    weights = model[0].weight.detach().double().clone()
    reading = look_at(model, torch.ones(2, 300, dtype=torch.bfloat16)).reading
    assert reading.layers[0].weights_norm == pytest.approx(weights.norm().item())
    moved = (model[0].weight.detach().double() - weights).norm() / weights.norm()
    assert reading.layers[0].update_ratio == pytest.approx(moved.item(), rel=1e-2)
