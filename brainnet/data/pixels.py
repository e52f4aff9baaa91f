"""Pixels: how pictures become the inputs that a network reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Pixels:
    """The size and the colours that every picture was brought to, as plain data.

    A picture becomes one row of bytes: channel by channel, each from its upper left corner on.

    Example:
        >>> Pixels(height=2, width=2).names
        ('row 0 column 0', 'row 0 column 1', 'row 1 column 0', 'row 1 column 1')
    """

    height: int
    width: int
    channels: int = 1

    @property
    def shape(self) -> tuple[int, int] | tuple[int, int, int]:
        """(height, width) of grey pictures, (channels, height, width) of coloured ones."""
        sides = (self.height, self.width)
        return sides if self.channels == 1 else (self.channels, *sides)

    @property
    def names(self) -> tuple[str, ...]:
        """What the inputs are called."""
        colours = ("red ", "green ", "blue ") if self.channels == 3 else ("",)
        return tuple(
            f"{colour}row {row} column {column}"
            for colour in colours
            for row in range(self.height)
            for column in range(self.width)
        )

    @property
    def embedded(self) -> Mapping[int, int]:
        """No pixel is the code of a category."""
        return {}

    @property
    def imputes(self) -> bool:
        """No pixel is missing."""
        return False

    def apply(self, rows: Any) -> NDArray[np.generic]:  # noqa: ANN401 - paths or arrays
        """Return pictures as rows of inputs, (rows, inputs)."""
        raise NotImplementedError(rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the sizes as primitives, which any checkpoint can hold."""
        return {
            "kind": "pixels",
            "height": self.height,
            "width": self.width,
            "channels": self.channels,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Return what `to_dict` stored."""
        return cls(stored["height"], stored["width"], stored["channels"])
