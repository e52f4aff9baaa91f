"""Colours: those of the pictures, told apart by colour-blind eyes too."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

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
