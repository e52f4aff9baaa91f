"""Plots of weights, decision boundary, confusion matrix and loss slice."""

import functools
import importlib.util
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

if TYPE_CHECKING:
    from PIL import Image as Images


BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"

CLASS_COLOURS = (BLUE, ORANGE, GREEN, "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#555555")

"""One for each class (Okabe & Ito, 2008)."""

Numbers = NDArray[np.floating[Any]]


def rgb(colour: str) -> tuple[float, float, float]:
    """Red, green and blue of a colour, as shares.

    Example:
        >>> rgb("#ff0033")
        (1.0, 0.0, 0.2)
    """
    red, green, blue = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return red, green, blue


def tint(strength: Numbers, colour: str) -> Numbers:
    """From paper (0) to the colour (1), (…, 3).

    Example:
        >>> tint(np.array([0.0, 1.0]), "#ff0000").tolist()
        [[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]]
    """
    tinted: Numbers = 1 - np.clip(strength, 0, 1)[..., None] * (1 - np.array(rgb(colour)))
    return tinted


INK, QUIET, GAP, PAPER = "#1f2933", "#7b8794", "#cbd2d9", "#ffffff"

WIDTH, HEIGHT = 528, 451

POINT = 110 / 72

"""Pixels of a typographic point."""

FINE = 2

"""Shapes are drawn this many times as large and made smaller, so that edges are smooth."""

CAPTION_COLUMNS = 58

"""Letters of a line under a picture."""

Box = tuple[float, float, float, float]

"""Left, top, right and bottom, in pixels."""


@dataclass(slots=True)
class Picture:
    """A picture that is ready to be stored.

    Attributes:
        png: the file's content.
        size: (width, height) in pixels.
    """

    png: bytes = b""
    size: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Word:
    """Something written, once all shapes are there.

    Attributes:
        place: in pixels, (x, y).
        anchor: which point of the text lies there, in two letters of Pillow's.
        angle: by which it is turned to the left, in degrees; then the place is that of its middle.
    """

    text: str
    place: tuple[float, float]
    size: float
    colour: str = INK
    bold: bool = False
    anchor: str = "lm"
    angle: float = 0.0


class Paper:
    """A white sheet with one plot on it.

    Args:
        box: where the plot is.
    """

    def __init__(self, box: Box) -> None:
        # Here, not above: many runs draw nothing.
        from PIL import Image, ImageDraw

        self.box = box
        left, top, right, bottom = box
        self.width, self.height = round(right - left), round(bottom - top)
        self._sheet = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
        self._plot = Image.new("RGB", (self.width * FINE, self.height * FINE), PAPER)
        self._pen = ImageDraw.Draw(self._plot)
        self._words: list[Word] = []
        self._frame = False
        self.spans((0.0, 1.0), (0.0, 1.0))

    def spans(self, across: tuple[float, float], upward: tuple[float, float]) -> None:
        """Say what lies at the plot's left and right edge, and at its lower and upper one."""
        self._across, self._upward = across, upward

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point is, in pixels from the plot's upper left corner."""
        (left, right), (low, high) = self._across, self._upward
        return (
            (x - left) / ((right - left) or 1.0) * self.width,
            (high - y) / ((high - low) or 1.0) * self.height,
        )

    def line(
        self, points: Sequence[tuple[float, float]], colour: str, width: float, *, dashed: bool
    ) -> None:
        """A line through points of the plot."""
        places = [self.at(*point) for point in points]
        if not dashed:
            fine = [(x * FINE, y * FINE) for x, y in places]
            self._pen.line(fine, fill=colour, width=round(width * FINE), joint="curve")
            return
        for (x, y), (end_x, end_y) in itertools.pairwise(places):
            length = math.hypot(end_x - x, end_y - y)
            dashes = max(1, min(round(length / 9), 10 * WIDTH))
            for dash in range(dashes):
                here, there = dash / dashes, (dash + 0.6) / dashes
                spot = [
                    ((x + (end_x - x) * share) * FINE, (y + (end_y - y) * share) * FINE)
                    for share in (here, there)
                ]
                self._pen.line(spot, fill=colour, width=round(width * FINE))

    def dot(self, x: float, y: float, colour: str, radius: float, edge: str | None = None) -> None:
        """A dot at a point of the plot."""
        self._dot(self.at(x, y), colour, radius, edge)

    def _dot(
        self, place: tuple[float, float], colour: str, radius: float, edge: str | None = None
    ) -> None:
        middle_x, middle_y, size = place[0] * FINE, place[1] * FINE, radius * FINE
        where = (middle_x - size, middle_y - size, middle_x + size, middle_y + size)
        self._pen.ellipse(where, fill=colour, outline=edge)

    def colours(self, shares: NDArray[np.floating[Any]], *, smooth: bool = False) -> None:
        """Fill the plot with a grid of colours from 0 to 1, (rows, columns, 3), top row first."""
        from PIL import Image

        found = Image.fromarray((shares.clip(0, 1) * 255).round().astype(np.uint8))
        how = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
        self._plot.paste(found.resize(self._plot.size, how))

    def write(self, word: Word) -> None:
        """Words anywhere on the sheet."""
        self._words.append(word)

    def title(self, text: str) -> None:
        """What it is, above the plot."""
        left, top, *_ = self.box
        self.write(Word(text, (left, top - 8), 12.5, bold=True, anchor="ls"))

    def caption(self, lines: Sequence[str]) -> None:
        """What it means, below everything."""
        for number, line in enumerate(reversed(lines)):
            self.write(Word(line, (0.03 * WIDTH, HEIGHT - 18 - 21 * number), 10.5, anchor="ls"))

    def axis_names(self, across: str, upward: str, room: float) -> None:
        """What the two directions are; `room`: pixels between the plot and the name at its left."""
        left, top, right, bottom = self.box
        self.write(Word(across, ((left + right) / 2, bottom + 38), 11, anchor="ms"))
        self.write(Word(upward, (left - room, (top + bottom) / 2), 11, anchor="mm", angle=90))

    def scales(self) -> None:
        """Numbers along the left and the lower edge."""
        left, _, _, bottom = self.box
        self._frame = True
        for value, text in ticks(*self._across):
            x = left + self.at(value, 0.0)[0]
            self.write(Word(text, (x, bottom + 6), 10, QUIET, anchor="ma"))
        for value, text in ticks(*self._upward):
            y = self.box[1] + self.at(0.0, value)[1]
            self.write(Word(text, (left - 7, y), 10, QUIET, anchor="rm"))

    def legend(self, entries: Sequence[tuple[str, str, float]]) -> None:
        """Names in the upper right corner: (name, colour, radius of its dot; 0: a dashed line)."""
        size = 9.5
        wide = max(text_width(name, size) for name, *_ in entries)
        start, step = self.width - wide - 8, 21
        corner = ((start - 34) * FINE, 3 * FINE, (self.width - 2) * FINE)
        self._pen.rectangle((*corner, (7 + step * len(entries)) * FINE), fill=PAPER)
        for number, (name, colour, radius) in enumerate(entries):
            y = 14.0 + step * number
            if radius:
                self._dot((start - 19, y), colour, radius)
            for dash in range(0 if radius else 3):
                x = start - 30 + 9 * dash
                spot = [(x * FINE, y * FINE), ((x + 5.4) * FINE, y * FINE)]
                self._pen.line(spot, fill=colour, width=round(1.6 * FINE))
            self.write(Word(name, (self.box[0] + start, self.box[1] + y), size, anchor="lm"))

    def picture(self) -> Picture:
        """All of it as a PNG file."""
        from PIL import ImageDraw

        left, top, right, bottom = (round(edge) for edge in self.box)
        self._sheet.paste(self._plot.reduce(FINE), (left, top))
        pen = ImageDraw.Draw(self._sheet)
        if self._frame:
            pen.line([(left, top), (left, bottom), (right, bottom)], fill=QUIET)
        for word in self._words:
            _write(self._sheet, pen, word)
        file = BytesIO()
        self._sheet.save(file, "PNG", compress_level=3)
        return Picture(file.getvalue(), self._sheet.size)


def box_at(left: float, bottom: float, width: float, height: float) -> Box:
    """Edges in pixels of what is given in shares of the sheet, from its lower left corner."""
    top = 1 - bottom - height
    return left * WIDTH, top * HEIGHT, (left + width) * WIDTH, (1 - bottom) * HEIGHT


def text_width(text: str, size: float) -> float:
    """Pixels that a text takes."""
    return float(_font(size, bold=False).getlength(text))


def ticks(low: float, high: float, most: int = 6) -> list[tuple[float, str]]:
    """Round numbers between two, and how they are written.

    Example:
        >>> ticks(-0.2, 1.1)
        [(0.0, '0.00'), (0.25, '0.25'), (0.5, '0.50'), (0.75, '0.75'), (1.0, '1.00')]
    """
    span = high - low
    if not (math.isfinite(span) and span > abs(high) * 1e-12):
        return []
    scale = 10.0 ** math.floor(math.log10(span / most))
    step = next(
        factor * scale for factor in (1, 2, 2.5, 5, 10, 20) if span / (factor * scale) < most
    )
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    found = [number * step for number in range(first, last + 1)]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    decimals += not math.isclose(step * 10**decimals, round(step * 10**decimals))
    large = max(map(abs, found), default=0.0) >= 1e5 or decimals > 4
    return [(value, f"{value:.3g}" if large else f"{value + 0.0:.{decimals}f}") for value in found]


def _write(sheet: "Images.Image", pen: Any, word: Word) -> None:
    from PIL import Image, ImageDraw

    font = _font(word.size, bold=word.bold)
    if not word.angle:
        pen.text(word.place, word.text, font=font, fill=word.colour, anchor=word.anchor)
        return
    wide, high = math.ceil(font.getlength(word.text)) + 4, round(word.size * POINT * 1.5)
    strip = Image.new("L", (wide, high))
    ImageDraw.Draw(strip).text((wide / 2, high / 2), word.text, font=font, fill=255, anchor="mm")
    turned = strip.rotate(word.angle, expand=True, resample=Image.Resampling.BICUBIC)
    x, y = word.place
    x -= {"l": 0, "m": turned.width / 2, "r": turned.width}[word.anchor[0]]
    y -= {"t": 0, "m": turned.height / 2, "s": turned.height}[word.anchor[1]]
    sheet.paste(Image.new("RGB", turned.size, word.colour), (round(x), round(y)), turned)


@functools.cache
def _font(size: float, *, bold: bool) -> Any:
    """DejaVu Sans, which knows the letters of many languages, from Matplotlib's files."""
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    # Found, not imported: that takes a third of a second.
    matplotlib = importlib.util.find_spec("matplotlib")
    folder = Path((matplotlib and matplotlib.origin) or ".").parent
    path = folder / "mpl-data" / "fonts" / "ttf" / name
    pixels = size * POINT
    return ImageFont.truetype(path, pixels) if path.exists() else ImageFont.load_default(pixels)


def plot_boundary(
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


BESIDE, BELOW = 180, 120

"""Pixels that the names of the classes may take, at the left and below."""

SIZE, SMALL = 10.0, 7.0

LINE = 16

"""Pixels of a line of names."""

TOP, RIGHT, CELL_GAP = 50, WIDTH - 16, 7

TRUTH, ANSWER = 14, HEIGHT - 48

"""Where the names of the two directions stand: from the left, and from above."""


def plot_confusion(counts: NDArray[np.integer[Any]], names: Sequence[str], rows: str) -> Picture:
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
    start = TRUTH + 18 + max(text_width(label, size) for label in beside) + CELL_GAP
    angle = _angle(names, (RIGHT - start) / classes - CELL_GAP, size)
    below, high = _turned(names, angle, size)
    paper = Paper((start, TOP, RIGHT, ANSWER - 20 - high - CELL_GAP))
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
        spot = (left + x + aside, bottom + CELL_GAP)
        paper.write(Word(below[place], spot, size, QUIET, anchor=anchor, angle=angle))
        paper.write(Word(beside[place], (left - CELL_GAP, top + y), size, QUIET, anchor="rm"))
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


NEAREST, FARTHEST = 3.0, 24.0

"""How far to look along the step at least and at most, in lengths of it."""

POINTS_AHEAD, POINTS_BEHIND = 36, 12

"""Where the loss is measured: this many points on either side of the start."""

LARGE, FEWER = 2**20, 3

"""Of a network with more weights than this, only every third of these points is measured."""


@dataclass(frozen=True, slots=True)
class LossSlice:
    """A slice through the loss.

    Attributes:
        positions: where along the step, in lengths of it: 0 is its start, 1 its end.
        losses: how high the loss is there.
        start: the loss before the step.
        end: the loss after it.
    """

    positions: tuple[float, ...]
    losses: tuple[float, ...]
    start: float
    end: float

    @property
    def slope(self) -> float:
        """Steepness at the start, in loss per length of the step; below zero it goes downhill.

        The central difference of the two neighbours.
        """
        here = self.positions.index(0.0)
        rise = self.losses[here + 1] - self.losses[here - 1]
        return rise / (self.positions[here + 1] - self.positions[here - 1])

    @property
    def bottom(self) -> float:
        """Where the loss is lowest."""
        return self.positions[self.losses.index(min(self.losses))]

    @property
    def verdict(self) -> str:
        """Whether the step was too short, about right, or overshot, in plain words."""
        if not all(map(math.isfinite, (*self.losses, self.start, self.end))):
            return "Somewhere along this line the loss is no number any more."
        if self.slope >= 0:
            return "Uphill: this batch pointed another way than the rows it is judged by."
        if self.end > self.start:
            return "Overshot: past the bottom and up the other side, higher than before."
        if self.bottom < 0.75:
            return "A little far: past the bottom, though still lower than before."
        if self.bottom <= 2:
            return "About right: the step ends near the bottom of its slope."
        if self.bottom < self.positions[-1]:
            return f"Short: the bottom of this slope lies about {self.bottom:.0f} such steps away."
        return f"Short: even {self.bottom:.0f} such steps would still lead downhill."


@torch.no_grad()
def compute_loss_slice(
    network: nn.Module,
    judge: Callable[[Tensor], Tensor],
    inputs: Tensor,
    start: Mapping[str, Tensor],
    end: Mapping[str, Tensor],
) -> LossSlice:
    """Measure the loss on a line through two states of a network, without touching its own.

    It looks three lengths of the step ahead and, where the ground still falls there, up to 24.

    Args:
        network: whose parameters have the names of `start` and `end`; its mode is left as it is.
        judge: from the network's outputs to the loss.
        inputs: the rows to judge by, (rows, inputs).
        start: parameters by name, before the step.
        end: the same, after it.

    Example:
        >>> network = nn.Linear(1, 1, bias=False)
        >>> start, end = {"weight": torch.tensor([[2.0]])}, {"weight": torch.tensor([[0.0]])}
        >>> square = lambda outputs: outputs.square().mean()
        >>> found = hill(network, square, torch.ones(1, 1), start, end)
        >>> round(found.slope, 3), found.bottom, found.verdict
        (-8.0, 1.0, 'About right: the step ends near the bottom of its slope.')
    """
    moved = {name: torch.empty_like(each) for name, each in start.items()}

    def loss_at(position: float) -> float:
        for name, place in moved.items():
            torch.lerp(start[name], end[name], position, out=place)
        return float(judge(functional_call(network, moved, inputs)))

    reach, lowest = NEAREST, loss_at(1.0)
    while reach < FARTHEST and (ahead := loss_at(reach)) < lowest:
        reach, lowest = 2 * reach, ahead
    stride = FEWER if sum(each.numel() for each in start.values()) > LARGE else 1
    points = {-1, 1, *range(-POINTS_BEHIND, POINTS_AHEAD + 1, stride)}  # 0's own neighbours always
    positions = tuple(reach * point / POINTS_AHEAD for point in sorted(points))
    losses = tuple(loss_at(position) for position in positions)
    start_loss, end_loss = losses[positions.index(0.0)], loss_at(1.0)
    return LossSlice(positions, losses, start=start_loss, end=end_loss)


def plot_loss_slice(hill: LossSlice, step: int) -> Picture:
    """The loss along a step: where it began, the slope there, and where it ended."""
    paper = Paper(box_at(0.19, 0.25, 0.77, 0.65))
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


def plot_weights(
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
        colours = np.where(on, tint(strength, BLUE), tint(-strength, ORANGE))
        meaning = "Blue draws it on, orange holds it back."
    more = "" if len(shown) == len(weights) else f" (the first {len(shown)} of {len(weights)})"
    sheet = np.where(gap[..., None], np.array(rgb(GAP)), colours)
    caption = wrap(f"A square a neuron{more}. {meaning}", CAPTION_COLUMNS)
    foot = 0.11 + 0.05 * (len(caption) - 1)
    left, top, right, bottom = box_at(0.03, foot, 0.94, 0.89 - foot)
    size = min((right - left) / sheet.shape[1], (bottom - top) / sheet.shape[0])
    left += (right - left - size * sheet.shape[1]) / 2
    paper = Paper((left, top, left + size * sheet.shape[1], top + size * sheet.shape[0]))
    paper.colours(sheet)
    paper.title(f"What {place} looks for")
    paper.caption(caption)
    return paper.picture()


def _tiled(tiles: Numbers) -> Numbers:
    """Pictures side by side with a gap of one pixel, NaN, between them."""
    number, height, width = tiles.shape
    columns = int(np.ceil(np.sqrt(number * 1.35 * height / width)))
    rows = int(np.ceil(number / columns))
    sheet = np.full((rows, columns, height + 1, width + 1), np.nan)
    sheet.reshape(-1, height + 1, width + 1)[:number, :height, :width] = tiles
    return sheet.transpose(0, 2, 1, 3).reshape(rows * (height + 1), columns * (width + 1))
