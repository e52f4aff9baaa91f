"""Table rows: those of a file, read as the run that is asked read its own, part by part."""

from collections.abc import Iterator, Sequence
from typing import Any

from brainnet.answering.rows import check_there, nameless
from brainnet.data.columns import Columns
from brainnet.data.row_file import Frame, RowFile
from brainnet.data.signs import agreed, typed
from brainnet.data.wording import listed
from brainnet.errors import InputError
from brainnet.training.answers import ROWS_AT_ONCE

# Enough to make what is done once for a part cheap, and little for the memory of a laptop.
_CELLS_AT_ONCE = 2**22
_MOST_ROWS = 8 * ROWS_AT_ONCE


def rows_of_table(
    columns: Columns, file: RowFile, *, keep: Sequence[str] = ()
) -> tuple[Columns, Iterator[tuple[Frame, Frame]]]:
    """How a file writes what the run learnt from, and its rows, part by part.

    Args:
        columns: what the run learnt of the columns it learnt from.
        file: with these columns, by name or by position, and any others.
        keep: columns of the file that are wanted beside the rows, as they are written.

    Returns:
        The columns with the signs of the file; and for each part the rows as the run learnt them,
        under its own names, and a table with the columns to keep.

    Raises:
        InputError: a column is missing; while rows are taken: one cannot be read.
    """
    needed = columns_of(file, columns.raw_names, keep)
    own, file = agreed(columns, file)
    return own, _parts(columns, own, file, needed, keep)


def _parts(
    learnt: Columns, own: Columns, file: RowFile, needed: Sequence[str], keep: Sequence[str]
) -> Iterator[tuple[Frame, Frame]]:
    names = learnt.raw_names
    told = set(learnt.text_names)
    texts = [there for there, name in zip(needed, names, strict=True) if name in told]
    rows = rows_at_once(len(names))

    def inputs(frame: Any) -> Frame:  # noqa: ANN401
        found = frame[list(needed)].set_axis(list(names), axis=1)
        return found if own is learnt else typed(own, found)

    if not set(keep) & set(needed) - set(texts):
        for frame in file.chunks(rows, text=[*texts, *keep], only=[*needed, *keep]):
            yield inputs(frame), frame
        return
    # As a number for the network, as it is written for whoever asks: read twice.
    read = file.chunks(rows, text=texts, only=needed)
    kept = file.chunks(rows, text=keep, only=keep)
    for frame, beside in zip(read, kept, strict=True):
        yield inputs(frame), beside


def rows_at_once(columns: int) -> int:
    """Return how many rows of so many columns to answer at a time.

    It follows from the columns alone, and so do the last bits of the answers.
    """
    fitting = _CELLS_AT_ONCE // columns
    whole = fitting - fitting % ROWS_AT_ONCE
    return min(_MOST_ROWS, whole or max(fitting, 1))


def columns_of(file: RowFile, names: Sequence[str], keep: Sequence[str]) -> list[str]:
    """Return which column of the file is which of the network's: by name.

    By position where the file, or the run, has no names but numbers.
    """
    numbered = list(file.columns) == [str(place) for place in range(len(file.columns))]
    taken = set(keep) - set(names)
    there = [name for name in file.columns if name not in taken]
    if set(names) <= set(there):
        return list(names)
    if len(there) == len(names) and (nameless(names) or numbered):
        return there
    if numbered and len(there) != len(names):
        raise InputError(
            f"the rows have {len(there)} columns without names; the network learnt from "
            f"{len(names)}: {listed(names)}. Give these alone, in this order, or name the columns."
        )
    check_there(there, names)
    return list(names)
