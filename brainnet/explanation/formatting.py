"""Formatting: numbers, bars, curves and images as plain text."""

import math
from collections.abc import Sequence

_CURVE_HEIGHTS = "▁▂▃▄▅▆▇█"
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


def format_percent(share: float, decimals: int | None = None) -> str:
    """Format a share in percent; by default with enough digits to tell a small one from zero."""
    if not math.isfinite(share):
        return "not finite"
    digits = 2 if abs(share) < 0.1 else 3
    return f"{100 * share:.{digits}g}%" if decimals is None else f"{share:.{decimals}%}"


def count_decimals(values: Sequence[float]) -> int:
    """Choose the number of decimals of a column of numbers, by the largest of them."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    if 0 < largest < 0.1:
        return min(8, 1 - math.floor(math.log10(largest)))
    return 2 if largest < 100 else 1 if largest < 1000 else 0


def draw_bar(share: float, width: int = 20, marks: str = "█░") -> str:
    """Draw a share from 0 to 1 as a bar of two marks; empty for NaN."""
    filled = 0 if math.isnan(share) else round(min(max(share, 0.0), 1.0) * width)
    return marks[0] * filled + marks[1] * (width - filled)


def draw_sparkline(values: Sequence[float], width: int = 40) -> str:
    """Draw a curve in one line, scaled from its lowest to its highest value."""
    finite = [value for value in values if math.isfinite(value)]
    # Selected evenly, with the first and the last value.
    if len(finite) > width:
        finite = [finite[column * (len(finite) - 1) // (width - 1)] for column in range(width)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    spread = (high - low) or 1.0
    return "".join(_CURVE_HEIGHTS[int((value - low) / spread * 7.999)] for value in finite)


def clip_text(text: str, width: int) -> str:
    """Shorten a text to a width, with a mark at its end."""
    return text if len(text) <= width else text[: width - 1] + "…"
