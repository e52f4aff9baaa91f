"""Figures: numbers, bars and small pictures in plain text."""

import math
from collections.abc import Sequence

SHADES = " ░▒▓█"

WIDEST = 32

"""Pixels of a picture side by side; larger pictures are made smaller."""

SCIENTIFIC = 1e7

"""From here on a number is written with its power of ten: float32 knows seven digits."""

_HEIGHTS = "▁▂▃▄▅▆▇█"


def format_number(
    value: float | str | None, digits: int | None = None, *, sign: bool = False
) -> str:
    """A number as short as its size allows, or with so many digits after the point.

    Example:
        >>> figure(1234567.8), figure(0.25), figure(0.25, sign=True), figure(-1e-9), figure(None)
        ('1,234,568', '0.25', '+0.25', '-1e-09', 'missing')
        >>> figure(-0.0001, 2), figure(14.0), figure(4.599999904632568), figure(1e30, 2)
        ('0.00', '14', '4.6', '1e+30')
    """
    if value is None or isinstance(value, str):
        return "missing" if value is None else value
    if not math.isfinite(value):
        return "not finite"
    plus = "+" if sign and value else ""
    if abs(value) >= SCIENTIFIC:
        return f"{value:{plus}.4g}"
    if digits is not None:
        text = f"{value:{plus},.{digits}f}"
        return text.lstrip("+-") if float(text.replace(",", "")) == 0 else text
    if abs(value) >= 1000:
        return f"{value:{plus},.0f}"
    return f"{value:{plus}.4g}"


def format_percent(share: float, digits: int = 0) -> str:
    """A share in percent; of one that is no number, that it is not finite.

    Example:
        >>> percent(0.5), percent(0.0125, 2), percent(1e9), percent(math.nan)
        ('50%', '1.25%', '1e+11%', 'not finite')
    """
    if not math.isfinite(share):
        return "not finite"
    return (
        f"{format_number(100 * share)}%"
        if abs(share) * 100 >= SCIENTIFIC
        else f"{share:.{digits}%}"
    )


def count_decimals(values: Sequence[float]) -> int:
    """Digits after the point with which a column of numbers is best read.

    Example:
        >>> digits_for([0.5, -3.0]), digits_for([0.004]), digits_for([12_000.0]), digits_for([])
        (2, 4, 0, 2)
    """
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    if largest == 0 or 0.1 <= largest < 100:
        return 2
    return (
        min(8, max(0, 1 - math.floor(math.log10(largest))))
        if largest < 0.1
        else (1 if largest < 1000 else 0)
    )


def draw_signed_bar(value: float, largest: float, width: int) -> str:
    """A bar as long as a number is large: full blocks where it is positive, light where negative.

    Example:
        >>> signed_bar(1.0, 2.0, 4), signed_bar(-2.0, 2.0, 4), signed_bar(0.0, 0.0, 4)
        ('██  ', '░░░░', '    ')
    """
    filled = round(min(abs(value) / largest, 1.0) * width) if largest > 0 else 0
    return (("█" if value > 0 else "░") * filled).ljust(width)


def draw_sparkline(values: Sequence[float], width: int = 40) -> str:
    """A curve in one line, from its lowest value to its highest.

    Example:
        >>> sparkline([0, 1, 2, 3, 2]), sparkline([5.0, 5.0]), sparkline([])
        ('▁▃▆█▆', '▁▁', '')
    """
    known = [value for value in values if math.isfinite(value)]
    if len(known) > width:
        known = [known[place * (len(known) - 1) // (width - 1)] for place in range(width)]
    if not known:
        return ""
    low, high = min(known), max(known)
    spread = (high - low) or 1.0
    return "".join(_HEIGHTS[int((value - low) / spread * 7.999)] for value in known)


def draw_image(pixels: Sequence[float], shape: Sequence[int], *, dark: float = 0.0) -> list[str]:
    """A picture in lines of characters, twice as wide as high for each pixel where there is room.

    Args:
        pixels: row by row; of several channels one after the other.
        shape: (height, width), or (channels, height, width), whose mean is shown.
        dark: what is left empty; the largest value is full.

    Example:
        >>> picture([0, 1, 2, 4], (2, 2))
        ['  ░░', '▒▒██']
    """
    rows = _grey(pixels, shape)
    height, width = len(rows), len(rows[0])
    wide = width * 2 <= WIDEST + 8
    across = 1 if wide else max(1, math.ceil(width / WIDEST))
    down = 1 if wide else 2 * across
    top = max(max(row) for row in rows) - dark
    lines = []
    for first in range(0, height, down):
        line = ""
        for left in range(0, width, across):
            block = [
                rows[y][x]
                for y in range(first, min(first + down, height))
                for x in range(left, min(left + across, width))
            ]
            share = (sum(block) / len(block) - dark) / top if top > 0 else 0.0
            line += SHADES[round(min(max(share, 0.0), 1.0) * 4)] * (2 if wide else 1)
        lines.append(line)
    return lines


def join_side_by_side(pictures: Sequence[tuple[str, Sequence[str]]], width: int) -> list[str]:
    """Pictures with their titles above them, as many beside each other as fit.

    Example:
        >>> side_by_side([("a", ["##", "##"]), ("b", ["..", ".."])], 10)
        ['a   b', '##  ..', '##  ..']
    """
    lines: list[str] = []
    row: list[tuple[str, Sequence[str]]] = []
    for title, drawn in [*pictures, ("", [])]:
        size = [max(len(name), *map(len, body)) for name, body in [*row, (title, drawn)] if body]
        if drawn and (not row or sum(size) + 2 * len(row) <= width):
            row.append((title, drawn))
            continue
        columns = [[name, *body] for name, body in row]
        room = [max(map(len, column)) for column in columns]
        for place in range(max(map(len, columns), default=0)):
            cells = [column[place] if place < len(column) else "" for column in columns]
            padded = [cell.ljust(size) for cell, size in zip(cells, room, strict=True)]
            lines.append("  ".join(padded).rstrip())
        row = [(title, drawn)]
    return lines


def clip_text(name: str, width: int) -> str:
    """A name cut to a width.

    Example:
        >>> clipped("mean concave points", 8), clipped("bmi", 8)
        ('mean co…', 'bmi')
    """
    return name if len(name) <= width else name[: width - 1] + "…"


def _grey(pixels: Sequence[float], shape: Sequence[int]) -> list[list[float]]:
    """Rows of pixels; those of several channels become their mean."""
    height, width = shape[-2:]
    size = height * width
    channels = [pixels[start : start + size] for start in range(0, len(pixels), size)]
    mean = [sum(each) / len(channels) for each in zip(*channels, strict=True)]
    return [mean[row * width : (row + 1) * width] for row in range(height)]
