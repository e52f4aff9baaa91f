"""Drawing: pictures as PNG files, made to be read at the size of a card in TensorBoard."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from brainnet.observation.hill import Hill

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, QUIET, GAP, PAPER = "#1f2933", "#7b8794", "#cbd2d9", "#ffffff"
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
CLASS_COLOURS = (BLUE, ORANGE, GREEN, "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#555555")
"""Colours that differ for colour-blind eyes too (Okabe & Ito, 2008)."""

LABEL = 12  # letters of a class's name
WIDTH, HEIGHT, DOTS_PER_INCH = 4.8, 4.1, 110
CAPTION_COLUMNS = 58
STYLE: dict[Any, Any] = {
    "font.size": 11,
    "axes.titlesize": 12.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "figure.facecolor": PAPER,
}

Numbers = NDArray[np.floating[Any]]


@dataclass(slots=True)
class Picture:
    """A picture that is ready to be stored.

    Attributes:
        png: the file's content.
        size: (width, height) in pixels.
    """

    png: bytes = b""
    size: tuple[int, int] = (0, 0)


@contextmanager
def canvas(picture: Picture, caption: str = "") -> Iterator["Axes"]:
    """One pair of axes to draw on; on leaving, the picture is made."""
    # Here, not above: matplotlib takes a third of a second, and many runs draw nothing.
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DOTS_PER_INCH)
        agg = FigureCanvasAgg(figure)
        axes = figure.add_axes((0.19, 0.25, 0.77, 0.65))
        if caption:
            figure.text(0.03, 0.03, caption, fontsize=10.5, va="bottom", linespacing=1.35)
        yield axes
        file = BytesIO()
        # Lightly compressed: a third faster, for pictures of a few tens of kilobytes.
        agg.print_png(file, pil_kwargs={"compress_level": 1})  # type: ignore[no-untyped-call]
        picture.png, picture.size = file.getvalue(), agg.get_width_height()


def draw_hill(hill: Hill, step: int) -> Picture:
    """The loss along a step: where it began, the slope there, and where it ended."""
    picture = Picture()
    with canvas(picture, fill(hill.verdict, CAPTION_COLUMNS)) as axes:
        axes.set_title(f"The hill under step {step}")
        axes.plot(hill.positions, hill.losses, color=INK, linewidth=2)
        falls = [position for position in hill.positions if position >= 0]
        slope = [hill.start + hill.slope * position for position in falls]
        axes.plot(falls, slope, "--", color=QUIET, linewidth=1.2, label="slope at the start")
        axes.plot([0], [hill.start], "o", color=ORANGE, markersize=10, label="start of the step")
        axes.plot([1], [hill.end], "o", color=BLUE, markersize=10, label="its end")
        low, high = min(hill.losses), max(hill.losses)
        if low < high:
            room = 0.1 * (high - low)
            axes.set_ylim(low - room, high + room)
        axes.locator_params(nbins=5)
        axes.set_xlabel("how far, in lengths of this step")
        axes.set_ylabel("loss")
        axes.legend(loc="upper right", fontsize=9.5, frameon=False)
    return picture


def draw_confusion(counts: NDArray[np.integer[Any]], names: Sequence[str], rows: str) -> Picture:
    """Which class was taken for which: right answers in blue on the diagonal, mistakes in orange.

    Args:
        counts: rows of each true class (down) that got each answer (across), (classes, classes).
        names: what the classes are called.
        rows: which rows were asked, such as "validation".
    """
    picture = Picture()
    right, total = int(np.trace(counts)), int(counts.sum())
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    diagonal = np.eye(len(counts), dtype=bool)
    colours = np.where(diagonal[..., None], _tint(share, BLUE), _tint(np.sqrt(share), ORANGE))
    with canvas(picture, f"{right} of {total} {rows} rows right.") as axes:
        axes.set_title("What is taken for what")
        axes.imshow(colours, aspect="auto")
        for truth, answer in zip(*np.nonzero(counts), strict=True):
            dark = share[truth, answer] > 0.5
            axes.text(
                answer,
                truth,
                str(counts[truth, answer]),
                ha="center",
                va="center",
                fontsize=10 if len(names) <= 12 else 7,
                color=PAPER if dark else INK,
            )
        labels = [name if len(name) <= LABEL else f"{name[: LABEL - 1]}…" for name in names]
        room = 0.1 + 0.017 * max(map(len, labels))
        axes.set_position((room, 0.2, 0.97 - room, 0.69))
        crowded = sum(map(len, labels)) > 40
        axes.set_xticks(range(len(names)), labels, rotation=20 if crowded else 0)
        axes.set_yticks(range(len(names)), labels)
        axes.set_xlabel("answer")
        axes.set_ylabel("truth")
        axes.tick_params(length=0)
    return picture


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
    picture = Picture()
    shown = weights[: 10 * 10].reshape(-1, *shape)
    largest = max(float(np.abs(weights).max()), 1e-12)
    coloured = len(shape) == 3 and shape[0] == 3
    if coloured:
        channels = [_tiled(shown[:, channel]) for channel in range(3)]
        colours = 0.5 + 0.5 * np.stack(channels, axis=-1) / largest
        gap = np.isnan(channels[0])
        meaning = "Brighter than grey draws it on, darker holds it back."
    else:
        tiles = _tiled(shown.reshape(-1, *shape[-2:]))
        strength, gap = np.nan_to_num(tiles) / largest, np.isnan(tiles)
        on = (tiles > 0)[..., None]
        colours = np.where(on, _tint(strength, BLUE), _tint(-strength, ORANGE))
        meaning = "Blue draws it on, orange holds it back."
    more = "" if len(shown) == len(weights) else f" (the first {len(shown)} of {len(weights)})"
    with canvas(picture, f"One square a neuron{more}. {meaning}") as axes:
        axes.set_position((0.03, 0.11, 0.94, 0.78))
        axes.set_title(f"What {place} looks for")
        axes.imshow(np.where(gap[..., None], np.array(_rgb(GAP)), colours), interpolation="nearest")
        axes.set_axis_off()
    return picture


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
    picture = Picture()
    palette = np.array([_rgb(CLASS_COLOURS[i % len(CLASS_COLOURS)]) for i in range(len(names))])
    land = 1 - (1 - answers @ palette) * 0.45
    with canvas(picture) as axes:
        axes.set_position((0.15, 0.14, 0.81, 0.75))
        axes.imshow(land.clip(0, 1), origin="lower", extent=extent, aspect="auto")
        for index, name in enumerate(names):
            here = points[classes == index]
            colour = CLASS_COLOURS[index % len(CLASS_COLOURS)]
            axes.scatter(
                here[:, 0], here[:, 1], s=14, color=colour, edgecolor=PAPER, lw=0.4, label=name
            )
        axes.set_title("What it would answer at every point")
        axes.set_xlim(extent[:2])
        axes.set_ylim(extent[2:])
        axes.set_xlabel(axis_names[0])
        axes.set_ylabel(axis_names[1])
        axes.legend(loc="upper right", fontsize=9, framealpha=0.85, edgecolor="none")
    return picture


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
