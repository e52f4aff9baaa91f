"""One row: the one that is asked about, out of a file or in whatever somebody holds it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from brainnet.data.columns import Columns
from brainnet.data.preparation import Preparation
from brainnet.data.reading import open_rows
from brainnet.data.signs import agreed
from brainnet.errors import InputError


def row_of(
    path: Path,
    number: int,
    preparation: Preparation,
    classes: Sequence[str] = (),
    *,
    header: bool | None = None,
) -> Any:  # noqa: ANN401 - a pandas DataFrame
    """Read one row of a file of rows, as a table of one row.

    Args:
        path: of the file.
        number: of the row, from 0.
        preparation: what the run learnt of its columns.
        classes: columns that hold right answers in words.
        header: whether the first line of a text names the columns; None recognises it.

    Raises:
        InputError: there is no such row, or the file is no table.
    """
    if number < 0:
        raise InputError(f"rows are counted from 0; got {number}.")
    texts = [*getattr(preparation, "text_names", ()), *classes]
    file = open_rows(path, header=header)
    if isinstance(preparation, Columns):
        _, file = agreed(preparation, file)
    rows = 0
    for part in file.chunks(text=texts):
        if number < rows + len(part):
            return part.iloc[[number - rows]]
        rows += len(part)
    raise InputError(
        f"{path} has rows 0 to {rows - 1:,}; got {number}. Rows are counted from 0, without the "
        "line that names the columns."
    )


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
