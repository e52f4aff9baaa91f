import dataclasses

import pytest

from brainnet.observation.reading import Histogram, LayerReading, Reading


def test_what_was_not_measured_has_no_tag():
    reading = Reading(step=3, epoch=0, gradient_norm=2.0, layers=(LayerReading("a", silent=0.0),))
    assert reading.by_tag() == {"gradient/total_norm": 2.0, "activation/a/silent": 0.0}


def test_the_loss_is_left_to_whoever_trains():
    assert "loss/train" not in Reading(step=0, epoch=0, loss=1.0).by_tag()


def test_a_reading_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Reading(step=0, epoch=0).step = 1


def test_edges_end_exactly_at_the_maximum():
    edges = Histogram(3, 0, -0.1, 0.7, 0.0, 0.0, (1, 1, 1)).edges
    assert edges[-1] == 0.7
    assert edges == pytest.approx((-0.1 + 0.8 / 3, -0.1 + 1.6 / 3, 0.7))
