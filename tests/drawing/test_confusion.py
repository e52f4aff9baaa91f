"""Right answers and mistakes are told apart by their colours."""

import math
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from brainnet.observation.plots import (
    HEIGHT,
    POINT,
    QUIET,
    WIDTH,
    Paper,
    plot_confusion,
    text_width,
)


def test_right_answers_are_blue_and_mistakes_orange():
    def area(counts, colour):
        picture = plot_confusion(np.array(counts), ["a", "b"], "test")
        pixels = np.asarray(Image.open(BytesIO(picture.png)))[..., :3].astype(int)
        return (np.abs(pixels - colour).max(axis=-1) <= 1).sum()

    blue, orange = (0, 114, 178), (213, 94, 0)
    right, wrong = [[9, 0], [0, 9]], [[0, 9], [9, 0]]
    assert area(right, blue) > 1000
    assert area(right, orange) == 0
    assert area(wrong, orange) > 1000
    assert area(wrong, blue) == 0


def words_of(names, monkeypatch):
    """What is written of so many classes, and the plot's own edges."""
    papers = []
    drawn = Paper.picture
    monkeypatch.setattr(Paper, "picture", lambda paper: papers.append(paper) or drawn(paper))
    plot_confusion(np.eye(len(names), dtype=int), names, "test")
    (paper,) = papers
    return paper._words, paper.box


def edges(word):
    """Left, top, right and bottom of a word in pixels; of one turned up the sheet, too."""
    wide, high = text_width(word.text, word.size), word.size * POINT
    if word.angle:
        turn = math.radians(word.angle)
        wide, high = (
            wide * math.cos(turn) + high * math.sin(turn),
            wide * math.sin(turn) + high * math.cos(turn),
        )
    x, y = word.place
    left = x - {"l": 0, "m": wide / 2, "r": wide}[word.anchor[0]]
    top = y - {"a": 0, "t": 0, "m": high / 2, "s": high}[word.anchor[1]]
    return left, top, left + wide, top + high


@pytest.mark.parametrize(
    "names",
    [
        ["relax", "check the burner"],
        ["relax", "stir", "check the burner"],
        ["setosa", "versicolor", "virginica"],
        [str(number) for number in range(10)],
        [f"class number {number}" for number in range(10)],
        [f"kind {number} of thing" for number in range(20)],
    ],
)
def test_no_name_is_cut_or_runs_into_the_names_of_the_directions(names, monkeypatch):
    words, (left, _, _, bottom) = words_of(names, monkeypatch)
    told_of = [word.text for word in words if word.colour == QUIET]
    assert sorted(told_of) == sorted([*names, *names])
    known = {word.text: edges(word) for word in words if word.text in ("truth", "answer")}
    for word in words:
        if word.colour == QUIET:
            told = edges(word)
            beside = told[2] <= left
            assert known["truth"][2] < told[0] if beside else told[3] < known["answer"][1]
            assert beside or told[1] > bottom
            assert told[0] > 0
            assert told[2] < WIDTH
    assert known["answer"][3] < HEIGHT - 30  # where the caption begins


def test_a_name_too_long_for_the_sheet_is_cut_by_its_width(monkeypatch):
    words, (left, *_) = words_of(["w" * 60, "i"], monkeypatch)
    cut = [word.text for word in words if word.text.endswith("…")]
    assert len(cut) == 2
    assert max(text_width(each, 10) for each in cut) < WIDTH / 2
    assert left < WIDTH / 2
