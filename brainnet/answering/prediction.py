"""Prediction: a file of rows answered part by part; the next is read while one is computed."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from brainnet.answering.answer_file import Writer
from brainnet.answering.rows import check_there, nameless, never_seen
from brainnet.answering.trained import Trained
from brainnet.data.column import Unseen
from brainnet.data.columns import Columns
from brainnet.data.row_file import RowFile, ahead
from brainnet.data.signs import agreed, typed
from brainnet.data.wording import listed
from brainnet.errors import InputError
from brainnet.suggestion import did_you_mean
from brainnet.training.answers import PREDICTION, PROBABILITY, ROWS_AT_ONCE, outputs_of

# Enough to make what is done once for a part cheap, and little for the memory of a laptop.
_CELLS_AT_ONCE = 2**22
_MOST_ROWS = 8 * ROWS_AT_ONCE


Part = tuple[dict[str, Any], Any]
"""Columns to keep as they are, by name, and the raw rows."""


def predictions(
    trained: Trained,
    parts: Iterator[Part],
    *,
    unseen: Unseen = "other",
    strange: Counter[str] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the answers to rows, part by part, in their order; the next part is read meanwhile.

    What is in memory does not grow with the number of rows.

    Args:
        trained: what answers.
        parts: raw rows, each part with the columns to put before its answers.
        unseen: what to do with a category that training never saw: "other" or "refuse".
        strange: counts, by column, the rows that hold such a category.

    Yields:
        Arrays (rows,) by the name of the column.

    Raises:
        InputError: a row cannot be read or answered.
    """
    for kept, rows in ahead(parts):
        measured = trained.measured(rows, unseen=unseen)
        if strange is not None and isinstance(trained.preparation, Columns):
            strange.update(never_seen(trained.preparation, measured))
        outputs = outputs_of(trained.network, trained.scaling.apply(measured))
        yield kept | trained.told(outputs)


def parts_of_table(columns: Columns, file: RowFile, *, keep: Sequence[str] = ()) -> Iterator[Part]:
    """Yield the rows of a file, with the columns to keep as they are.

    Args:
        columns: what the run learnt of the columns it learnt from.
        file: with these columns, by name, and any others.
        keep: columns of the file to put before each answer.

    Raises:
        InputError: a column is missing, or a row cannot be read.
    """
    names = columns.raw_names
    needed = _columns_of(file, names, keep)
    check_kept(keep, file.columns)
    texts = [there for there, name in zip(needed, names, strict=True) if name in columns.text_names]
    learnt = columns
    columns, file = agreed(columns, file)
    own = columns if columns is not learnt else None
    rows = rows_at_once(len(names))
    if not set(keep) & set(needed) - set(texts):
        for frame in file.chunks(rows, text=[*texts, *keep], only=[*needed, *keep]):
            yield _part(frame, frame, needed, names, keep, own)
        return
    # As a number for the network, as it is written for the answers: read twice.
    inputs = file.chunks(rows, text=texts, only=needed)
    kept = file.chunks(rows, text=keep, only=keep)
    for frame, beside in zip(inputs, kept, strict=True):
        yield _part(frame, beside, needed, names, keep, own)


def _part(
    frame: Any,  # noqa: ANN401 - a pandas DataFrame, and so is `beside`
    beside: Any,  # noqa: ANN401
    needed: Sequence[str],
    names: Sequence[str],
    keep: Sequence[str],
    own: Columns | None,
) -> Part:
    """Columns to keep, and the inputs; numbers by the signs of the file where it has its own."""
    # As objects where there is a type of pandas: whole numbers beside a gap would become floats.
    kinds = {name: None if isinstance(beside[name].dtype, np.dtype) else object for name in keep}
    kept = {name: beside[name].to_numpy(kind) for name, kind in kinds.items()}
    rows = frame[list(needed)].set_axis(list(names), axis=1)
    return kept, rows if own is None else typed(own, rows)


def write_predictions(parts: Iterator[dict[str, Any]], writer: Writer) -> Iterator[int]:
    """Write answers as they come, while the next are computed; yields how many rows are done."""
    done = 0
    try:
        with ThreadPoolExecutor(1, "writing") as writing:
            written = writing.submit(lambda: None)
            for columns in parts:
                written.result()
                written = writing.submit(writer.write, columns)
                done += len(next(iter(columns.values())))
                yield done
            written.result()
    finally:
        writer.close()


def rows_at_once(columns: int) -> int:
    """Return how many rows of so many columns to answer at a time.

    It follows from the columns alone, and so do the last bits of the answers.
    """
    fitting = _CELLS_AT_ONCE // columns
    whole = fitting - fitting % ROWS_AT_ONCE
    return min(_MOST_ROWS, whole or max(fitting, 1))


def check_kept(keep: Sequence[str], there: Sequence[str]) -> None:
    """Raise an InputError unless these columns can be put before each answer."""
    for name in keep:
        if name not in there:
            raise InputError(
                f"--keep: there is no column {name!r}.{did_you_mean(name, there)} "
                f"The columns are {listed(there)}."
            )
        if name == PREDICTION or name.startswith((f"{PREDICTION} ", PROBABILITY)):
            raise InputError(
                f"--keep: an answer has a column of its own that is called {name!r}. Rename yours."
            )
    if len(set(keep)) < len(keep):
        raise InputError(f"--keep names a column twice: {', '.join(keep)}.")


def unused(trained: Trained, columns: Columns, file: RowFile, keep: Sequence[str]) -> list[str]:
    """Return the columns of a file that training knew nothing of, if only to leave them out.

    Raises:
        InputError: a column is missing.
    """
    data = trained.config.get("data") or {}
    known = {*_columns_of(file, columns.raw_names, keep), *keep}
    for key in ("target", "drop"):
        told = data.get(key) or ()
        known |= set(map(str, [told] if isinstance(told, str | int) else told))
    return [name for name in file.columns if name not in known]


def _columns_of(file: RowFile, names: Sequence[str], keep: Sequence[str]) -> list[str]:
    """Return which column of the file is which of the network's: by name.

    By position where the file, or the run, has no names but numbers.
    """
    numbered = list(file.columns) == [str(place) for place in range(len(file.columns))]
    there = [name for name in file.columns if name not in keep or name in names]
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
