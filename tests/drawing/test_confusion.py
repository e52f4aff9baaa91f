"""Right answers and mistakes are told apart by their colours."""

from io import BytesIO

import numpy as np
from PIL import Image

from brainnet.drawing.confusion import draw_confusion


def test_right_answers_are_blue_and_mistakes_orange():
    def area(counts, colour):
        picture = draw_confusion(np.array(counts), ["a", "b"], "test")
        pixels = np.asarray(Image.open(BytesIO(picture.png)))[..., :3].astype(int)
        return (np.abs(pixels - colour).max(axis=-1) <= 1).sum()

    blue, orange = (0, 114, 178), (213, 94, 0)
    right, wrong = [[9, 0], [0, 9]], [[0, 9], [9, 0]]
    assert area(right, blue) > 1000
    assert area(right, orange) == 0
    assert area(wrong, orange) > 1000
    assert area(wrong, blue) == 0
