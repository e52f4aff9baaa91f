"""Preparation: how raw rows, of a table or of pictures, become the inputs of a data set."""

from collections.abc import Mapping, Sequence
from typing import Any

from brainnet.data.columns import Columns
from brainnet.data.pixels import Pixels

Preparation = Columns | Pixels
"""What was learnt of the raw rows, as plain data: `names` of the inputs, `embedded` codes,
whether missing numbers are imputed (`preparation.imputes`), `apply` to raw rows, and `to_dict`."""

NUMBERS = "numbers"
"""The kind of columns that came as numbers: their names say all, and checkpoints stay small."""


def told_numbers(names: Sequence[str]) -> dict[str, Any]:
    """Return what is stored of columns that came as numbers."""
    return {"kind": NUMBERS, "names": list(names)}


def preparation_from_dict(stored: Mapping[str, Any]) -> Preparation:
    """Return the preparation that its `to_dict` stored.

    Example:
        >>> preparation_from_dict(Pixels(8, 8).to_dict())
        Pixels(height=8, width=8, channels=1)
        >>> preparation_from_dict(told_numbers(["x", "y"])).names
        ('x', 'y')
    """
    if stored["kind"] == NUMBERS:
        return Columns.numbers(stored["names"])
    kind = Pixels if stored["kind"] == "pixels" else Columns
    return kind.from_dict(stored)
