"""Rows: whatever somebody holds them in, as a table whose columns are called as the run's."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from brainnet.data.column import Unseen
from brainnet.data.columns import Columns
from brainnet.data.notes import note
from brainnet.data.preparation import Preparation
from brainnet.data.wording import listed, row_called
from brainnet.errors import InputError
from brainnet.suggestion import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

_NAMED = 5


def frame_of(rows: Any, names: Sequence[str]) -> "pd.DataFrame":  # noqa: ANN401 - see Args
    """Return rows as a DataFrame with the columns of these names, in this order.

    Args:
        rows: a DataFrame or a mapping of columns, which go by name and may hold more; a list of
            mappings, one for each row; or an array, a tensor or nested lists (rows, columns),
            which go by position.
        names: of the columns that are needed.

    Raises:
        InputError: a column is missing, or the rows are no table.

    Example:
        >>> frame_of({"b": [3, 4], "a": [1, 2]}, ["a", "b"]).to_numpy().tolist()
        [[1, 3], [2, 4]]
        >>> frame_of([[1, 3], [2, 4]], ["a", "b"]).columns.tolist()
        ['a', 'b']
    """
    import pandas as pd  # here, not above: half a second, and training on arrays needs none of it

    if isinstance(rows, pd.DataFrame):
        return named(rows, names)
    if isinstance(rows, Mapping):
        return named(_of_columns(rows), names)
    if isinstance(rows, list | tuple) and rows and isinstance(rows[0], Mapping):
        return named(_of_records(rows), names)
    return pd.DataFrame(_table(rows, len(names)), columns=list(names))


def named(frame: "pd.DataFrame", names: Sequence[str]) -> "pd.DataFrame":
    """Return the columns of these names, in this order.

    Raises:
        InputError: one is missing; a run that learnt from arrays takes as many columns by position.
    """
    if frame.columns.nlevels > 1:
        raise InputError(
            f"the columns of the rows have names of {frame.columns.nlevels} levels; the network "
            f"learnt from {listed(names, _NAMED)}. Give each one name: frame.columns = [...]."
        )
    frame = frame.rename(columns=str)
    there = list(frame.columns)
    if there == list(names):
        return frame
    if nameless(names) and len(there) == len(names) and not set(there) & set(names):
        return frame.set_axis(list(names), axis=1)
    check_there(there, names)
    counts = Counter(there)
    twice = [name for name in names if counts[name] > 1]
    if twice:
        raise InputError(
            f"the rows have {counts[twice[0]]} columns that are called {twice[0]!r}. Which "
            "one is meant? Rename or drop the others."
        )
    return frame[list(names)]


def measured(rows: Any, preparation: Preparation, *, unseen: Unseen = "other") -> Tensor:  # noqa: ANN401
    """Return raw rows as inputs before they are scaled, (rows, inputs).

    Args:
        rows: as for `frame_of`; of pictures, as for `Pixels.apply`.
        preparation: what was learnt of the columns, or of the pictures.
        unseen: what to do with a category that training never saw: "other" or "refuse".

    Raises:
        InputError: a column is missing, or a cell cannot be read.
    """
    if isinstance(preparation, Columns):
        frame = frame_of(rows, preparation.raw_names)
        found = preparation.apply(frame, unseen=unseen)
        if not preparation.imputes:
            check_complete(found, preparation, frame.index)
    else:
        found = preparation.apply(rows)
    # Row by row in memory, as training had it: a product of other strides rounds otherwise.
    return torch.from_numpy(np.require(found, requirements=("C", "W")))


def check_there(there: Sequence[str], names: Sequence[str]) -> None:
    """Raise an InputError that names the columns that are missing, if any are."""
    known = set(there)
    lacking = [name for name in names if name not in known]
    if not lacking:
        return
    more = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
    told = ", ".join(lacking[:_NAMED])
    shown = ", ".join(there[:_NAMED]) + (", ..." if len(there) > _NAMED else "")
    unused = [name for name in there if name not in names]
    raise InputError(
        f"the rows lack {'the column' if len(lacking) == 1 else 'the columns'} {told}{more}, which "
        f"the network learnt from; they have {shown or 'none'}."
        f"{did_you_mean(lacking[0], unused)} Columns go by name, in any order."
    )


def check_complete(measured: NDArray[np.generic], columns: Columns, labels: Sequence[Any]) -> None:
    """Raise an InputError that names the first cell where a number is missing, if there is one.

    Args:
        measured: (rows, inputs), NaN where one is missing.
        columns: that they were made of.
        labels: what each row is called.
    """
    missing = np.isnan(measured)
    if not missing.any():
        return
    row, place = (int(found[0]) for found in np.nonzero(missing))
    name = [column.name for column in columns.columns for _ in column.inputs][place]
    raise InputError(
        f"column {name!r} is empty in row {row_called(labels, row)}, and the network learnt from "
        f"complete rows alone ({int(missing.any(axis=1).sum()):,} of these {len(measured):,} are "
        "not). Fill it in or leave the row out; a network trained with data.missing=impute fills "
        "in the mean."
    )


def never_seen(columns: Columns, measured: Tensor) -> Counter[str]:
    """Count, by column, the rows that hold a word which training never saw.

    Args:
        columns: what was learnt.
        measured: what it made of raw rows, (rows, inputs): zeros, or code 0, for such a word.
    """
    found: Counter[str] = Counter()
    place = 0
    for column in columns.columns:
        width = len(column.inputs)
        if column.kind == "category":
            none = (measured[:, place : place + width] == 0).all(dim=1)
            found[column.name] = int(none.sum())
        place += width
    return found


def note_never_seen(columns: Columns, measured: Tensor) -> None:
    """Tell which columns hold words that training never saw, and in how many rows."""
    told = [
        f"{name} in {rows:,} {'row' if rows == 1 else 'rows'}"
        for name, rows in never_seen(columns, measured).items()
        if rows
    ]
    if told:
        note(
            "words that training never saw, taken for none of those it saw: "
            f'{listed(told, _NAMED)}. (unseen="refuse" stops at the first.)'
        )


def nameless(names: Sequence[str]) -> bool:
    """Whether columns have only the numbers that arrays without names are given."""
    return all(name == f"input_{column}" for column, name in enumerate(names))


def _of_columns(columns: Mapping[Any, Any]) -> "pd.DataFrame":
    """Return a mapping of columns as a table; where all hold a single cell, as one row."""
    import pandas as pd

    try:
        alone = not any(np.ndim(column) for column in columns.values())
        return pd.DataFrame([columns] if alone else dict(columns))
    except (TypeError, ValueError) as error:
        lengths = ", ".join(
            f"{name} {len(column) if hasattr(column, '__len__') else 1}"
            for name, column in list(columns.items())[:_NAMED]
        )
        raise InputError(
            f"rows must be columns of one length, each with a number or word for each row; got "
            f"{lengths}{', ...' if len(columns) > _NAMED else ''} ({error})."
        ) from error


def _of_records(records: Sequence[Any]) -> "pd.DataFrame":
    """Return a list of mappings, one for each row, as a table."""
    import pandas as pd

    strange = next((row for row in records if not isinstance(row, Mapping)), None)
    if strange is not None:
        raise InputError(
            f"rows must all be mappings where the first is one; one is {type(strange).__name__}."
        )
    return pd.DataFrame(list(records))


def _table(rows: Any, columns: int) -> Any:  # noqa: ANN401
    """Return rows as an array (rows, columns)."""
    if isinstance(rows, str | PurePath):
        raise InputError(
            f"rows must be a table of {columns} columns; got {str(rows)!r}. Read the file first: "
            f"pandas.read_csv({str(rows)!r}); or on the command line, brainnet predict RUN --input "
            f"{rows}."
        )
    if hasattr(rows, "to_frame") and getattr(rows, "ndim", None) == 1:  # a pandas.Series
        raise InputError(
            "a row of a DataFrame on its own is a Series, whose values are no longer of the kinds "
            "of their columns. Take a table of one row: frame.iloc[[0]]."
        )
    try:
        table = rows.detach().cpu().numpy() if isinstance(rows, Tensor) else np.asarray(rows)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"rows must be a table of {columns} columns; got {type(rows).__name__}, which NumPy "
            f"cannot read as one ({error}). Give a DataFrame, a mapping of columns, or an array."
        ) from error
    if table.ndim != 2 or table.shape[1] != columns:
        hint = " Put a single row into a list: [row]." if table.shape == (columns,) else ""
        raise InputError(
            f"the network learnt from {columns} columns, so rows must have shape (rows, {columns});"
            f" got {table.shape}.{hint}"
        )
    return table
