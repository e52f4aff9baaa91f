import pytest
import torch
from torch import nn

from brainnet.observation.layer_signals import LayerSignals
from brainnet.structure.anatomy import places


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
    assert signals.measured()["firing_rate"].item() == 0.25
    assert signals.measured()["silent"].item() == 0.0
