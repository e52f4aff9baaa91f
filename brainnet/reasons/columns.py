"""Columns: the parts of several inputs that come of one raw column, told as that column's part."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from brainnet.data.column import Column
from brainnet.reasons.influence import Influence

Cell = str | float | None


@dataclass(frozen=True, slots=True)
class ColumnPart:
    """One raw column's part in the answer.

    Attributes:
        name: the column's.
        value: what stands in it: a number, a word, or None where nothing does.
        spoke: gradient · input of its inputs, added up.
        carried: what its inputs carried, added up.
        inputs: how many inputs came of it.
    """

    name: str
    value: Cell
    spoke: float
    carried: float
    inputs: int


def by_column(parts: Sequence[Influence], columns: Sequence[Column]) -> tuple[ColumnPart, ...]:
    """Add up the parts of the inputs of each column.

    Args:
        parts: of all inputs, in order.
        columns: how these came of the raw columns.

    Example:
        >>> colour = Column("colour", "category", ("blue", "red"))
        >>> parts = [Influence("colour=blue", 0.0, -1.0, 0.5, -0.5, 0.0)]
        >>> parts += [Influence("colour=red", 1.0, 1.0, 2.0, 2.0, 3.0)]
        >>> by_column(parts, [colour])
        (ColumnPart(name='colour', value='red', spoke=1.5, carried=3.0, inputs=2),)
    """
    found, position = [], 0
    for column in columns:
        own = parts[position : position + len(column.inputs)]
        position += len(own)
        value = cell_of(column, [each.value for each in own])
        spoke, carried = sum(each.spoke for each in own), sum(each.carried for each in own)
        found.append(ColumnPart(column.name, value, spoke, carried, len(own)))
    return tuple(found)


def cell_of(column: Column, values: Sequence[Cell]) -> Cell:
    """What stood in a raw column, from the numbers that were made of it.

    Example:
        >>> cell_of(Column("town", "category", ("Rome", "Bern")), [0.0, 0.0])
        'never seen'
        >>> cell_of(Column("member", "boolean", ("no", "yes")), [1.0])
        'yes'
        >>> cell_of(Column("born", "date"), [2024.16, 60.0, 3.0])
        '2024-02-29'
    """
    numbers = [each for each in values if isinstance(each, int | float)]
    if len(numbers) < len(values) or not numbers:
        return None
    if column.kind == "category":
        # One input for each word, or the word's code: 0 for one that was never seen.
        place = int(numbers[0]) - 1 if column.embedded else _hot(numbers)
        known = 0 <= place < len(column.values)
        return (column.values[place] or "nothing") if known else "never seen"
    if column.kind == "boolean" and column.values:
        return column.values[int(numbers[0] > 0.5)]
    if column.kind == "date":
        # A year and the day in it; what else was made of the date follows from these.
        day = date(int(numbers[0]), 1, 1) + timedelta(days=round(numbers[1]) - 1)
        return day.isoformat()
    return numbers[0]


def _hot(numbers: Sequence[float]) -> int:
    return next((place for place, each in enumerate(numbers) if each > 0.5), -1)
