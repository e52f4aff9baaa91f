"""Pixels: how pictures become the inputs that a network reads."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from brainnet.data.decoding import BrokenPictureError, Bytes, decoded, quiet_pillow
from brainnet.data.picture_arrays import as_bytes, channels_last, rows_of
from brainnet.errors import InputError

_FILES_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Pixels:
    """The size and the colours that every picture was brought to, as plain data.

    A picture becomes one row of bytes: channel by channel (red, green, blue), each from its upper
    left corner on, line by line.

    Example:
        >>> Pixels(height=2, width=2).names
        ('row 0 column 0', 'row 0 column 1', 'row 1 column 0', 'row 1 column 1')
        >>> Pixels(height=2, width=2).apply(np.array([[[0, 255], [7, 0]]], np.uint8)).tolist()
        [[0, 255, 7, 0]]
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
    def inputs(self) -> int:
        """How many numbers a picture becomes."""
        return self.channels * self.height * self.width

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

    def apply(self, rows: Any) -> Bytes:  # noqa: ANN401 - see Args
        """Return pictures as rows of inputs, uint8 (rows, inputs).

        Args:
            rows: a path or several, of picture files; or an array or a tensor: (pictures, height,
                width), (pictures, height, width, channels), (pictures, channels, height, width),
                one picture of these, or (pictures, inputs), rows as they are. Pictures of another
                size or other colours are brought to these; rows are not.

        Raises:
            InputError: a file cannot be read, or an array holds no pictures.
        """
        if isinstance(rows, str | Path):
            rows = [rows]
        if isinstance(rows, Sequence) and rows and all(isinstance(row, str | Path) for row in rows):
            found, broken = self.read([Path(row) for row in rows])
            if broken:
                place, reason = next(iter(broken.items()))
                raise InputError(f"{rows[place]} cannot be read as a picture: {reason}.")
            return found
        return self._of_array(_array(rows))

    def read(self, files: Sequence[Path]) -> tuple[Bytes, dict[int, str]]:
        """Return picture files as rows, and why some, by their place, could not be read.

        The rows of those hold nothing.
        """
        found = np.zeros((len(files), self.inputs), np.uint8)
        broken: dict[int, str] = {}

        def read(start: int) -> None:
            for place in range(start, min(start + _FILES_AT_ONCE, len(files))):
                try:
                    picture = decoded(files[place], self.height, self.width, self.channels)
                    found[place] = picture.reshape(-1)
                except BrokenPictureError as error:
                    broken[place] = str(error)

        # Pillow decodes without holding up other threads.
        with quiet_pillow(), ThreadPoolExecutor() as pool:
            list(pool.map(read, range(0, len(files), _FILES_AT_ONCE)))
        return found, dict(sorted(broken.items()))

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

    def _of_array(self, values: NDArray[Any]) -> Bytes:
        name = "pictures"
        if values.ndim == 2 and values.shape[1] == self.inputs and values.shape != self.shape:
            return as_bytes(values, name)
        if self._is_one(values.shape):
            values = values[None]
        if values.ndim == 2:
            raise InputError(
                f"the network learnt from pictures of {self.height} x {self.width} (height x "
                f"width), so a row must have {self.inputs} numbers; got {values.shape[1]}."
            )
        return rows_of(
            channels_last(as_bytes(values, name), name), self.height, self.width, self.channels
        )

    def _is_one(self, shape: tuple[int, ...]) -> bool:
        """Whether a shape is that of one picture, not of several grey ones or of rows."""
        sides = (self.height, self.width)
        in_colours = self.channels == 3 and shape in ((3, *sides), (*sides, 3))
        return shape == sides or in_colours


def _array(rows: Any) -> NDArray[Any]:  # noqa: ANN401
    try:
        found = np.asarray(rows.detach().cpu() if hasattr(rows, "detach") else rows)
    except ValueError as error:
        raise InputError(
            f"pictures must be files, or an array of pictures of one size: {error}."
        ) from error
    if found.dtype.kind not in "biuf":
        raise InputError(
            f"pictures must be files, or arrays of numbers; got {type(rows).__name__}."
        )
    return found
