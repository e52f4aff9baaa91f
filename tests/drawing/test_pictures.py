"""Every picture of a training is a PNG with something on it, whatever it is drawn of."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from brainnet.observation.plots import (
    LossSlice,
    plot_boundary,
    plot_confusion,
    plot_loss_slice,
    plot_weights,
)

POSITIONS = tuple(position / 2 for position in range(-2, 7))
PLANE = np.stack([np.tile(np.linspace(0, 1, 8), (8, 1))] * 2, axis=-1)
PICTURES = {
    "hill": lambda: plot_loss_slice(
        LossSlice(POSITIONS, tuple(p * p for p in POSITIONS), 0.0, 1.0), 7
    ),
    "flat hill": lambda: plot_loss_slice(
        LossSlice(POSITIONS, (1.0,) * len(POSITIONS), 1.0, 1.0), 7
    ),
    "confusion": lambda: plot_confusion(np.array([[5, 1], [0, 4]]), ["no", "yes"], "test"),
    "long names": lambda: plot_confusion(np.eye(3, dtype=int), ["a long name"] * 3, "test"),
    "an empty class": lambda: plot_confusion(np.array([[0, 0], [1, 4]]), ["no", "yes"], "test"),
    "weights": lambda: plot_weights(np.linspace(-1, 1, 7 * 6).reshape(7, 6), (2, 3), "hidden_1"),
    "weights of colours": lambda: plot_weights(
        np.linspace(-1, 1, 7 * 18).reshape(7, 18), (3, 2, 3), "hidden_1"
    ),
    "weights of two channels": lambda: plot_weights(
        np.linspace(-1, 1, 7 * 12).reshape(7, 12), (2, 2, 3), "hidden_1"
    ),
    "no weights yet": lambda: plot_weights(np.zeros((1, 6)), (2, 3), "hidden_1"),
    "boundary": lambda: plot_boundary(
        PLANE, (0, 1, 0, 1), np.random.rand(9, 2), np.arange(9) % 2, ["a", "b"], ["x", "y"]
    ),
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_is_a_png_of_the_size_it_says(name):
    picture = PICTURES[name]()
    image = Image.open(BytesIO(picture.png))
    assert image.format == "PNG"
    assert image.size == picture.size
    assert len(np.unique(np.asarray(image))) > 10
