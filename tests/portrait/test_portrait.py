"""A portrait of what is there: without rows, and of a network of one's own."""

import pytest
import torch
from torch import nn

from brainnet.concepts import CONCEPTS
from brainnet.explanation.report import (
    REPORT_BUILDERS,
    RunData,
    activations_of,
    layers_of,
    needs_rows,
    neurons_of,
    weights_of,
)


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
    subject = RunData(model, classes.question, classes.facts, classes.rows, classes.readings)
    with torch.no_grad():
        answers = model[:3](subject.learned.inputs)
    told = neurons_of(subject)
    rates = (answers > 0).double().mean(dim=(0, 2))
    assert told.layers[0].neurons == 2
    assert told.layers[0].firing_rate == pytest.approx(float(rates.mean()))
    assert [each.strongest == () for each in weights_of(subject).layers] == [True, False]
    assert not weights_of(subject).neuron.heard


def test_what_needs_no_rows_is_told_alike_with_them(classes, without_rows):
    alike = {each for each in CONCEPTS if not needs_rows(each, classes.network)}
    assert {each.slug for each in alike} >= {"weights", "biases", "learning-rate"}
    for concept in alike:
        assert REPORT_BUILDERS[concept](without_rows) == REPORT_BUILDERS[concept](classes)


def test_a_network_of_ones_own_may_take_none_but_its_own_rows():
    """Such as one that looks codes up."""
    needed = {each.slug for each in CONCEPTS if needs_rows(each, nn.Sequential(nn.Linear(2, 1)))}
    assert "weights" in needed
    assert "biases" not in needed
    assert needs_rows(None, nn.Linear(2, 1))
