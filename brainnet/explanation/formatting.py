"""Formatting: numbers, bars, curves and images as plain text."""

import math
from collections.abc import Sequence
from itertools import zip_longest

_SHADES = " ░▒▓█"
_CURVE_HEIGHTS = "▁▂▃▄▅▆▇█"

# Images with more pixels per line are reduced.
_MAX_PIXELS = 32

# Larger numbers are written with an exponent, as float32 has about seven digits.
_SCIENTIFIC = 1e7


def format_number(
    value: float | str | None, digits: int | None = None, *, sign: bool = False
) -> str:
    """Format a number with four significant digits, or with a fixed number of decimals.

    Example:
        >>> format_number(1234567.8), format_number(0.25), format_number(0.25, sign=True)
        ('1,234,568', '0.25', '+0.25')
        >>> format_number(-1e-9), format_number(-0.0001, 2), format_number(1e30, 2)
        ('-1e-09', '0.00', '1e+30')
        >>> format_number(None)
        'missing'
    """
    if value is None or isinstance(value, str):
        return "missing" if value is None else value
    if not math.isfinite(value):
        return "not finite"
    plus = "+" if sign and value else ""
    if abs(value) >= _SCIENTIFIC:
        return f"{value:{plus}.4g}"
    if digits is not None:
        text = f"{value:{plus},.{digits}f}"
        # No sign for numbers that are rounded to 0.
        return text.lstrip("+-") if float(text.replace(",", "")) == 0 else text
    return f"{value:{plus},.0f}" if abs(value) >= 1000 else f"{value:{plus}.4g}"


def format_percent(share: float, digits: int = 0) -> str:
    """Format a share as a percentage.

    Example:
        >>> format_percent(0.5), format_percent(0.0125, 2), format_percent(math.nan)
        ('50%', '1.25%', 'not finite')
    """
    if not math.isfinite(share):
        return "not finite"
    is_huge = abs(share) * 100 >= _SCIENTIFIC
    return f"{format_number(100 * share)}%" if is_huge else f"{share:.{digits}%}"


def count_decimals(values: Sequence[float]) -> int:
    """Choose the number of decimals of a column of numbers, by the largest of them.

    Example:
        >>> count_decimals([0.5, -3.0]), count_decimals([0.004]), count_decimals([12_000.0])
        (2, 4, 0)
    """
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    if 0 < largest < 0.1:
        return min(8, 1 - math.floor(math.log10(largest)))
    return 2 if largest < 100 else 1 if largest < 1000 else 0


def draw_bar(share: float, width: int = 20) -> str:
    """Draw a share from 0 to 1 as a bar; empty for NaN.

    Example:
        >>> draw_bar(0.5, width=4)
        '██░░'
    """
    filled = 0 if math.isnan(share) else round(min(max(share, 0.0), 1.0) * width)
    return "█" * filled + "░" * (width - filled)


def draw_signed_bar(value: float, largest: float, width: int) -> str:
    """Draw the size of a number as a bar: dark if it is positive, light if it is negative.

    Example:
        >>> draw_signed_bar(1.0, 2.0, 4), draw_signed_bar(-2.0, 2.0, 4), draw_signed_bar(0, 0, 4)
        ('██  ', '░░░░', '    ')
    """
    filled = round(min(abs(value) / largest, 1.0) * width) if largest > 0 else 0
    return (("█" if value > 0 else "░") * filled).ljust(width)


def draw_sparkline(values: Sequence[float], width: int = 40) -> str:
    """Draw a curve in one line, scaled from its lowest to its highest value.

    Example:
        >>> draw_sparkline([0, 1, 2, 3, 2]), draw_sparkline([5.0, 5.0]), draw_sparkline([])
        ('▁▃▆█▆', '▁▁', '')
    """
    finite = [value for value in values if math.isfinite(value)]
    # Selected evenly, with the first and the last value.
    if len(finite) > width:
        finite = [finite[column * (len(finite) - 1) // (width - 1)] for column in range(width)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    spread = (high - low) or 1.0
    return "".join(_CURVE_HEIGHTS[int((value - low) / spread * 7.999)] for value in finite)


def draw_image(pixels: Sequence[float], shape: Sequence[int], *, dark: float = 0.0) -> list[str]:
    """Draw an image as lines of characters, with two characters per pixel of small images.

    Args:
        pixels: values row by row; several channels one after the other.
        shape: (height, width), or (channels, height, width); channels are averaged.
        dark: value that is drawn empty; the largest value is drawn full.

    Example:
        >>> draw_image([0, 1, 2, 4], (2, 2))
        ['  ░░', '▒▒██']
    """
    height, width = shape[-2:]
    size = height * width
    channels = [pixels[start : start + size] for start in range(0, len(pixels), size)]
    mean = [sum(values) / len(channels) for values in zip(*channels, strict=True)]
    is_small = width * 2 <= _MAX_PIXELS + 8
    columns = 1 if is_small else max(1, math.ceil(width / _MAX_PIXELS))
    # A character is about twice as high as wide.
    rows = 1 if is_small else 2 * columns
    largest = max(mean) - dark
    lines = []
    for top in range(0, height, rows):
        line = ""
        for left in range(0, width, columns):
            block = [
                mean[y * width + x]
                for y in range(top, min(top + rows, height))
                for x in range(left, min(left + columns, width))
            ]
            share = (sum(block) / len(block) - dark) / largest if largest > 0 else 0.0
            line += _SHADES[round(min(max(share, 0.0), 1.0) * 4)] * (2 if is_small else 1)
        lines.append(line)
    return lines


def join_side_by_side(pictures: Sequence[tuple[str, Sequence[str]]], width: int) -> list[str]:
    """Arrange titled drawings in rows, as many next to each other as fit.

    Example:
        >>> join_side_by_side([("a", ["##", "##"]), ("b", ["..", ".."])], 10)
        ['a   b', '##  ..', '##  ..']
    """
    rows: list[list[list[str]]] = []
    used = 0
    for title, drawing in pictures:
        column = [title, *drawing]
        needed = max(map(len, column))
        if rows and used + 2 + needed <= width:
            rows[-1].append(column)
            used += 2 + needed
        else:
            rows.append([column])
            used = needed
    lines = []
    for row in rows:
        widths = [max(map(len, column)) for column in row]
        for cells in zip_longest(*row, fillvalue=""):
            padded = [cell.ljust(size) for cell, size in zip(cells, widths, strict=True)]
            lines.append("  ".join(padded).rstrip())
    return lines


def clip_text(text: str, width: int) -> str:
    """Shorten a text to a width, with a mark at its end.

    Example:
        >>> clip_text("mean concave points", 8), clip_text("bmi", 8)
        ('mean co…', 'bmi')
    """
    return text if len(text) <= width else text[: width - 1] + "…"
