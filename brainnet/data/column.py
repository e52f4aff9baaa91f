"""Column: one raw column of a table, and how its cells become numbers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from brainnet.data.cells import (
    Cells,
    Numbers,
    booleans,
    coded,
    date_numbers,
    dates,
    day_order,
    is_typed,
    numbers,
    words,
)
from brainnet.data.clock import CLOCK, hours
from brainnet.data.wording import refuse_cells

ColumnKind = Literal["number", "boolean", "category", "date"]
Unseen = Literal["other", "refuse"]

# With more words than this a category becomes one code, which an embedding turns into a vector:
# one input for each of 5,000 towns would be nearly all zeros.
MOST_INPUTS_OF_A_CATEGORY = 32
_CORRECT = "Correct them, or leave these rows out."
_UNSEEN = (
    "Leave these rows out; or take such a word for none of those: --unseen other (in Python: "
    'unseen="other").'
)


@dataclass(frozen=True, slots=True)
class Column:
    """One raw column and what its cells mean.

    `values` are the words of a category in their order (the empty one stands for cells where
    nothing is written), or the words for 0 and 1 of a boolean. `form` is how a date is written, or
    a number that is a time of day: hours. `decimal` is the decimal sign of its texts where it is
    not that of the other columns. `unlearnt` are those of the words that no training row has: they
    count as never seen.
    """

    name: str
    kind: ColumnKind = "number"
    values: tuple[str, ...] = ()
    form: str = ""
    hours: bool = False
    decimal: str = ""
    unlearnt: tuple[str, ...] = ()

    @property
    def embedded(self) -> bool:
        """Whether the column becomes one code instead of an input for each of its words."""
        return self.kind == "category" and len(self.values) > MOST_INPUTS_OF_A_CATEGORY

    @property
    def inputs(self) -> tuple[str, ...]:
        """What the inputs that the column becomes are called."""
        if self.kind == "date":
            parts = ("year", "day of the year", "weekday") + (("hour",) if self.hours else ())
            return tuple(f"{self.name} ({part})" for part in parts)
        if self.kind == "category" and not self.embedded:
            return tuple(f"{self.name}={value or '(missing)'}" for value in self.values)
        return (self.name,)

    @property
    def width(self) -> int:
        """How many numbers `encode` makes of a cell."""
        return len(self.inputs) if self.kind == "date" else 1


def encoded(
    column: Column, cells: Cells, unseen: Unseen | None = None, decimal: str = ""
) -> list[Numbers]:
    """The numbers of one raw column, one array (rows,) for each of its `width`.

    `unseen` is None while it is still learnt what the column holds; `decimal` is the decimal sign
    of texts in all columns that have none of their own.
    """
    hint = None if unseen is None else _CORRECT
    if column.kind == "category":
        return [_codes(column, cells, unseen)]
    if column.kind == "date":
        moments, wrong = dates(cells, column.form)
        refuse_cells(column.name, cells, wrong, "dates", _other_order(column, cells, wrong) or hint)
        return date_numbers(moments, hours=column.hours)
    if column.kind == "boolean":
        values, wrong = booleans(cells, (column.values[0], column.values[1]))
        refuse_cells(column.name, cells, wrong, " and ".join(column.values), hint)
        return [values]
    if column.form == CLOCK:
        values, wrong = hours(cells)
        refuse_cells(column.name, cells, wrong, "times of day", hint)
        return [values]
    values, wrong = numbers(cells, column.decimal or decimal)
    refuse_cells(column.name, cells, wrong, "numbers", hint)
    return [values]


def _other_order(column: Column, cells: Cells, wrong: Numbers) -> str | None:
    """What to do where all dates are such with day and month the other way round."""
    order = day_order(column.form) if wrong.any() else None
    if order is None or dates(cells, order[0])[1].any():
        return None
    other = "/".join(reversed(order[1].split("/")))
    return (
        f"The first rows were taken for {order[1]}, and as {other} all of these are dates: write "
        "them as 2024-03-25, which can be read in one way only."
    )


def missed(column: Column, cells: Cells) -> list[Numbers]:
    """The codes of a category, NaN where nothing stands."""
    (codes,) = encoded(column, cells, "other")
    there = words(cells).fillna("") != ""
    return [np.where(there.to_numpy(), codes, np.nan)]


def in_order(values: Iterable[str]) -> list[str]:
    """Words in the order of their letters, numbers among them in the order of their size.

    Example:
        >>> in_order(["10", "9", "", "b"])
        ['', '9', '10', 'b']
    """
    return sorted(values, key=lambda value: (value != "", _size(value), value))


def _size(value: str) -> float:
    try:
        size = float(value)
    except ValueError:
        return np.inf
    return np.inf if np.isnan(size) else size


def _codes(column: Column, cells: Cells, unseen: Unseen | None) -> Numbers:
    found, uniques = coded(cells)
    codes = {value: place + 1 for place, value in enumerate(column.values)}
    codes |= dict.fromkeys(column.unlearnt, 0)
    if is_typed(cells) and not all(value in codes for value in uniques):
        codes = _sizes_among(codes) | codes
        uniques = [value if value in codes else _as_size(value) for value in uniques]
    known = np.array([codes.get(value, 0) for value in uniques], dtype=np.int64)
    if unseen == "refuse":
        refuse_cells(column.name, cells, known[found] == 0, "words seen in training", _UNSEEN)
    return known[found] if len(uniques) else np.zeros(0)


def _as_size(value: str) -> str:
    """A word that all words for the same number share."""
    size = _size(value)
    return value if np.isinf(size) else f"{size:.17g}\0"


def _sizes_among(codes: Mapping[str, int]) -> dict[str, int]:
    """The codes of words that are numbers, by their size: 007 for a 7; the first of several."""
    found: dict[str, int] = {}
    for value, code in codes.items():
        if code:
            found.setdefault(_as_size(value), code)
    return found
