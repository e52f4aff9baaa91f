"""One row: the one that is asked about, out of a file or in whatever somebody holds it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from brainnet.answering.table_rows import rows_of_table
from brainnet.data.cells import Cells, numbers
from brainnet.data.columns import Columns
from brainnet.data.reading import open_rows
from brainnet.data.row_file import Frame, RowFile
from brainnet.data.signs import typed
from brainnet.data.wording import listed
from brainnet.errors import InputError

_NAMED = 5


def row_of(
    path: Path,
    number: int,
    columns: Columns,
    answers: Sequence[str] = (),
    *,
    classes: bool = False,
    header: bool | None = None,
) -> Frame:
    """Read one row of a file of rows as predict reads it, as a table of one row.

    Args:
        path: of the file.
        number: of the row, from 0.
        columns: what the run learnt of its columns.
        answers: columns that hold right answers, where they are there.
        classes: whether these are classes, which keep what is written, or numbers.
        header: whether the first line of a text names the columns; None recognises it.

    Raises:
        InputError: there is no such row, it lacks a column, or the file is no table.
    """
    if number < 0:
        raise InputError(f"rows are counted from 0; got {number}.")
    file = _opened(path, columns, header)
    beside = [name for name in answers if name in file.columns and name not in columns.raw_names]
    own, parts = rows_of_table(columns, file, keep=beside)
    rows = 0
    for part, kept in parts:
        if number < rows + len(part):
            place = number - rows
            found = {name: _answer(kept[name].iloc[[place]], own, classes) for name in beside}
            # By the signs of the file, be there what may in other rows.
            row = part.iloc[[place]] if own is columns else typed(own, part.iloc[[place]])
            return row.assign(**found)
        rows += len(part)
    raise InputError(
        f"{path} has rows 0 to {rows - 1:,}; got {number}. Rows are counted from 0, without the "
        "line that names the columns."
    )


def _opened(path: Path, columns: Columns, header: bool | None) -> RowFile:
    """A file of rows; data.header is no word of those who ask."""
    try:
        return open_rows(path, header=header)
    except InputError as error:
        said, asks, _ = str(error).partition("If it is a row, set data.header=false")
        if not asks:
            raise
        raise InputError(
            f"{said}If it is a row, put a line above it that names the columns: "
            f"{listed(columns.raw_names, _NAMED)}."
        ) from error


def _answer(cell: Cells, columns: Columns, classes: bool) -> Cells:
    """A right answer as it is written, or as the number that it is by the signs of its file."""
    values, wrong = numbers(cell, columns.decimal)
    return cell if classes or wrong.any() else cell.map(lambda _: float(values[0]))


def alone(row: Any) -> Any:  # noqa: ANN401 - whatever somebody holds a row in
    """A row given as plain values, as a table of one.

    Example:
        >>> alone([5.1, 3.5])
        [[5.1, 3.5]]
    """
    numbers = getattr(row, "ndim", None) == 1 and not hasattr(row, "to_frame")
    if hasattr(row, "to_frame") and getattr(row, "ndim", None) == 1:  # of a DataFrame
        return row.to_frame().T
    if not isinstance(row, list | tuple) or not row:
        return [row] if numbers else row
    if any(isinstance(cell, str) for cell in row) and not any(map(_is_row, row)):
        return [np.array(row, dtype=object)]  # as a plain array, its numbers would be words too
    return row if _is_row(row[0]) else [row]


def _is_row(cell: Any) -> bool:  # noqa: ANN401
    several = isinstance(cell, Sequence | Mapping) and not isinstance(cell, str)
    return several or getattr(cell, "ndim", 0) > 0
