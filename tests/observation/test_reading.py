import dataclasses

import pytest

from brainnet.observation.reading import LayerReading, Reading


def test_what_was_not_measured_has_no_tag():
    reading = Reading(step=3, epoch=0, gradient_norm=2.0, layers=(LayerReading("a", silent=0.0),))
    assert reading.by_tag() == {"gradient/total_norm": 2.0, "activation/a/silent": 0.0}


def test_the_loss_is_left_to_whoever_trains():
    assert "loss/train" not in Reading(step=0, epoch=0, loss=1.0).by_tag()


def test_a_reading_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Reading(step=0, epoch=0).step = 1
