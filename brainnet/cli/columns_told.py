"""Columns told: what a network learns, and from which columns or pictures, before it begins to."""

import textwrap
from collections.abc import Iterator

from brainnet.data.clock import CLOCK
from brainnet.data.column import Column
from brainnet.data.columns import Columns
from brainnet.data.dataset import Dataset
from brainnet.data.pixels import Pixels

MOST = 12  # columns named of each kind
WIDEST = 100
KINDS = {"number": "numbers", "category": "words", "boolean": "yes or no", "date": "dates"}


def columns_told(data: Dataset) -> list[str]:
    """Lines that name the columns of a table by what they are taken for, or the size of pictures.

    None for data that come with brainnet, or as arrays.
    """
    learnt = data.preparation
    if isinstance(learnt, Pixels):
        return [_pictures_told(data, learnt)]
    if not isinstance(learnt, Columns) or not learnt.columns:
        return []
    lines = [f"to learn {_asked(data)}, from {_counted(len(data), 'row')} of {data.name}"]
    for kind, name in KINDS.items():
        own = [_named(column) for column in learnt.columns if column.kind == kind]
        if own:
            more = [f"and {len(own) - MOST:,} more"] if len(own) > MOST else []
            lines += _folded(name, ", ".join([*own[:MOST], *more]))
    return lines


def _pictures_told(data: Dataset, learnt: Pixels) -> str:
    """The pictures in a line, with the size and the colours that all of them were brought to."""
    colours = "in colour" if learnt.channels == 3 else "grey"
    count = _counted(len(data), "picture")
    return f"to learn {_asked(data)}, from {count} of {learnt.height} x {learnt.width}, {colours}"


def _asked(data: Dataset) -> str:
    """The classes by name where they are few, or the numbers that are to be told."""
    answers = data.class_names
    if answers:
        return " or ".join(answers) if len(answers) <= 3 else f"{len(answers):,} classes"
    kind = "a number" if len(data.target_names) == 1 else "numbers"
    return f"{', '.join(data.target_names)} ({kind})"


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
