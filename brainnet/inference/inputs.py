"""Inputs: rows and images in any form, prepared as the run prepared its own."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from brainnet.data.cells import Cells, parse_numbers
from brainnet.data.column_types import check_number_format, to_typed
from brainnet.data.dataset import InputEncoder
from brainnet.data.image_files import (
    Bytes,
    ImageEncoder,
    has_fractions,
    is_idx,
    list_image_files,
    read_idx,
    read_images,
    to_bytes,
)
from brainnet.data.preprocessing import TableEncoder, UnseenCategories
from brainnet.data.table_files import DAMAGED, Frame, TableFile, check_array_sizes, open_table
from brainnet.data.validation import format_row_number, join_names, report_warning
from brainnet.errors import InputError, did_you_mean
from brainnet.learning.predictions import BATCH_ROWS, choose_batch_rows

if TYPE_CHECKING:
    import pandas as pd


_NAMED = 5


def build_frame(rows: Any, names: Sequence[str]) -> "pd.DataFrame":
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
            f"learnt from {join_names(names, _NAMED)}. Give each one name: frame.columns = [...]."
        )
    frame = frame.rename(columns=str)
    there = list(frame.columns)
    if there == list(names):
        return frame
    if nameless(names) and len(there) == len(names) and not set(there) & set(names):
        return frame.set_axis(list(names), axis=1)
    check_has_columns(there, names)
    counts = Counter(there)
    twice = [name for name in names if counts[name] > 1]
    if twice:
        raise InputError(
            f"the rows have {counts[twice[0]]} columns that are called {twice[0]!r}. Which "
            "one is meant? Rename or drop the others."
        )
    return frame[list(names)]


def encode_rows(
    rows: Any, preparation: InputEncoder, *, unseen: UnseenCategories = "other"
) -> Tensor:
    """Return raw rows as inputs before they are scaled, (rows, inputs).

    Args:
        rows: as for `frame_of`; of pictures, as for `Pixels.apply`.
        preparation: what was learnt of the columns, or of the pictures.
        unseen: what to do with a category that training never saw: "other" or "refuse".

    Raises:
        InputError: a column is missing, or a cell cannot be read.
    """
    if isinstance(preparation, TableEncoder):
        frame = build_frame(rows, preparation.raw_names)
        found = preparation.apply(frame, unseen=unseen)
        if not preparation.imputes:
            check_complete(found, preparation, frame.index)
    else:
        found = preparation.apply(rows)
    # Row by row in memory, as training had it: a product of other strides rounds otherwise.
    return torch.from_numpy(np.require(found, requirements=("C", "W")))


def check_has_columns(there: Sequence[str], names: Sequence[str]) -> None:
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


def check_complete(
    measured: NDArray[np.generic], columns: TableEncoder, labels: Sequence[Any]
) -> None:
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
        f"column {name!r} is empty in row {format_row_number(labels, row)}, and the network learnt from "
        f"complete rows alone ({int(missing.any(axis=1).sum()):,} of these {len(measured):,} are "
        "not). Fill it in or leave the row out; a network trained with data.missing=impute fills "
        "in the mean."
    )


def find_unseen_categories(columns: TableEncoder, measured: Tensor) -> Counter[str]:
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


def note_never_seen(columns: TableEncoder, measured: Tensor) -> None:
    """Tell which columns hold words that training never saw, and in how many rows."""
    told = [
        f"{name} in {rows:,} {'row' if rows == 1 else 'rows'}"
        for name, rows in find_unseen_categories(columns, measured).items()
        if rows
    ]
    if told:
        report_warning(
            "words that training never saw, taken for none of those it saw: "
            f'{join_names(told, _NAMED)}. (unseen="refuse" stops at the first.)'
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


def _table(rows: Any, columns: int) -> Any:
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


# Enough to make what is done once for a part cheap, and little for the memory of a laptop.
_CELLS_AT_ONCE = 2**22

_MOST_ROWS = 8 * BATCH_ROWS


def rows_of_table(
    columns: TableEncoder, file: TableFile, *, keep: Sequence[str] = ()
) -> tuple[TableEncoder, Iterator[tuple[Frame, Frame]]]:
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
    own, file = check_number_format(columns, file)
    return own, _parts(columns, own, file, needed, keep)


def _parts(
    learnt: TableEncoder,
    own: TableEncoder,
    file: TableFile,
    needed: Sequence[str],
    keep: Sequence[str],
) -> Iterator[tuple[Frame, Frame]]:
    names = learnt.raw_names
    told = set(learnt.text_names)
    texts = [there for there, name in zip(needed, names, strict=True) if name in told]
    rows = rows_at_once(len(names))

    def inputs(frame: Any) -> Frame:
        found = frame[list(needed)].set_axis(list(names), axis=1)
        return found if own is learnt else to_typed(own, found)

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
    whole = fitting - fitting % BATCH_ROWS
    return min(_MOST_ROWS, whole or max(fitting, 1))


def columns_of(file: TableFile, names: Sequence[str], keep: Sequence[str]) -> list[str]:
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
            f"{len(names)}: {join_names(names)}. Give these alone, in this order, or name the columns."
        )
    check_has_columns(there, names)
    return list(names)


FILE = "file"

"""The column that names the picture, where each is a file of its own."""

_FILES_AT_ONCE = 1024

_ARRAYS = (".npy", ".npz")


def read_image_batches(
    pixels: ImageEncoder, source: Path, *, unnamed: bool = False, skip: bool = False
) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield pictures as rows of inputs, each part with the names of its files, if they have some.

    Args:
        pixels: the size and the colours that the run learnt from; others are brought to them.
        source: a folder, with pictures in it or in folders in it; one picture; an IDX file; or an
            array in an .npy or .npz file.
        unnamed: leave the names out.
        skip: leave out files that cannot be read as pictures, with a note that names them.

    Raises:
        InputError: there are no pictures, or one cannot be read.
    """
    if source.is_dir():
        return _of_files(pixels, _files(source), source, unnamed=unnamed, skip=skip)
    if is_idx(source):
        return _of_array(pixels, read_idx(source))
    if source.suffix.lower() in _ARRAYS:
        return _of_array(pixels, _loaded(source))
    return _of_files(pixels, [source], source.parent, unnamed=unnamed, skip=skip)


def picture_of(
    pixels: ImageEncoder, source: Path, number: int | None
) -> tuple[Bytes, Path, int | None]:
    """Read one picture, as a row of inputs (1, inputs), of those of `parts_of_pictures`.

    Args:
        pixels: as there.
        source: as there.
        number: of the picture, from 0, in their order; None where the source is one picture.

    Returns:
        The row; the file that holds it, and its number there if that holds several.

    Raises:
        InputError: there is no such picture, or it cannot be read.
    """
    several = source.is_dir() or is_idx(source) or source.suffix.lower() in _ARRAYS
    if number is None and several:
        raise InputError(
            f"which of the pictures of {source}? Say --row N (in Python, number), from 0."
        )
    wanted, before = number or 0, 0
    if source.is_dir():  # none but this one is decoded
        files = _files(source)
        if 0 <= wanted < len(files):
            ((_, row),) = _of_files(pixels, files[wanted : wanted + 1], source, unnamed=True)
            return row, files[wanted], None
        before = len(files)
    else:
        for _, rows in read_image_batches(pixels, source):
            if 0 <= wanted - before < len(rows):
                return rows[wanted - before :][:1], source, number if several else None
            before += len(rows)
    raise InputError(
        f"{source} has pictures 0 to {before - 1:,}; got {number}. They are counted from 0, files "
        "in the order of their names."
    )


def _files(folder: Path) -> list[Path]:
    files = list(list_image_files(folder))
    if not files:
        raise InputError(f"{folder} holds no files. Name a folder of pictures, or a picture.")
    return files


def _of_files(
    pixels: ImageEncoder, files: list[Path], folder: Path, *, unnamed: bool, skip: bool = False
) -> Iterator[tuple[dict[str, Any], Any]]:
    for start in range(0, len(files), _FILES_AT_ONCE):
        part = files[start : start + _FILES_AT_ONCE]
        rows, broken = pixels.read(part)
        if broken:
            told = join_names([f"{part[place]} ({why})" for place, why in broken.items()], 3)
            what = f"cannot be read as {'a picture' if len(broken) == 1 else 'pictures'}"
            if not skip:
                raise InputError(
                    f"{told} {what}. Replace or remove what is broken (brainnet predict leaves it "
                    "out with --broken skip)."
                )
            report_warning(f"{told} {what}: left out.")
            whole = [place for place in range(len(part)) if place not in broken]
            part, rows = [part[place] for place in whole], rows[whole]
            if not part:
                continue
        names = np.array([file.relative_to(folder).as_posix() for file in part], dtype=object)
        yield ({} if unnamed else {FILE: names}), rows


def _of_array(pixels: ImageEncoder, values: NDArray[Any]) -> Iterator[tuple[dict[str, Any], Any]]:
    if not len(values):
        raise InputError("there are no pictures in it: an array of none.")
    rows = choose_batch_rows(values[0].size)
    fractions = has_fractions(values)  # asked of all: a dark part of 0 to 255 may look like some
    for start in range(0, len(values), rows):
        part = to_bytes(values[start : start + rows], "pictures", fractions=fractions)
        yield {}, pixels.apply(part)


def _loaded(path: Path) -> NDArray[Any]:
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            name = read_images(found.files)
            if name is None:
                raise InputError(
                    f"{path} holds {join_names(found.files)}, and none of them is known to be "
                    f"pictures. Name the array images: numpy.savez(path, images=...)."
                )
            check_array_sizes(path, found.zip)
            array: NDArray[Any] = found[name]
            return array
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(f"{path} cannot be read as an array of pictures: {error}.") from error


_NAMED_one_row = 5


def row_of(
    path: Path,
    number: int,
    columns: TableEncoder,
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
            row = part.iloc[[place]] if own is columns else to_typed(own, part.iloc[[place]])
            return row.assign(**found)
        rows += len(part)
    raise InputError(
        f"{path} has rows 0 to {rows - 1:,}; got {number}. Rows are counted from 0, without the "
        "line that names the columns."
    )


def _opened(path: Path, columns: TableEncoder, header: bool | None) -> TableFile:
    """A file of rows; data.header is no word of those who ask."""
    try:
        return open_table(path, header=header)
    except InputError as error:
        said, asks, _ = str(error).partition("If it is a row, set data.header=false")
        if not asks:
            raise
        raise InputError(
            f"{said}If it is a row, put a line above it that names the columns: "
            f"{join_names(columns.raw_names, _NAMED_one_row)}."
        ) from error


def _answer(cell: Cells, columns: TableEncoder, classes: bool) -> Cells:
    """A right answer as it is written, or as the number that it is by the signs of its file."""
    values, wrong = parse_numbers(cell, columns.decimal)
    return cell if classes or wrong.any() else cell.map(lambda _: float(values[0]))


def alone(row: Any) -> Any:
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


def _is_row(cell: Any) -> bool:
    several = isinstance(cell, Sequence | Mapping) and not isinstance(cell, str)
    return several or getattr(cell, "ndim", 0) > 0
