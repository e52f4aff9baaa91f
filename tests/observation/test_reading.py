import dataclasses

import pytest

from brainnet.observation.reading import LayerReading, Reading


def test_missing_values_have_no_tag():
    reading = Reading(step=3, epoch=0, gradient_norm=2.0, layers=(LayerReading("a", silent=0.0),))
    assert reading.to_scalars() == {"gradient/total_norm": 2.0, "activation/a/silent": 0.0}


def test_the_loss_is_no_scalar_of_the_reading():
    assert "loss/train" not in Reading(step=0, epoch=0, loss=1.0).to_scalars()


def test_readings_are_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Reading(step=0, epoch=0).step = 1
