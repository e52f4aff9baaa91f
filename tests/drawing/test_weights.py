"""Weights are drawn in the colours that they look for."""

from io import BytesIO

import numpy as np
from PIL import Image

from brainnet.observation.plots import plot_weights


def test_weights_of_colours_are_drawn_in_these_colours():
    weights = np.zeros((1, 3, 4, 4))
    weights[0, 0] = 1  # looks for red all over
    picture = plot_weights(weights.reshape(1, -1), (3, 4, 4), "hidden_1")
    pixels = np.asarray(Image.open(BytesIO(picture.png)))[..., :3].astype(int)
    assert (np.abs(pixels - (255, 127, 127)).max(axis=-1) <= 1).sum() > 10_000
