import pytest
import torch
from torch import nn
from torch.nn import functional as F

from brainnet.kernels.statistics import read_statistics
from brainnet.observation.layer_statistics import LayerStatistics
from brainnet.observation.step_observer import StepObserver
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.inspection import find_layers
from brainnet.structure.layer import Layer


def plainly(hook):
    return hook


@pytest.fixture
def model():
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU())
    nn.init.ones_(model[0].weight)
    return model


def test_tallies_are_sums_over_rows_for_each_neuron(model):
    signals = LayerStatistics(find_layers(model)[0], full=True, listening=plainly)
    handles = signals.listen()
    model(torch.tensor([[1.0], [-1.0], [2.0]])).sum().backward()
    for handle in handles:
        handle.remove()
    assert signals.tallies["firing"].tolist() == [2.0, 2.0]
    assert signals.tallies["slopes"].tolist() == [2.0, 2.0]
    assert signals.tallies["delta"].tolist() == [2.0, 2.0]


def test_nothing_is_measured_of_a_layer_that_was_not_called(model):
    assert LayerStatistics(find_layers(model)[0], full=True, listening=plainly).measured() == {}


def test_shares_are_taken_over_all_rows_of_all_passes(model):
    signals = LayerStatistics(find_layers(model)[0], full=False, listening=plainly)
    handles = signals.listen()
    for rows in ([[1.0]], [[-1.0], [-2.0], [-3.0]]):
        model(torch.tensor(rows))
    for handle in handles:
        handle.remove()
    home = {name: found.numpy() for name, found in signals.measured().items()}
    assert signals.shares(home) == {"firing_rate": 0.25, "silent": 0.0, "saturated": 0.0}
    assert read_statistics(signals.tables["answers"])[0].count == 8


def test_a_ramp_counts_for_itself_and_goes_on_counting_for_whoever_asked_before():
    found = []
    for asked in (False, True):
        layer = Layer(1, 2, bias=False)
        torch.nn.init.ones_(layer.weights.value)
        if asked:
            layer.activation.start_counting(2)
            layer(torch.tensor([[9.0]]))
        signals = LayerStatistics(find_layers(layer)[0], full=False, listening=plainly)
        handles = signals.listen()
        layer(torch.tensor([[-1.0], [0.5], [0.75], [3.0]]))
        for handle in handles:
            handle.remove()
        signals.close()
        assert (layer.activation.counts is not None) == asked
        home = {name: each.numpy() for name, each in signals.measured().items()}
        found.append(signals.shares(home))
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
def test_an_activation_is_heard_of_the_layer_that_it_reacts_to(wire, firing):
    model, inputs = Wired(wire), torch.randn(50, 4, generator=torch.Generator().manual_seed(1))
    said = {}
    model.relu.register_forward_hook(lambda _m, _i, answer: said.update(second=answer))
    model.tanh.register_forward_hook(lambda _m, _i, answer: said.update(first=answer))
    with StepObserver(model, level="full") as observed:
        model(inputs).square().mean().backward()
        reading = observed.finish(step=0, epoch=0).look().reading
    shares = {layer.place: layer.firing_rate for layer in reading.layers}
    assert {place for place, share in shares.items() if share is not None} == firing
    for place in firing:
        assert shares[place] == pytest.approx((said[place] > 0).double().mean().item())
    assert observed.unanswered == ([] if "first" in firing else ["first"])


@pytest.mark.parametrize("inplace", [False, True])
def test_what_a_layer_without_a_reaction_answers_is_its_sums_where_they_are_left(inplace):
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
    model.forward = lambda inputs: model[1](model[2](F.relu(model[0](inputs), inplace=inplace)))
    inputs = torch.randn(5, 4)
    with StepObserver(model) as observed:
        for _ in range(2):
            model(inputs).sum().backward()
        histograms = observed.finish(step=0, epoch=0).look().histograms
    assert ("activation/0" in histograms) == (not inplace)
    if not inplace:
        sums = model[0](inputs)
        assert histograms["activation/0"].count == 2 * 5 * 6
        assert histograms["activation/0"].maximum == sums.max().item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_ramp_is_told_as_it_was_at_the_step_however_late_that_is_read(dtype):
    ramp = ThresholdRamp(neurons=3, width=torch.ones(3), leak=0.05, learn_width=True)
    layer = Layer(2, 3, activation=ramp).to(dtype)
    observed = StepObserver(layer)
    layer(torch.full((4, 2), 100.0, dtype=dtype)).sum().backward()
    observed.before_update(layer.parameters())
    unread = observed.finish(0, 0)
    at_once = unread.look().reading.layers[0].saturated
    with torch.no_grad():
        for parameter in ramp.parameters():
            parameter.add_(3.0)
    assert unread.look().reading.layers[0].saturated == at_once == 1.0
