"""The portrait of what a network is, counted again by hand."""

import pytest
import torch
from torch import nn

from brainnet.portrait.structure import (
    activations_of,
    biases_of,
    layers_of,
    neurons_of,
    weights_of,
)
from brainnet.portrait.subject import Subject


def outputs(subject):
    with torch.no_grad():
        return subject.network.layers[0](subject.learned.inputs)


def test_layers_have_their_sizes_and_numbers(classes):
    told = layers_of(classes)
    assert (told.inputs, told.outputs, told.numbers) == (3, 2, 3 * 6 + 6 + 6 * 2 + 2)
    assert [(each.name, each.inputs, each.neurons, each.numbers) for each in told.layers] == [
        ("hidden_1", 3, 6, 24),
        ("output", 6, 2, 14),
    ]
    assert [each.activation for each in told.layers] == ["ThresholdRamp", None]


def test_what_a_layer_has_understood_is_the_nearest_class_mean_on_unseen_rows(classes):
    told = layers_of(classes)
    learned, unseen = classes.learned, classes.unseen
    assert unseen.part == "test"
    means = [learned.inputs[learned.targets == each].mean(dim=0) for each in (0, 1)]
    right = 0
    for row, target in zip(unseen.inputs, unseen.targets.tolist(), strict=True):
        apart = [float((row - mean).norm()) for mean in means]
        right += apart.index(min(apart)) == target
    assert told.measure == "nearest class mean"
    assert told.before == pytest.approx(right / 12)
    assert all(0 <= each.readable <= 1 for each in told.layers)


def test_of_numbers_it_is_what_a_plain_sum_explains(numbers):
    told = layers_of(numbers)
    assert told.measure == "straight line"
    assert told.before == pytest.approx(1.0, abs=0.05)  # the targets are a sum of the inputs


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


def test_the_strongest_weights_are_the_largest_by_name(classes):
    told = weights_of(classes)
    values = classes.network.layers[0].weights.value.detach()
    first = told.layers[0]
    assert first.mean_size == pytest.approx(float(values.abs().mean()))
    largest = values.abs().flatten().sort(descending=True).values[:5]
    assert [abs(each.weight) for each in first.strongest] == pytest.approx(largest.tolist())
    for each in first.strongest:
        place = int(each.target.split("#")[1]), "xyz".index(each.source)
        assert each.weight == values[place].item()
    assert {each.target for each in told.layers[1].strongest} <= {"low", "high"}


def test_the_neuron_that_is_told_is_the_one_most_listened_to(classes):
    told = weights_of(classes).neuron
    heard = classes.network.layers[1].weights.value.detach().abs().sum(dim=0)
    assert told.name == f"hidden_1 #{int(heard.argmax())}"
    assert told.heard
    row = classes.network.layers[0].weights.value.detach()[int(heard.argmax())]
    assert told.weights == tuple(row.tolist())
    assert told.bias == classes.network.layers[0].bias.value.detach()[int(heard.argmax())].item()


def test_biases_have_their_ends_and_their_signs(classes):
    first = biases_of(classes).layers[0]
    values = classes.network.layers[0].bias.value.detach()
    assert (first.jumpy, first.calm) == (int((values > 0).sum()), int((values < 0).sum()))
    assert first.jumpiest == (f"hidden_1 #{int(values.argmax())}", values.max().item())
    assert first.calmest == (f"hidden_1 #{int(values.argmin())}", values.min().item())


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
        sums = smooth.network.layers[0].collect(smooth.learned.inputs)
    slopes = 1 - sums.tanh().square()
    assert (told.activation, told.threshold, told.full) == ("Tanh", None, None)
    assert told.flat == pytest.approx(float((slopes < 0.1).double().mean()))


def test_without_rows_the_numbers_of_the_network_are_left(without_rows):
    assert neurons_of(without_rows) is None
    assert layers_of(without_rows).before is None
    assert layers_of(without_rows).inputs == 3
    assert activations_of(without_rows).layers[0].silent is None
    assert {each.source for each in weights_of(without_rows).layers[1].strongest} <= {
        f"hidden_1 #{each}" for each in range(6)
    }


def test_a_network_of_ones_own_is_told_as_far_as_it_can_be_seen(classes):
    model = nn.Sequential(
        nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2)
    ).eval()
    subject = Subject(model, classes.question, classes.facts, classes.rows, classes.readings)
    with torch.no_grad():
        answers = model[:3](subject.learned.inputs)
    told = neurons_of(subject)
    rates = (answers > 0).double().mean(dim=(0, 2))
    assert told.layers[0].neurons == 2
    assert told.layers[0].firing_rate == pytest.approx(float(rates.mean()))
    assert [each.strongest == () for each in weights_of(subject).layers] == [True, False]
    assert not weights_of(subject).neuron.heard
