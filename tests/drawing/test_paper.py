import math
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from brainnet.observation.plots import HEIGHT, WIDTH, Paper, Word, _font, ticks

BOX = (100.0, 50.0, 500.0, 350.0)


def pixels(paper):
    return np.asarray(Image.open(BytesIO(paper.picture().png)).convert("RGB")).astype(int)


def is_near(found, colour):
    return (np.abs(found - colour).max(axis=-1) <= 2).sum()


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-3, 24), (1e-4, 3e-4), (0, 1e6), (-7e-9, 2e-9), (99.5, 100.5)]
)
def test_ticks_are_round_few_evenly_spaced_and_inside(low, high):
    found = ticks(low, high)
    values = [value for value, _ in found]
    assert 3 <= len(found) <= 7
    assert all(low - 1e-12 <= value <= high + 1e-12 for value in values)
    assert np.allclose(np.diff(values), values[1] - values[0])
    assert len({text for _, text in found}) == len(found)
    assert all(math.isclose(float(text), value, abs_tol=1e-12) for value, text in found)


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (0.0, math.nan), (0.0, math.inf)])
def test_where_there_is_no_span_there_are_no_ticks(low, high):
    assert ticks(low, high) == []


def test_a_dot_lies_where_its_numbers_say():
    paper = Paper(BOX)
    paper.spans((0.0, 4.0), (-1.0, 1.0))
    paper.dot(1.0, 0.5, "#d55e00", 8)
    assert paper.at(1.0, 0.5) == (100.0, 75.0)
    found = pixels(paper)
    assert found.shape == (HEIGHT, WIDTH, 3)
    rows, columns = np.nonzero(np.abs(found - (213, 94, 0)).max(axis=-1) <= 2)
    assert (columns.mean(), rows.mean()) == pytest.approx((200, 125), abs=1)
    assert len(rows) == pytest.approx(math.pi * 64, rel=0.15)


def test_what_lies_outside_is_cut_off():
    paper = Paper(BOX)
    paper.line([(-5.0, 0.5), (5.0, 0.5)], "#0072b2", 4, dashed=False)
    found = pixels(paper)
    assert is_near(found[50:350, 100:500], (0, 114, 178)) > 1000
    assert is_near(found[:, :100], (0, 114, 178)) == is_near(found[:, 500:], (0, 114, 178)) == 0


def test_colours_fill_the_plot_from_the_top():
    paper = Paper(BOX)
    paper.colours(np.array([[[1.0, 0, 0]], [[0, 0, 1.0]]]))
    found = pixels(paper)
    assert is_near(found[50:200, 100:500], (255, 0, 0)) == 150 * 400
    assert is_near(found[200:350, 100:500], (0, 0, 255)) == 150 * 400


@pytest.mark.parametrize("angle", [0, 20, 90])
def test_words_stand_on_the_sheet(angle):
    paper = Paper(BOX)
    paper.write(Word("truth", (50.0, 200.0), 11, "#000000", anchor="mm", angle=angle))
    dark = np.nonzero(pixels(paper).max(axis=-1) < 100)
    assert (dark[1].mean(), dark[0].mean()) == pytest.approx((50, 200), abs=4)
    height, width = (np.ptp(axis) for axis in dark)
    assert (height > width) == (angle == 90)


def test_letters_of_many_languages_are_known():
    missing = bytes(_font(11, bold=False).getmask("\u0378"))
    for letter in "²…äßñžПλ≥":
        assert bytes(_font(11, bold=False).getmask(letter)) != missing
