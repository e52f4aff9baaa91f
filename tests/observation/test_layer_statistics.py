from contextlib import closing

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from brainnet.kernels.histogram_layout import STATISTICS_LAYOUT
from brainnet.observation.capabilities import ObservedModel
from brainnet.observation.layer_statistics import LayerStatistics, compute_slope, group_by_neuron
from brainnet.observation.step_observer import StepObserver
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.activation_registry import ACTIVATIONS
from brainnet.structure.inspection import find_layers
from brainnet.structure.layer import Layer


def plainly(hook):
    return hook


@pytest.fixture
def model():
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU())
    nn.init.ones_(model[0].weight)
    return model


def test_totals_are_sums_over_rows_per_neuron(model):
    signals = LayerStatistics(find_layers(model)[0], full=True, wrap=plainly)
    handles = signals.register()
    model(torch.tensor([[1.0], [-1.0], [2.0]])).sum().backward()
    for handle in handles:
        handle.remove()
    assert signals.totals["positive"].tolist() == [2.0, 2.0]
    assert signals.totals["slopes"].tolist() == [2.0, 2.0]
    assert signals.totals["delta"].tolist() == [2.0, 2.0]


def test_layers_that_were_not_called_have_no_statistics(model):
    assert LayerStatistics(find_layers(model)[0], full=True, wrap=plainly).collect() == ({}, {})


def test_shares_use_all_rows_of_all_passes(model):
    signals = LayerStatistics(find_layers(model)[0], full=False, wrap=plainly)
    handles = signals.register()
    for rows in ([[1.0]], [[-1.0], [-2.0], [-3.0]]):
        model(torch.tensor(rows))
    for handle in handles:
        handle.remove()
    totals = {name: total.numpy() for name, total in signals.collect()[1].items()}
    assert signals.compute_shares(totals) == {"firing_rate": 0.25, "silent": 0.0, "saturated": 0.0}
    assert signals.tables["outputs"][0, STATISTICS_LAYOUT.count] == 8


def test_ramps_count_during_the_step_and_keep_the_counters_of_the_user():
    found = []
    for asked in (False, True):
        layer = Layer(1, 2, bias=False)
        torch.nn.init.ones_(layer.weights.value)
        if asked:
            layer.activation.start_counting(2)
            layer(torch.tensor([[9.0]]))
        signals = LayerStatistics(find_layers(layer)[0], full=False, wrap=plainly)
        handles = signals.register()
        layer(torch.tensor([[-1.0], [0.5], [0.75], [3.0]]))
        for handle in handles:
            handle.remove()
        assert (layer.activation.counts is not None) == asked
        totals = {name: total.numpy() for name, total in signals.collect()[1].items()}
        found.append(signals.compute_shares(totals))
    assert found[0] == found[1] == {"firing_rate": 0.75, "silent": 0.0, "saturated": 0.0}


class Wired(nn.Module):
    """Calls its parts in an order of its own."""

    def __init__(self, wire):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm, self.tanh = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh()
        self.second, self.relu = nn.Linear(4, 6), nn.ReLU()
        self.last = nn.Linear(6, 6)
        self.wire = wire

    def forward(self, inputs):
        return self.wire(self, inputs)


def elsewhere(m, x):
    return m.relu(m.second(x)) + m.tanh(m.last(F.relu(m.first(x))))


def side_by_side(m, x):
    one, other = m.norm(m.first(x)), m.second(x)
    return m.tanh(one) + m.relu(other)


def with_what_came(m, x):
    return m.tanh(m.norm(m.first(x)) + 0.5) + m.relu(m.second(x))


@pytest.mark.parametrize(
    ("wire", "firing"), [(elsewhere, {"second"}), (side_by_side, {"first", "second"}),
                         (with_what_came, {"first", "second"})]
)  # fmt: skip
def test_activations_are_assigned_to_the_layer_they_are_applied_to(wire, firing):
    model, inputs = Wired(wire), torch.randn(50, 4, generator=torch.Generator().manual_seed(1))
    messages = {}
    model.relu.register_forward_hook(lambda _m, _i, answer: messages.update(second=answer))
    model.tanh.register_forward_hook(lambda _m, _i, answer: messages.update(first=answer))
    with closing(StepObserver(ObservedModel(model), level="full")) as observed:
        model(inputs).square().mean().backward()
        reading = observed.finish(step=0, epoch=0).resolve().reading
    shares = {layer.name: layer.firing_rate for layer in reading.layers}
    assert {place for place, share in shares.items() if share is not None} == firing
    for place in firing:
        assert shares[place] == pytest.approx((messages[place] > 0).double().mean().item())
    missing = [layer.info.name for layer in observed.layers if layer.is_activation_missing]
    assert missing == ([] if "first" in firing else ["first"])


@pytest.mark.parametrize("inplace", [False, True])
def test_outputs_of_a_layer_without_activation_module_are_its_sums(inplace):
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
    model.forward = lambda inputs: model[1](model[2](F.relu(model[0](inputs), inplace=inplace)))
    inputs = torch.randn(5, 4)
    with closing(StepObserver(ObservedModel(model))) as observed:
        for _ in range(2):
            model(inputs).sum().backward()
        histograms = observed.finish(step=0, epoch=0).resolve().histograms
    assert ("activation/0" in histograms) == (not inplace)
    if not inplace:
        sums = model[0](inputs)
        assert histograms["activation/0"].count == 2 * 5 * 6
        assert histograms["activation/0"].maximum == sums.max().item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_saturation_uses_the_ramp_of_the_observed_step(dtype):
    ramp = ThresholdRamp(neurons=3, width=torch.ones(3), leak=0.05, learn_width=True)
    layer = Layer(2, 3, activation=ramp).to(dtype)
    observed = StepObserver(ObservedModel(layer))
    layer(torch.full((4, 2), 100.0, dtype=dtype)).sum().backward()
    observed.measure_gradients(layer.parameters())
    pending = observed.finish(0, 0)
    at_once = pending.resolve().reading.layers[0].saturated
    with torch.no_grad():
        for parameter in ramp.parameters():
            parameter.add_(3.0)
    assert pending.resolve().reading.layers[0].saturated == at_once == 1.0


def test_columns_are_neurons_or_channels():
    image = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    assert torch.equal(group_by_neuron(image, nn.Conv2d(1, 3, 1))[:, 2], image[:, 2].reshape(-1))
    sequence = torch.arange(2 * 6 * 3).reshape(2, 6, 3)
    assert torch.equal(group_by_neuron(sequence, nn.Linear(1, 3)), sequence.reshape(12, 3))
    assert group_by_neuron(torch.zeros(3), nn.Linear(1, 3)).shape == (1, 3)


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"identity"}))
def test_slope_is_the_derivative_relative_to_the_largest(name):
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


def test_slope_of_a_ramp_is_relative_to_its_width():
    ramp = ThresholdRamp(torch.zeros(2), torch.tensor([0.5, 4.0]), neurons=2, learn_width=True)
    shares = compute_slope(ramp, torch.tensor([[0.25, 0.25], [1.0, 1.0], [-1.0, -1.0]]))
    torch.testing.assert_close(shares, torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]))
    assert all(parameter.grad is None for parameter in ramp.parameters())


def test_slope_of_an_inplace_activation_keeps_its_input():
    sums = torch.tensor([-1.0, 1.0])
    assert compute_slope(nn.ReLU(inplace=True), sums).tolist() == [0.0, 1.0]
    assert sums.tolist() == [-1.0, 1.0]
    assert not sums.requires_grad


@pytest.mark.parametrize("activation", [None, nn.Identity(), nn.RReLU(), nn.Softmax(dim=-1)])
def test_activations_without_a_slope_per_neuron_return_none(activation):
    assert compute_slope(activation, torch.zeros(3)) is None


def test_slopes_bypass_saved_tensor_hooks_of_the_user():
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda saved: saved):
        shares = compute_slope(nn.ReLU(), torch.tensor([-1.0, 1.0]))
    assert shares.tolist() == [0.0, 1.0]
    assert kept == []


def test_slopes_are_computed_if_saved_tensor_hooks_are_disabled():
    with torch.autograd.graph.disable_saved_tensors_hooks("not here"):
        assert compute_slope(nn.ReLU(), torch.tensor([-1.0, 1.0])).tolist() == [0.0, 1.0]
