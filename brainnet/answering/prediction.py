"""Prediction: a file of rows answered part by part; the next is read while one is computed."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from brainnet.answering.answer_file import Writer
from brainnet.answering.rows import never_seen
from brainnet.answering.table_rows import columns_of, rows_of_table
from brainnet.answering.trained import Trained, lost_rows, note_lost
from brainnet.data.column import Unseen
from brainnet.data.columns import Columns
from brainnet.data.row_file import RowFile, ahead
from brainnet.data.wording import as_names, listed
from brainnet.errors import InputError
from brainnet.suggestion import did_you_mean
from brainnet.training.answers import PREDICTION, PROBABILITY, outputs_of

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
    lost = rows_so_far = 0
    for kept, rows in ahead(parts):
        measured = trained.measured(rows, unseen=unseen)
        if strange is not None and isinstance(trained.preparation, Columns):
            strange.update(never_seen(trained.preparation, measured))
        outputs = outputs_of(trained.network, trained.scaling.apply(measured))
        rows_so_far += len(outputs)
        lost += lost_rows(outputs)
        yield kept | trained.told(outputs)
    note_lost(lost, rows_so_far)


def parts_of_table(columns: Columns, file: RowFile, *, keep: Sequence[str] = ()) -> Iterator[Part]:
    """Yield the rows of a file, with the columns to keep as they are.

    Args:
        columns: what the run learnt of the columns it learnt from.
        file: with these columns, by name, and any others.
        keep: columns of the file to put before each answer.

    Raises:
        InputError: a column is missing, or a row cannot be read.
    """
    _, parts = rows_of_table(columns, file, keep=keep)
    check_kept(keep, file.columns)
    for rows, beside in parts:
        # As objects where there is a type of pandas: whole numbers beside a gap would be floats.
        kinds = {
            name: None if isinstance(beside[name].dtype, np.dtype) else object for name in keep
        }
        yield {name: beside[name].to_numpy(kind) for name, kind in kinds.items()}, rows


def write_predictions(parts: Iterator[dict[str, Any]], writer: Writer) -> Iterator[int]:
    """Write answers as they come, while the next are computed; yields how many rows are done.

    Raises:
        InputError: there is none.
    """
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
        if not done:
            raise InputError("there are no rows to answer in it.")
    finally:
        writer.close()


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
    known = {*columns_of(file, columns.raw_names, keep), *keep}
    known |= {name for key in ("target", "drop") for name in as_names(data.get(key))}
    return [name for name in file.columns if name not in known]
