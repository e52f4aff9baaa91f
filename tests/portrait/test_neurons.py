"""The neurons of a run: who fires, how often and for what, counted again by hand."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from brainnet.explanation.report import activations_of, neurons_of


def outputs(subject):
    with torch.no_grad():
        return subject.network.layers[0](subject.learned.inputs)


def test_neurons_fire_as_often_as_counted(classes):
    told, fires = neurons_of(classes), outputs(classes) > 0
    rates = fires.double().mean(dim=0)
    (layer,) = told.layers
    assert (told.rows, layer.neurons) == (40, 6)
    assert layer.firing_rate == pytest.approx(float(rates.mean()))
    assert layer.never == tuple((rates == 0).nonzero().flatten().tolist())
    assert layer.always == tuple((rates == 1).nonzero().flatten().tolist())
    assert [each.firing_rate for each in told.busiest] == pytest.approx(
        rates.sort(descending=True).values[:3].tolist()
    )
    quiet = rates[rates > 0].sort().values[:3]
    assert [each.firing_rate for each in told.quietest] == pytest.approx(quiet.tolist())


def test_a_neuron_prefers_the_class_on_which_its_mean_is_highest(classes):
    answers, targets = outputs(classes), classes.learned.targets
    for each in neurons_of(classes).busiest:
        mine = answers[:, int(each.name.split("#")[1])]
        means = {name: float(mine[targets == c].mean()) for c, name in enumerate(("low", "high"))}
        assert each.most_for == (max(means, key=means.get), pytest.approx(max(means.values())))
        assert each.least_for == (min(means, key=means.get), pytest.approx(min(means.values())))
        assert each.mean == pytest.approx(float(mine.mean()))


def test_of_numbers_no_class_is_preferred(numbers):
    assert {each.most_for for each in neurons_of(numbers).busiest} == {None}


def test_the_activation_is_silent_on_the_ramp_or_full_as_counted(classes):
    (told,) = activations_of(classes).layers
    answers = outputs(classes)
    assert told.silent == pytest.approx(float((answers == 0).double().mean()))
    assert told.full == pytest.approx(float((answers == 1).double().mean()))
    assert (told.threshold, told.width) == ((0.0, 0.0), (1.0, 1.0))
    assert told.flat == pytest.approx(told.silent + told.full)


def test_a_smooth_activation_has_no_ends_but_flat_ground(smooth):
    (told,) = activations_of(smooth).layers
    with torch.no_grad():
        sums = smooth.network.layers[0].pre_activation(smooth.learned.inputs)
    slopes = 1 - sums.tanh().square()
    assert (told.activation, told.threshold, told.full) == ("Tanh", None, None)
    assert told.flat == pytest.approx(float((slopes < 0.1).double().mean()))


def test_classes_keep_their_names_where_the_last_is_not_among_the_rows(classes):
    labels = replace(classes.question.labels, outputs=("low", "high", "nowhere"))
    told = neurons_of(replace(classes, question=replace(classes.question, labels=labels)))
    assert {each.most_for[0] for each in told.busiest} <= {"low", "high"}
    assert {each.least_for[0] for each in told.busiest} <= {"low", "high"}


def test_of_an_activation_that_reacts_elsewhere_nothing_is_told(classes):
    class Actor(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.tanh = nn.Linear(classes.network.sizes[0], 5), nn.Tanh()
            self.last = nn.Linear(5, 2)

        def forward(self, inputs):
            return self.tanh(self.last(self.first(inputs).relu()))

    told = activations_of(replace(classes, network=Actor()))
    assert [(each.name, each.activation) for each in told.layers] == [("last", "Tanh")]
