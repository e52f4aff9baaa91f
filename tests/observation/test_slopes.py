import pytest
import torch
from torch import nn

from brainnet.observation.layer_statistics import compute_slope, group_by_neuron
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.activation_registry import ACTIVATIONS


def test_units_are_neurons_or_channels():
    image = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    assert torch.equal(group_by_neuron(image, nn.Conv2d(1, 3, 1))[:, 2], image[:, 2].reshape(-1))
    sequence = torch.arange(2 * 6 * 3).reshape(2, 6, 3)
    assert torch.equal(group_by_neuron(sequence, nn.Linear(1, 3)), sequence.reshape(12, 3))
    assert group_by_neuron(torch.zeros(3), nn.Linear(1, 3)).shape == (1, 3)


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"identity"}))
def test_slope_is_the_derivative_as_a_share_of_the_steepest(name):
    activation = ACTIVATIONS[name]()
    sums = torch.linspace(-6, 6, 2001)
    shares = compute_slope(activation, sums)
    step = 1e-3
    with torch.no_grad():
        ahead, behind = activation(sums.double() + step), activation(sums.double() - step)
    derivative = ((ahead - behind) / (2 * step)).abs()
    smooth = (derivative.diff().abs() < 0.05).nonzero().flatten()
    steepest = 0.25 if name == "sigmoid" else 1.0
    torch.testing.assert_close(
        shares.double()[smooth], derivative[smooth] / steepest, atol=2e-2, rtol=0
    )
    assert 0.99 <= shares.max() <= 1.2


def test_slope_of_a_ramp_is_measured_against_its_own_width():
    ramp = ThresholdRamp(torch.zeros(2), torch.tensor([0.5, 4.0]), neurons=2, learn_width=True)
    shares = compute_slope(ramp, torch.tensor([[0.25, 0.25], [1.0, 1.0], [-1.0, -1.0]]))
    torch.testing.assert_close(shares, torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]))
    assert all(parameter.grad is None for parameter in ramp.parameters())


def test_slope_leaves_what_works_in_place_alone():
    sums = torch.tensor([-1.0, 1.0])
    assert compute_slope(nn.ReLU(inplace=True), sums).tolist() == [0.0, 1.0]
    assert sums.tolist() == [-1.0, 1.0]
    assert not sums.requires_grad


@pytest.mark.parametrize("activation", [None, nn.Identity(), nn.RReLU(), nn.Softmax(dim=-1)])
def test_there_is_no_slope_where_it_would_mean_nothing_or_draw_random_numbers(activation):
    assert compute_slope(activation, torch.zeros(3)) is None


def test_whoever_keeps_what_backward_passes_need_hears_nothing_of_it():
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda saved: saved):
        shares = compute_slope(nn.ReLU(), torch.tensor([-1.0, 1.0]))
    assert shares.tolist() == [0.0, 1.0]
    assert kept == []


def test_there_is_a_slope_where_nobody_may_keep_what_backward_passes_need():
    with torch.autograd.graph.disable_saved_tensors_hooks("not here"):
        assert compute_slope(nn.ReLU(), torch.tensor([-1.0, 1.0])).tolist() == [0.0, 1.0]
