"""Preparation: how raw rows, of a table or of pictures, become the inputs of a data set."""

from collections.abc import Mapping
from typing import Any

from brainnet.data.columns import Columns
from brainnet.data.pixels import Pixels

Preparation = Columns | Pixels
"""What was learnt of the raw rows, as plain data: `names` of the inputs, `embedded` codes,
whether missing numbers are imputed (`preparation.imputes`), `apply` to raw rows, and `to_dict`."""

_KINDS: dict[str, type[Columns] | type[Pixels]] = {"columns": Columns, "pixels": Pixels}


def preparation_from_dict(stored: Mapping[str, Any]) -> Preparation:
    """Return the preparation that its `to_dict` stored.

    Example:
        >>> preparation_from_dict(Pixels(8, 8).to_dict())
        Pixels(height=8, width=8, channels=1)
    """
    return _KINDS[stored["kind"]].from_dict(stored)
