"""Encoding: the numbers that the cells of a part of a table become, plain ones many at a time."""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from brainnet.data.cells import Cells, Numbers
from brainnet.data.column import Column

# Of so many columns a copy is small, and to ask pandas for each of them costs more than the copy.
_COLUMNS_AT_ONCE = 256
_FEW = 8


def encoded_rows(
    columns: Sequence[Column],
    frame: Any,  # noqa: ANN401 - a pandas DataFrame
    encode: Callable[[Column, Cells], list[Numbers]],
    look: Callable[[Sequence[Column], Numbers], None] | None = None,
) -> Numbers:
    """Make numbers of raw rows, float32 (rows, width of all columns); too large becomes infinite.

    Args:
        columns: of the rows.
        frame: with these, by name.
        encode: makes the numbers of one of them.
        look: is shown columns that hold plain numbers, and these (rows, columns) as they were.
    """
    starts = [0, *accumulate(column.width for column in columns)]
    found = np.empty((len(frame), starts[-1]), np.float32)
    left = dict.fromkeys(range(len(columns)))
    with np.errstate(over="ignore"):
        for places, values in _blocks(columns, frame):
            found[:, _chosen([starts[place] for place in places])] = values
            if look is not None:
                look([columns[place] for place in places], values)
            for place in places:
                del left[place]
        for place in left:
            column = columns[place]
            for offset, numbers in enumerate(encode(column, frame[column.name])):
                found[:, starts[place] + offset] = numbers
    return found


def _blocks(columns: Sequence[Column], frame: Any) -> Iterator[tuple[list[int], Numbers]]:  # noqa: ANN401
    """Yield the places of columns that hold numbers of one type, and these (rows, places)."""
    alike: dict[Any, list[int]] = {}
    kinds = dict(zip(frame.columns, frame.dtypes, strict=True))
    for place, column in enumerate(columns):
        kind = kinds[column.name]
        if column.kind == "number" and isinstance(kind, np.dtype) and kind.kind in "iuf":
            alike.setdefault(kind, []).append(place)
    for places in alike.values():
        for start in range(0, len(places) if len(places) > _FEW else 0, _COLUMNS_AT_ONCE):
            some = places[start : start + _COLUMNS_AT_ONCE]
            yield some, frame[[columns[place].name for place in some]].to_numpy()


def _chosen(places: list[int]) -> slice | list[int]:
    """The same places as a slice where they follow one another, which is filled sooner."""
    first, last = places[0], places[-1] + 1
    return slice(first, last) if places == list(range(first, last)) else places
