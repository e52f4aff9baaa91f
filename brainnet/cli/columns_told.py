"""Columns told: what a network learns from each column of a table, before it begins to."""

import textwrap
from collections.abc import Iterator

from brainnet.data.clock import CLOCK
from brainnet.data.column import Column
from brainnet.data.columns import Columns
from brainnet.data.dataset import Dataset

MOST = 12  # columns named of each kind
WIDEST = 100
KINDS = {"number": "numbers", "category": "words", "boolean": "yes or no", "date": "dates"}


def columns_told(data: Dataset) -> list[str]:
    """Lines that name the columns of a table by what they are taken for; none for other data."""
    learnt = data.preparation
    if not isinstance(learnt, Columns) or not learnt.columns:
        return []
    answers = data.class_names
    asked = " or ".join(answers) if 0 < len(answers) <= 3 else f"{len(answers):,} classes"
    names = ", ".join(data.target_names)
    kind = "a number" if len(data.target_names) == 1 else "numbers"
    what = asked if answers else f"{names} ({kind})"
    lines = [f"to learn {what}, from {_counted(len(data), 'row')} of {data.name}"]
    for kind, name in KINDS.items():
        own = [_named(column) for column in learnt.columns if column.kind == kind]
        if own:
            more = [f"and {len(own) - MOST:,} more"] if len(own) > MOST else []
            lines += _folded(name, ", ".join([*own[:MOST], *more]))
    return lines


def _named(column: Column) -> str:
    if column.kind == "category":
        how = "each a vector that is learnt" if column.embedded else "an input each"
        return f"{column.name} ({len(column.values):,}, {how})"
    if column.kind == "boolean":
        return f"{column.name} ({' = 0, '.join(column.values)} = 1)"
    if column.form == CLOCK:
        return f"{column.name} (hours since midnight)"
    return column.name


def _folded(name: str, told: str) -> Iterator[str]:
    yield from textwrap.wrap(
        told,
        WIDEST,
        initial_indent=f"  {name:<11}",
        subsequent_indent=" " * 13,
        break_on_hyphens=False,
    )


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
