"""The layers of a run: their sizes, and what each has understood, counted again by hand."""

import pytest

from brainnet.explanation.report import layers_of


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
