"""Inputs: raw rows and images in any form, encoded as the training rows were."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from brainnet.data.dataset import InputEncoder
from brainnet.data.image_files import (
    Bytes,
    ImageEncoder,
    choose_image_array,
    is_idx,
    list_image_files,
    read_idx,
)
from brainnet.data.preprocessing import (
    TIME_FORMAT,
    TableEncoder,
    UnknownCategories,
    is_typed,
    parse_numbers,
)
from brainnet.data.table_files import Frame, TableFile, load_arrays, open_table
from brainnet.data.validation import format_row_number, join_names, report_warning
from brainnet.errors import InputError, did_you_mean
from brainnet.learning.predictions import BATCH_ROWS, choose_batch_rows

if TYPE_CHECKING:
    import pandas as pd

# pandas is imported inside the functions: it costs 0.2 s, and training on arrays needs none of it.

_MAX_SHOWN = 5
PredictionBatch = tuple[dict[str, Any], Any]
"""Columns to write before the predictions, by name, and the raw rows."""


def build_frame(rows: Any, names: Sequence[str]) -> "pd.DataFrame":
    """Return rows as a DataFrame with the columns of these names, in this order.

    Args:
        rows: a DataFrame, a mapping of columns or a list of mappings (one per row), whose columns
            are matched by name and may be more; or an array, a tensor or nested lists
            (rows, columns), whose columns are matched by position.
        names: of the columns that are needed.

    Raises:
        InputError: a column is missing, or the rows are no table.

    Example:
        >>> build_frame({"b": [3, 4], "a": [1, 2]}, ["a", "b"]).to_numpy().tolist()
        [[1, 3], [2, 4]]
        >>> build_frame([[1, 3], [2, 4]], ["a", "b"]).columns.tolist()
        ['a', 'b']
    """
    import pandas as pd

    if isinstance(rows, str | PurePath):
        raise InputError(
            f"rows must be a table of {len(names)} columns; got {str(rows)!r}. Read the file "
            f"with pandas.read_csv({str(rows)!r}), or run brainnet predict RUN --input {rows}."
        )
    if isinstance(rows, pd.Series):
        raise InputError(
            "rows must be a table; got a Series, whose values have lost their column types. "
            "Take a table of one row: frame.iloc[[0]]."
        )
    try:
        if isinstance(rows, Mapping):
            is_single = not any(np.ndim(column) for column in rows.values())
            rows = pd.DataFrame([rows] if is_single else dict(rows))
        elif isinstance(rows, list | tuple) and rows and isinstance(rows[0], Mapping):
            rows = pd.DataFrame.from_records([dict(row) for row in rows])
        elif isinstance(rows, Tensor):
            rows = rows.detach().cpu().numpy()
        elif not isinstance(rows, pd.DataFrame):
            rows = np.asarray(rows)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"rows must be a table of {len(names)} columns of the same length; got "
            f"{type(rows).__name__}: {error}. Pass a DataFrame, a mapping of columns, or an array."
        ) from error
    if isinstance(rows, pd.DataFrame):
        return _choose_columns(rows, names)
    if rows.ndim != 2 or rows.shape[1] != len(names):
        hint = " Put a single row into a list: [row]." if rows.shape == (len(names),) else ""
        raise InputError(
            f"rows must have shape (rows, {len(names)}), the columns of the training data; got "
            f"{rows.shape}.{hint}"
        )
    return pd.DataFrame(rows, columns=list(names))


def _choose_columns(frame: "pd.DataFrame", names: Sequence[str]) -> "pd.DataFrame":
    if frame.columns.nlevels > 1:
        raise InputError(
            "the columns of the rows have names of several levels (a MultiIndex). Give each one "
            "name: frame.columns = [...]."
        )
    frame = frame.rename(columns=str)
    known = list(frame.columns)
    if known == list(names):
        return frame
    # A run on arrays has no names, so that any columns are matched by position.
    if _are_numbered(names) and len(known) == len(names) and not set(known) & set(names):
        return frame.set_axis(list(names), axis=1)
    _check_has_columns(known, names)
    repeated = [name for name, count in Counter(known).items() if count > 1 and name in names]
    if repeated:
        raise InputError(
            f"the rows have several columns called {repeated[0]!r}. Rename the others."
        )
    return frame[list(names)]


def _are_numbered(names: Sequence[str]) -> bool:
    """Return whether the columns have only the names that arrays are given."""
    return all(name == f"input_{position}" for position, name in enumerate(names))


def _check_has_columns(known: Sequence[str], names: Sequence[str]) -> None:
    missing = [name for name in names if name not in set(known)]
    if missing:
        unused = [name for name in known if name not in names]
        raise InputError(
            f"the rows lack the column{'s' * (len(missing) > 1)} {join_names(missing, _MAX_SHOWN)} "
            f"of the training data; they have {join_names(known, _MAX_SHOWN) or 'none'}."
            f"{did_you_mean(missing[0], unused)} Columns are matched by name, in any order."
        )


def encode_rows(
    rows: Any, encoder: InputEncoder, *, unknown: UnknownCategories = "ignore"
) -> Tensor:
    """Return raw rows as inputs before scaling, (rows, inputs).

    Args:
        rows: as for `build_frame`; images as for `ImageEncoder.apply`.
        encoder: of the columns, or of the images.
        unknown: what to do with categories not seen in training.

    Raises:
        InputError: a column or a number is missing, or a cell cannot be read.
    """
    if isinstance(encoder, TableEncoder):
        frame = build_frame(rows, encoder.raw_names)
        inputs = encoder.transform(frame, unknown=unknown)
        if not encoder.imputes:
            _check_complete(inputs, encoder, frame.index)
    else:
        inputs = encoder.apply(rows)
    # Contiguous, as in training: a product of other strides rounds differently.
    return torch.from_numpy(np.require(inputs, requirements=("C", "W")))


def _check_complete(inputs: NDArray[Any], encoder: TableEncoder, index: Any) -> None:
    missing = np.isnan(inputs)
    if not missing.any():
        return
    row, position = (int(places[0]) for places in np.nonzero(missing))
    names = [column.name for column in encoder.columns for _ in column.inputs]
    raise InputError(
        f"column {names[position]!r} is empty in row {format_row_number(index, row)}, and "
        f"{int(missing.any(axis=1).sum()):,} of {len(inputs):,} rows have empty cells. Fill them "
        "or leave the rows out; a network trained with data.missing=impute fills in the mean."
    )


def count_unknown_categories(encoder: TableEncoder, inputs: Tensor) -> Counter[str]:
    """Return the number of rows, by column, with a category not seen in training.

    Args:
        encoder: of the columns.
        inputs: what it returned, (rows, inputs): zeros, or code 0, for such a category.
    """
    counts: Counter[str] = Counter()
    start = 0
    for column in encoder.columns:
        stop = start + len(column.inputs)
        if column.kind == "category":
            counts[column.name] = int((inputs[:, start:stop] == 0).all(dim=1).sum())
        start = stop
    return counts


def warn_unknown_categories(counts: Counter[str]) -> None:
    """Report columns that contain categories not seen in training, with numbers of rows."""
    for name, rows in counts.items():
        if rows:
            report_warning(
                f"column {name!r}: {rows:,} row{'s' * (rows > 1)} with categories not seen in "
                'training, encoded as "unknown" (unknown=error rejects them).'
            )


def choose_table_batch_rows(columns: int) -> int:
    """Return how many rows of a table to predict at once.

    It depends on the number of columns only, and so do the last bits of the predictions.
    """
    fitting = max(1, 2**22 // columns)
    return min(8 * BATCH_ROWS, fitting - fitting % BATCH_ROWS or fitting)


def match_columns(file: TableFile, names: Sequence[str], keep: Sequence[str]) -> list[str]:
    """Return which column of a file is which column of the training data.

    Columns are matched by name, or by position if the file or the training data has no names.

    Args:
        file: of the rows.
        names: columns of the training data.
        keep: further columns of the file that are in use.

    Raises:
        InputError: a column is missing.
    """
    has_names = list(file.columns) != [str(position) for position in range(len(file.columns))]
    known = [name for name in file.columns if name not in set(keep) - set(names)]
    is_same_length = len(known) == len(names)
    if (
        not set(names) <= set(known)
        and is_same_length
        and not (has_names and not _are_numbered(names))
    ):
        return known
    if not has_names and not is_same_length:
        raise InputError(
            f"the rows have {len(known)} columns without names; "
            f"the training data has {len(names)}: "
            f"{join_names(names)}. Give these alone, in this order, or name the columns."
        )
    _check_has_columns(known, names)
    return list(names)


def read_table_batches(
    encoder: TableEncoder, file: TableFile, *, keep: Sequence[str] = ()
) -> Iterator[PredictionBatch]:
    """Yield the rows of a file in batches, under the names of the training data.

    Args:
        encoder: of the columns.
        file: with these columns, and any others.
        keep: columns to return as written, as arrays (rows,).

    Raises:
        InputError: a column is missing, or a row cannot be read.
    """
    needed = match_columns(file, encoder.raw_names, keep)
    file = file.with_signs(encoder.decimal, encoder.thousands)
    decimal = encoder.decimal if file.csv is None else file.csv.decimal
    texts = [
        name
        for name, own in zip(needed, encoder.raw_names, strict=True)
        if own in encoder.text_names
    ]
    size = choose_table_batch_rows(len(needed))
    for frame in file.chunks(size, text=[*texts, *keep], only=[*needed, *keep]):
        rows = frame[needed].set_axis(list(encoder.raw_names), axis=1)
        for column in encoder.columns:
            # The encoder expects the decimal sign of the training file in texts.
            if (
                column.kind == "number"
                and column.format != TIME_FORMAT
                and not is_typed(rows[column.name])
            ):
                values, wrong = parse_numbers(rows[column.name], decimal)
                rows = rows if wrong.any() else rows.assign(**{column.name: values})
        yield {name: frame[name].to_numpy(object) for name in keep}, rows


def read_row(
    path: Path,
    number: int,
    encoder: TableEncoder,
    targets: Sequence[str] = (),
    *,
    header: bool | None = None,
    csv: Mapping[str, Any] | None = None,
) -> Frame:
    """Read one row of a file, as a DataFrame of one row.

    Args:
        path: of the file.
        number: of the row, from 0.
        encoder: of its columns.
        targets: columns to add if the file has them, as written.
        header: as for `open_table`.
        csv: as for `open_table`.

    Raises:
        InputError: there is no such row, a column is missing, or the file is no table.
    """
    file = open_table(path, header=header, csv=csv)
    keep = [name for name in targets if name in file.columns]
    start = 0
    for kept, rows in read_table_batches(encoder, file, keep=keep):
        if 0 <= number - start < len(rows):
            place = [number - start]
            return rows.iloc[place].assign(**{name: kept[name][place] for name in keep})
        start += len(rows)
    raise InputError(f"{path} has rows 0 to {start - 1:,}; got {number}. The header is no row.")


def as_single_row(row: Any) -> Any:
    """Return a row given as plain values as a table of one row; tables are returned as they are.

    Example:
        >>> as_single_row([5.1, 3.5])
        [[5.1, 3.5]]
    """
    if hasattr(row, "to_frame") and getattr(row, "ndim", None) == 1:  # a row of a DataFrame
        return row.to_frame().T
    if not isinstance(row, list | tuple) or not row:
        return [row] if getattr(row, "ndim", None) == 1 else row
    if isinstance(row[0], list | tuple | Mapping) or getattr(row[0], "ndim", 0) != 0:
        return row
    has_texts = any(isinstance(cell, str) for cell in row)
    return [np.array(row, dtype=object)] if has_texts else [row]  # object keeps numbers numbers


_FILE_COLUMN = "file"
_FILES_AT_ONCE = 1024
_ARRAY_ENDINGS = (".npy", ".npz")


def read_image_batches(
    encoder: ImageEncoder, source: Path, *, unnamed: bool = False, skip: bool = False
) -> Iterator[PredictionBatch]:
    """Yield images as rows of inputs, with the names of their files if each has its own.

    Args:
        encoder: size and channels of the training images, to which others are converted.
        source: a folder with images, also in subfolders; one image; an IDX file; or an array in an
            .npy or .npz file.
        unnamed: leave the names out.
        skip: leave out files that cannot be read as images, with a warning.

    Raises:
        InputError: there are no images, or one cannot be read.
    """
    if not _has_several(source):
        return _read_image_files(encoder, [source], source.parent, unnamed=unnamed, skip=skip)
    if source.is_dir():
        return _read_image_files(encoder, _list_files(source), source, unnamed=unnamed, skip=skip)
    return _read_image_array(encoder, read_idx(source) if is_idx(source) else _load_images(source))


def _has_several(source: Path) -> bool:
    return source.is_dir() or is_idx(source) or source.suffix.lower() in _ARRAY_ENDINGS


def read_image(
    encoder: ImageEncoder, source: Path, number: int | None
) -> tuple[Bytes, Path, int | None]:
    """Read one of the images of `read_image_batches`, as a row of inputs (1, inputs).

    Args:
        encoder: as there.
        source: as there.
        number: of the image, from 0; None if the source is one image.

    Returns:
        The row; the file that contains it, and its number there if that contains several.

    Raises:
        InputError: there is no such image, or it cannot be read.
    """
    if number is None and _has_several(source):
        raise InputError(f"{source} contains several images. Choose one with --row N, from 0.")
    wanted, start = number or 0, 0
    if source.is_dir():  # only this one is decoded
        files = _list_files(source)
        if 0 <= wanted < len(files):
            ((_, row),) = _read_image_files(encoder, [files[wanted]], source, unnamed=True)
            return row, files[wanted], None
        start = len(files)
    else:
        for _, rows in read_image_batches(encoder, source):
            if 0 <= wanted - start < len(rows):
                row = rows[wanted - start :][:1]
                return row, source, number if _has_several(source) else None
            start += len(rows)
    raise InputError(
        f"{source} has images 0 to {start - 1:,}; got {number}. Files are counted in the order of "
        "their names."
    )


def _list_files(folder: Path) -> list[Path]:
    files = list_image_files(folder)
    if not files:
        raise InputError(f"{folder} contains no files. Name a folder of images, or an image.")
    return files


def _read_image_files(
    encoder: ImageEncoder, files: list[Path], folder: Path, *, unnamed: bool, skip: bool = False
) -> Iterator[PredictionBatch]:
    for start in range(0, len(files), _FILES_AT_ONCE):
        part = files[start : start + _FILES_AT_ONCE]
        rows, broken = encoder.read_files(part)
        if broken:
            shown = join_names([f"{part[place]} ({why})" for place, why in broken.items()], 3)
            if not skip:
                raise InputError(
                    f"cannot read {shown}. Replace or remove it; brainnet predict skips it with "
                    "--broken skip."
                )
            report_warning(f"skipped {shown}.")
            whole = [place for place in range(len(part)) if place not in broken]
            part, rows = [part[place] for place in whole], rows[whole]
        names = np.array([file.relative_to(folder).as_posix() for file in part], dtype=object)
        if part:
            yield ({} if unnamed else {_FILE_COLUMN: names}), rows


def _read_image_array(encoder: ImageEncoder, values: NDArray[Any]) -> Iterator[PredictionBatch]:
    if not len(values):
        raise InputError("the array contains no images.")
    size = choose_batch_rows(values[0].size)
    for start in range(0, len(values), size):
        yield {}, encoder.apply(values[start : start + size])


def _load_images(path: Path) -> NDArray[Any]:
    arrays = load_arrays(path)
    if isinstance(arrays, np.ndarray):
        return arrays
    name = choose_image_array(list(arrays))
    if name is None:
        raise InputError(
            f"{path} contains {join_names(list(arrays))}, and none of them is known as images. "
            "Name the array images: numpy.savez(path, images=...)."
        )
    return arrays[name]
