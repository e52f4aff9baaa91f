"""Confusion: which class was taken for which, drawn."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainnet.drawing.colours import BLUE, ORANGE, tint
from brainnet.drawing.paper import (
    HEIGHT,
    INK,
    PAPER,
    QUIET,
    WIDTH,
    Paper,
    Picture,
    Word,
    text_width,
)

BESIDE, BELOW = 180, 120
"""Pixels that the names of the classes may take, at the left and below."""

SIZE, SMALL = 10.0, 7.0
LINE = 16
"""Pixels of a line of names."""

TOP, RIGHT, GAP = 50, WIDTH - 16, 7
TRUTH, ANSWER = 14, HEIGHT - 48
"""Where the names of the two directions stand: from the left, and from above."""


def draw_confusion(counts: NDArray[np.integer[Any]], names: Sequence[str], rows: str) -> Picture:
    """Which class was taken for which: right answers in blue on the diagonal, mistakes in orange.

    Args:
        counts: rows of each true class (down) that got each answer (across), (classes, classes).
        names: what the classes are called.
        rows: which rows were asked, such as "validation".
    """
    right, total, classes = int(np.trace(counts)), int(counts.sum()), len(counts)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    diagonal = np.eye(classes, dtype=bool)
    size = SIZE if classes <= 18 else SMALL
    beside = [fitted(name, BESIDE, size) for name in names]
    start = TRUTH + 18 + max(text_width(label, size) for label in beside) + GAP
    angle = _angle(names, (RIGHT - start) / classes - GAP, size)
    below, high = _turned(names, angle, size)
    paper = Paper((start, TOP, RIGHT, ANSWER - 20 - high - GAP))
    paper.spans((-0.5, classes - 0.5), (classes - 0.5, -0.5))
    paper.title("What is taken for what")
    paper.colours(np.where(diagonal[..., None], tint(share, BLUE), tint(np.sqrt(share), ORANGE)))
    left, top, _, bottom = paper.box
    for truth, answer in zip(*np.nonzero(counts), strict=True):
        x, y = paper.at(answer, truth)
        colour = PAPER if share[truth, answer] > 0.5 else INK
        number, digits = str(counts[truth, answer]), SIZE if classes <= 12 else SMALL
        paper.write(Word(number, (left + x, top + y), digits, colour, anchor="mm"))
    anchor, aside = ("ma", 0.0) if angle == 0 else (("mt", 0.0) if angle == 90 else ("rt", 8.0))
    for place in range(classes):
        x, y = paper.at(place, place)
        spot = (left + x + aside, bottom + GAP)
        paper.write(Word(below[place], spot, size, QUIET, anchor=anchor, angle=angle))
        paper.write(Word(beside[place], (left - GAP, top + y), size, QUIET, anchor="rm"))
    paper.write(Word("answer", ((left + RIGHT) / 2, ANSWER), 11, anchor="ms"))
    paper.write(Word("truth", (TRUTH, (top + bottom) / 2), 11, anchor="mm", angle=90))
    paper.caption([f"{right} of {total} {rows} rows right."])
    return paper.picture()


def fitted(name: str, room: float, size: float) -> str:
    """A name cut to so many pixels.

    Example:
        >>> fitted("relax", 150, 10), len(fitted("relax" * 20, 150, 10)) < 25
        ('relax', True)
    """
    if text_width(name, size) <= room:
        return name
    kept = next(
        (end for end in range(len(name) - 1, 0, -1) if text_width(name[:end] + "…", size) <= room),
        0,
    )
    return f"{name[:kept].rstrip()}…"


def _angle(names: Sequence[str], room: float, size: float) -> float:
    """By how many degrees the names below are turned: not at all where each has room enough."""
    if max(text_width(name, size) for name in names) <= room:
        return 0.0
    return 35.0 if room > 2 * LINE else 90.0


def _turned(names: Sequence[str], angle: float, size: float) -> tuple[list[str], float]:
    """The names below, turned and cut, and how many pixels high they are."""
    steep, flat = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    if steep == 0:
        return list(names), LINE
    cut = [fitted(name, (BELOW - flat * LINE) / steep, size) for name in names]
    return cut, steep * max(text_width(each, size) for each in cut) + flat * LINE
