"""Boundary: what a network would answer at every point of the plane, drawn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainnet.drawing.colours import CLASS_COLOURS, Numbers, rgb
from brainnet.drawing.paper import PAPER, WIDTH, Paper, Picture, box_at


def draw_boundary(
    answers: Numbers,
    extent: tuple[float, float, float, float],
    points: Numbers,
    classes: NDArray[np.integer[Any]],
    names: Sequence[str],
    axis_names: Sequence[str],
) -> Picture:
    """What the network would answer at every point of the plane, with the rows on top.

    Args:
        answers: share given to each class, from the bottom row up, (height, width, classes).
        extent: left, right, bottom and top of the plane, in the units of the data.
        points: the rows, (rows, 2).
        classes: their true classes, (rows,).
        names: what the classes are called.
        axis_names: what the two inputs are called.
    """
    paper = Paper(box_at(0.15, 0.14, 0.81, 0.75))
    palette = np.array([rgb(CLASS_COLOURS[i % len(CLASS_COLOURS)]) for i in range(len(names))])
    paper.spans(extent[:2], extent[2:])
    paper.colours((1 - (1 - answers @ palette) * 0.45)[::-1], smooth=True)
    shown = [CLASS_COLOURS[index % len(CLASS_COLOURS)] for index in range(len(names))]
    for (x, y), index in zip(points.tolist(), classes.tolist(), strict=True):
        paper.dot(x, y, shown[index], 3.6, edge=PAPER)
    paper.title("What it would answer at every point")
    paper.scales()
    paper.axis_names(axis_names[0], axis_names[1], 0.115 * WIDTH)
    paper.legend([(name, colour, 3.6) for name, colour in zip(names, shown, strict=True)])
    return paper.picture()
