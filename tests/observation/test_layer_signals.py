import pytest
import torch
from torch import nn

from brainnet.kernels.statistics import read
from brainnet.observation.layer_signals import LayerSignals
from brainnet.structure.anatomy import places
from brainnet.structure.layer import Layer


def plainly(hook):
    return hook


@pytest.fixture
def model():
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU())
    nn.init.ones_(model[0].weight)
    return model


def test_tallies_are_sums_over_rows_for_each_neuron(model):
    signals = LayerSignals(places(model)[0], full=True, listening=plainly)
    handles = signals.listen()
    model(torch.tensor([[1.0], [-1.0], [2.0]])).sum().backward()
    for handle in handles:
        handle.remove()
    assert signals.tallies["firing"].tolist() == [2.0, 2.0]
    assert signals.tallies["slopes"].tolist() == [2.0, 2.0]
    assert signals.tallies["delta"].tolist() == [2.0, 2.0]


def test_nothing_is_measured_of_a_layer_that_was_not_called(model):
    assert LayerSignals(places(model)[0], full=True, listening=plainly).measured() == {}


def test_shares_are_taken_over_all_rows_of_all_passes(model):
    signals = LayerSignals(places(model)[0], full=False, listening=plainly)
    handles = signals.listen()
    for rows in ([[1.0]], [[-1.0], [-2.0], [-3.0]]):
        model(torch.tensor(rows))
    for handle in handles:
        handle.remove()
    home = {name: found.numpy() for name, found in signals.measured().items()}
    assert signals.shares(home) == {"firing_rate": 0.25, "silent": 0.0, "saturated": 0.0}
    assert read(signals.tables["answers"])[0].count == 8


def test_a_ramp_counts_for_itself_and_goes_on_counting_for_whoever_asked_before():
    found = []
    for asked in (False, True):
        layer = Layer(1, 2, bias=False)
        torch.nn.init.ones_(layer.weights.value)
        if asked:
            layer.activation.start_counting(2)
            layer(torch.tensor([[9.0]]))
        signals = LayerSignals(places(layer)[0], full=False, listening=plainly)
        handles = signals.listen()
        layer(torch.tensor([[-1.0], [0.5], [0.75], [3.0]]))
        for handle in handles:
            handle.remove()
        signals.close()
        assert (layer.activation.counts is not None) == asked
        home = {name: each.numpy() for name, each in signals.measured().items()}
        found.append(signals.shares(home))
    assert found[0] == found[1] == {"firing_rate": 0.75, "silent": 0.0, "saturated": 0.0}
