"""Checks of options and cells, and warnings about data."""

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

# scikit-learn's generators take 32-bit seeds, so every seed of brainnet has this bound.
MAX_SEED = 2**32 - 1
_MAX_LISTED_CELLS = 3
_logger = logging.getLogger("brainnet")
_is_suppressed = ContextVar("_is_suppressed", default=False)


def check_whole_number(name: str, value: object, *, least: int, most: int | None = None) -> int:
    """Return a whole number in these bounds as an int, or raise an InputError.

    Whole numbers of NumPy and torch are accepted; `True` and `3.0` are not.
    """
    number = None
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        # A tensor has `__index__`, but raises TypeError if it contains a fraction.
        with suppress(TypeError):
            number = operator.index(value)
    if number is None or number < least or (most is not None and number > most):
        bounds = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise InputError(f"{name} must be a whole number {bounds}; got {value!r}.")
    return number


def check_number(name: str, value: object, *, least: float) -> float:
    """Return a finite number of at least `least` as a float, or raise an InputError."""
    # `Real` includes NumPy's floats of any width.
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if not math.isfinite(number) or number < least:
        raise InputError(f"{name} must be a finite number of {least:g} or more; got {value!r}.")
    return number


def check_seed(seed: object) -> int:
    """Return `seed` as an int, or raise an InputError unless it is from 0 to 2**32 - 1."""
    return check_whole_number("seed", seed, least=0, most=MAX_SEED)


def check_one_of(name: str, value: object, known: Sequence[str]) -> None:
    """Raise an InputError that lists the known values unless `value` is one of them."""
    if value not in known:
        hint = did_you_mean(str(value), known)
        raise InputError(f"{name} must be one of {', '.join(known)}; got {value!r}.{hint}")


def report_warning(message: str) -> None:
    """Log a warning; without logging configuration it is printed on stderr."""
    if not _is_suppressed.get():
        _logger.warning("brainnet: warning: %s", message)


@contextmanager
def suppress_warnings() -> Iterator[None]:
    """Suppress warnings about data that are read again: training already reported them."""
    token = _is_suppressed.set(True)
    try:
        yield
    finally:
        _is_suppressed.reset(token)


def get_total_memory() -> int | None:
    """Return the memory of this machine in bytes, or None if the system does not report it."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    # Windows has no `sysconf`.
    except (AttributeError, ValueError, OSError):
        return None


def parse_names(names: object) -> list[str]:
    """Return a list of column names from one name, several names or None."""
    if names is None:
        return []
    if isinstance(names, str | int):
        return [str(names)]
    return [str(name) for name in names] if isinstance(names, Iterable) else []


def check_columns_exist(names: Sequence[str], columns: Sequence[str], where: str = "") -> None:
    """Raise an InputError, beginning with `where`, for the first name that is not a column."""
    known = set(columns)
    for name in names:
        if name in known:
            continue
        # A name that differs only in case is the most likely one.
        same_letters = [column for column in columns if column.casefold() == name.casefold()]
        hint = did_you_mean(name, columns)
        if same_letters:
            hint = f" Did you mean {same_letters[0]}?"
        raise InputError(
            f"{where}there is no column {name!r}.{hint} The columns are {join_names(columns)}."
        )


def join_names(names: Sequence[str], most: int = 20) -> str:
    """Join names with commas; of many, list the first `most` and the total number."""
    more = f", ... ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def format_count(count: int, noun: str) -> str:
    """Return a count with its noun, such as 1 row or 1,200 rows."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def reject_cells(
    column: str, cells: Cells, is_wrong: Numbers, wanted: str, hint: str | None = None
) -> None:
    """Raise an InputError that lists the first wrong cells of a column, if there are any."""
    rows = np.flatnonzero(is_wrong)
    if not len(rows):
        return
    listed = ", ".join(
        f"row {format_row_number(cells.index, row)} ({str(cells.iloc[row])!r})"
        for row in rows[:_MAX_LISTED_CELLS]
    )
    more = ", ..." if len(rows) > _MAX_LISTED_CELLS else ""
    counting = "counted from 1, without the header"
    if not _is_counted(cells.index):
        counting = "named by the index of the DataFrame"
    hint = hint or (
        f"Correct {'it' if len(rows) == 1 else 'them'}, empty the cell if its value is unknown, or "
        "drop the column; if the column is categorical, declare it: "
        f"{format_override('data.categories', [column])}."
    )
    raise InputError(
        f"column {column!r} contains {wanted}, but not in {listed}{more}; rows are {counting}. "
        f"{hint}"
    )


def format_row_number(index: Any, position: int) -> str:
    """Return the name of a row for messages: a number from 1, or the label in the index."""
    label = index[position]
    if _is_counted(index):
        return str(label + 1)
    return repr(label) if isinstance(label, str) else str(label)


def _is_counted(index: Any) -> bool:
    """Whether a pandas index only counts rows, as for rows read from a file."""
    return type(index).__name__ == "RangeIndex" and index.step == 1
