"""Confusion: which class was taken for which, drawn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainnet.drawing.colours import BLUE, ORANGE, tint
from brainnet.drawing.paper import INK, PAPER, QUIET, WIDTH, Paper, Picture, Word, box_at

LABEL = 12  # letters of a class's name


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
    labels = [name if len(name) <= LABEL else f"{name[: LABEL - 1]}…" for name in names]
    room = 0.1 + 0.017 * max(map(len, labels))
    paper = Paper(box_at(room, 0.2, 0.97 - room, 0.69))
    paper.spans((-0.5, classes - 0.5), (classes - 0.5, -0.5))
    paper.title("What is taken for what")
    paper.colours(np.where(diagonal[..., None], tint(share, BLUE), tint(np.sqrt(share), ORANGE)))
    left, top, _, bottom = paper.box
    size = 10 if classes <= 12 else 7
    for truth, answer in zip(*np.nonzero(counts), strict=True):
        x, y = paper.at(answer, truth)
        colour = PAPER if share[truth, answer] > 0.5 else INK
        number = str(counts[truth, answer])
        paper.write(Word(number, (left + x, top + y), size, colour, anchor="mm"))
    crowded = sum(map(len, labels)) > 40
    for place, label in enumerate(labels):
        x, y = paper.at(place, place)
        turned: dict[str, Any] = {"anchor": "rt", "angle": 20} if crowded else {"anchor": "ma"}
        paper.write(Word(label, (left + x + 8 * crowded, bottom + 7), 10, QUIET, **turned))
        paper.write(Word(label, (left - 7, top + y), 10, QUIET, anchor="rm"))
    paper.axis_names("answer", "truth", (room - 0.035) * WIDTH)
    paper.caption([f"{right} of {total} {rows} rows right."])
    return paper.picture()
