"""Wording: how columns, rows and cells are called in messages."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from brainnet.data.cells import Cells, Numbers
from brainnet.errors import InputError
from brainnet.suggestion import did_you_mean, override

_CELLS_NAMED = 3


def as_names(given: object) -> list[str]:
    """What somebody names, one column or several or none; one may be called by its number.

    Example:
        >>> as_names(0), as_names(["a", 1]), as_names(None)
        (['0'], ['a', '1'], [])
    """
    if given is None:
        return []
    if isinstance(given, str | int):
        return [str(given)]
    return [str(name) for name in given] if isinstance(given, Iterable) else []


def check_present(wanted: Sequence[str], there: Sequence[str], of: str = "") -> None:
    """Raise an InputError that names the first of the `wanted` columns that is not `there`."""
    known = set(there)
    for name in wanted:
        if name not in known:
            raise InputError(
                f"{of}there is no column {name!r}.{_meant(name, there)} The columns are "
                f"{listed(there)}."
            )


def _meant(name: str, there: Sequence[str]) -> str:
    """A question, where a column is called nearly so; a difference of case is the nearest."""
    alike = [known for known in there if known.casefold() == name.casefold()]
    return f" Did you mean {alike[0]}?" if alike else did_you_mean(name, there)


def listed(names: Sequence[str], most: int = 20) -> str:
    """Names separated by commas, the first of them where they are many."""
    more = f", ... ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def refuse_cells(
    column: str, cells: Cells, wrong: Numbers, wanted: str, hint: str | None = None
) -> None:
    """Raise an InputError that names the first wrong cells of a column, if there are any."""
    rows = np.flatnonzero(wrong)
    if not len(rows):
        return
    named = ", ".join(
        f"row {row_called(cells.index, row)} ({str(cells.iloc[row])!r})"
        for row in rows[:_CELLS_NAMED]
    )
    more = ", ..." if len(rows) > _CELLS_NAMED else ""
    counted = (
        "; rows count from 1, the names of the columns not among them"
        if counts(cells.index)
        else "; rows are called as the index of the frame has it"
    )
    hint = hint or (
        f"Correct {'it' if len(rows) == 1 else 'them'}, empty the cell if its value is unknown, or "
        "leave the column out; if its cells are words, name it: "
        f"{override('data.categories', [column])}."
    )
    raise InputError(f"column {column!r} holds {wanted}, but not in {named}{more}{counted}. {hint}")


def row_called(index: Any, place: int) -> str:  # noqa: ANN401 - a pandas Index, or a sequence
    """What a row is called in a message: files count from 1, labels of a frame are as they are."""
    label = index[place]
    return (
        f"{label + 1}" if counts(index) else f"{label!r}" if isinstance(label, str) else f"{label}"
    )


def counts(index: Any) -> bool:  # noqa: ANN401
    """Whether rows are called by their numbers from 0, as they come from a file."""
    return type(index).__name__ == "RangeIndex" and index.step == 1
