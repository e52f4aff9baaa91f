"""Checks of values and the wording of messages about data."""

import logging
import math
import operator
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from numbers import Real
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from brainnet.errors import InputError, did_you_mean, format_override

Cells = Any  # a pandas Series

Numbers = NDArray[Any]

# scikit-learn's generators take 32-bit seeds, so the whole of brainnet's data does.
LARGEST_SEED = 2**32 - 1


def check_whole_number(name: str, value: object, *, least: int, most: int | None = None) -> int:
    """Return `value` as an int if it is a whole number of at least `least` (and at most `most`).

    NumPy's and torch's whole numbers are whole numbers; `True` is none, and neither is `3.0`.

    Raises:
        InputError: it is of another type or out of range.
    """
    number = None
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        with suppress(TypeError):  # of a tensor of fractions
            number = operator.index(value)
    if number is None or number < least or (most is not None and number > most):
        bounds = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise InputError(f"{name} must be a whole number {bounds}; got {value!r}.")
    return number


def check_number(name: str, value: object, *, least: float) -> float:
    """Return `value` as a float if it is a finite number of at least `least`.

    Raises:
        InputError: it is of another type, not finite, or too small.
    """
    # Real: NumPy's numbers of any width count.
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if not math.isfinite(number) or number < least:
        raise InputError(f"{name} must be a finite number of {least:g} or more; got {value!r}.")
    return number


def check_seed(seed: object) -> int:
    """Return `seed` if every generator of random numbers here can take it."""
    return check_whole_number("seed", seed, least=0, most=LARGEST_SEED)


def check_one_of(name: str, value: object, known: Sequence[str]) -> None:
    """Raise an InputError that names the known values unless `value` is one of them."""
    if value not in known:
        hint = did_you_mean(str(value), known)
        raise InputError(f"{name} must be one of {', '.join(known)}; got {value!r}.{hint}")


log = logging.getLogger("brainnet")

_told_before = ContextVar("_told_before", default=False)


def report_warning(message: str) -> None:
    """Tell it as a warning of the log, which without any settings goes to stderr as it is."""
    if not _told_before.get():
        log.warning("brainnet: note: %s", message)


@contextmanager
def suppress_warnings() -> Iterator[None]:
    """Say nothing of data that are read again: the run that learnt from them said it all."""
    before = _told_before.set(True)
    try:
        yield
    finally:
        _told_before.reset(before)


def get_total_memory() -> int | None:
    """All memory of this machine in bytes; None where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no such question
        return None


_CELLS_NAMED = 3


def to_names(given: object) -> list[str]:
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


def check_columns_exist(wanted: Sequence[str], there: Sequence[str], of: str = "") -> None:
    """Raise an InputError that names the first of the `wanted` columns that is not `there`."""
    known = set(there)
    for name in wanted:
        if name not in known:
            raise InputError(
                f"{of}there is no column {name!r}.{_meant(name, there)} The columns are "
                f"{join_names(there)}."
            )


def _meant(name: str, there: Sequence[str]) -> str:
    """A question, where a column is called nearly so; a difference of case is the nearest."""
    alike = [known for known in there if known.casefold() == name.casefold()]
    return f" Did you mean {alike[0]}?" if alike else did_you_mean(name, there)


def join_names(names: Sequence[str], most: int = 20) -> str:
    """Names separated by commas, the first of them where they are many."""
    more = f", ... ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def reject_cells(
    column: str, cells: Cells, wrong: Numbers, wanted: str, hint: str | None = None
) -> None:
    """Raise an InputError that names the first wrong cells of a column, if there are any."""
    rows = np.flatnonzero(wrong)
    if not len(rows):
        return
    named = ", ".join(
        f"row {format_row_number(cells.index, row)} ({str(cells.iloc[row])!r})"
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
        f"{format_override('data.categories', [column])}."
    )
    raise InputError(f"column {column!r} holds {wanted}, but not in {named}{more}{counted}. {hint}")


def format_row_number(index: Any, place: int) -> str:
    """What a row is called in a message: files count from 1, labels of a frame are as they are."""
    label = index[place]
    return (
        f"{label + 1}" if counts(index) else f"{label!r}" if isinstance(label, str) else f"{label}"
    )


def counts(index: Any) -> bool:
    """Whether rows are called by their numbers from 0, as they come from a file."""
    return type(index).__name__ == "RangeIndex" and index.step == 1
