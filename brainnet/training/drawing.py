"""Drawing: pictures as PNG files, made to be read at the size of a card in TensorBoard."""

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainnet.observation.hill import Hill
from brainnet.training.paper import (
    GAP,
    HEIGHT,
    INK,
    PAPER,
    QUIET,
    WIDTH,
    Box,
    Paper,
    Picture,
    Word,
)

BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
CLASS_COLOURS = (BLUE, ORANGE, GREEN, "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#555555")
"""Colours that differ for colour-blind eyes too (Okabe & Ito, 2008)."""

LABEL = 12  # letters of a class's name
CAPTION_COLUMNS = 58

Numbers = NDArray[np.floating[Any]]


def draw_hill(hill: Hill, step: int) -> Picture:
    """The loss along a step: where it began, the slope there, and where it ended."""
    paper = Paper(_box(0.19, 0.25, 0.77, 0.65))
    low, high = min(hill.losses), max(hill.losses)
    room = 0.1 * (high - low) or 0.05 * abs(high) or 1.0
    first, last = hill.positions[0], hill.positions[-1]
    margin = 0.05 * (last - first)
    paper.spans((first - margin, last + margin), (low - room, high + room))
    paper.title(f"The hill under step {step}")
    paper.scales()
    slope = [(0.0, hill.start), (last, hill.start + hill.slope * last)]
    paper.line(slope, QUIET, 2, dashed=True)
    paper.line(list(zip(hill.positions, hill.losses, strict=True)), INK, 3, dashed=False)
    paper.dot(0.0, hill.start, ORANGE, 7.5)
    paper.dot(1.0, hill.end, BLUE, 7.5)
    paper.axis_names("how far, in lengths of this step", "loss", 0.145 * WIDTH)
    paper.legend(
        [
            ("slope at the start", QUIET, 0),
            ("start of the step", ORANGE, 7.5),
            ("its end", BLUE, 7.5),
        ]
    )
    paper.caption(wrap(hill.verdict, CAPTION_COLUMNS))
    return paper.picture()


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
    paper = Paper(_box(room, 0.2, 0.97 - room, 0.69))
    paper.spans((-0.5, classes - 0.5), (classes - 0.5, -0.5))
    paper.title("What is taken for what")
    paper.colours(np.where(diagonal[..., None], _tint(share, BLUE), _tint(np.sqrt(share), ORANGE)))
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


def draw_weights(
    weights: Numbers, shape: tuple[int, int] | tuple[int, int, int], place: str
) -> Picture:
    """Each neuron's weights laid out as the picture that it looks at.

    Args:
        weights: (neurons, inputs).
        shape: (height, width) of the pictures that are the inputs, or (3, height, width) of
            coloured ones: their weights are shown as colours, grey where there is none.
        place: the layer's name.
    """
    shown = weights[: 10 * 10].reshape(-1, *shape)
    largest = max(float(np.abs(weights).max()), 1e-12)
    coloured = len(shape) == 3 and shape[0] == 3
    if coloured:
        channels = [_tiled(shown[:, channel]) for channel in range(3)]
        colours = 0.5 + 0.5 * np.stack(channels, axis=-1) / largest
        gap = np.isnan(channels[0])
        meaning = "Bright draws it on, dark holds it back."
    else:
        tiles = _tiled(shown.reshape(-1, *shape[-2:]))
        strength, gap = np.nan_to_num(tiles) / largest, np.isnan(tiles)
        on = (tiles > 0)[..., None]
        colours = np.where(on, _tint(strength, BLUE), _tint(-strength, ORANGE))
        meaning = "Blue draws it on, orange holds it back."
    more = "" if len(shown) == len(weights) else f" (the first {len(shown)} of {len(weights)})"
    sheet = np.where(gap[..., None], np.array(_rgb(GAP)), colours)
    caption = wrap(f"A square a neuron{more}. {meaning}", CAPTION_COLUMNS)
    foot = 0.11 + 0.05 * (len(caption) - 1)
    left, top, right, bottom = _box(0.03, foot, 0.94, 0.89 - foot)
    size = min((right - left) / sheet.shape[1], (bottom - top) / sheet.shape[0])
    left += (right - left - size * sheet.shape[1]) / 2
    paper = Paper((left, top, left + size * sheet.shape[1], top + size * sheet.shape[0]))
    paper.colours(sheet)
    paper.title(f"What {place} looks for")
    paper.caption(caption)
    return paper.picture()


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
    paper = Paper(_box(0.15, 0.14, 0.81, 0.75))
    palette = np.array([_rgb(CLASS_COLOURS[i % len(CLASS_COLOURS)]) for i in range(len(names))])
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


def _box(left: float, bottom: float, width: float, height: float) -> Box:
    """Edges in pixels of what is given in shares of the sheet, from its lower left corner."""
    top = 1 - bottom - height
    return left * WIDTH, top * HEIGHT, (left + width) * WIDTH, (1 - bottom) * HEIGHT


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return red, green, blue


def _tint(strength: Numbers, colour: str) -> Numbers:
    """From paper (0) to the colour (1), (…, 3)."""
    tinted: Numbers = 1 - np.clip(strength, 0, 1)[..., None] * (1 - np.array(_rgb(colour)))
    return tinted


def _tiled(tiles: Numbers) -> Numbers:
    """Pictures side by side with a gap of one pixel, NaN, between them."""
    number, height, width = tiles.shape
    columns = int(np.ceil(np.sqrt(number * 1.35 * height / width)))
    rows = int(np.ceil(number / columns))
    sheet = np.full((rows, columns, height + 1, width + 1), np.nan)
    sheet.reshape(-1, height + 1, width + 1)[:number, :height, :width] = tiles
    return sheet.transpose(0, 2, 1, 3).reshape(rows * (height + 1), columns * (width + 1))
