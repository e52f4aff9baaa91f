"""The weights and biases of a run by name, counted again by hand."""

import pytest

from brainnet.explanation.report import biases_of, weights_of


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
