"""Paper: lines, dots, colours and words on a picture, some ten times faster than by Matplotlib."""

import functools
import importlib.util
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image as Images

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


def _write(sheet: "Images.Image", pen: Any, word: Word) -> None:  # noqa: ANN401  (of ImageDraw)
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
def _font(size: float, *, bold: bool) -> Any:  # noqa: ANN401  (of ImageFont)
    """DejaVu Sans, which knows the letters of many languages, from Matplotlib's files."""
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    # Found, not imported: that takes a third of a second.
    matplotlib = importlib.util.find_spec("matplotlib")
    folder = Path((matplotlib and matplotlib.origin) or ".").parent
    path = folder / "mpl-data" / "fonts" / "ttf" / name
    pixels = size * POINT
    return ImageFont.truetype(path, pixels) if path.exists() else ImageFont.load_default(pixels)
