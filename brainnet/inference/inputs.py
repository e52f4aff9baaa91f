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
from brainnet.data.preprocessing import TableEncoder, UnknownCategories, is_typed
from brainnet.data.table_files import Frame, TableFile, load_arrays, open_table
from brainnet.data.validation import format_count, format_row_number, join_names, report_warning
from brainnet.errors import InputError, did_you_mean
from brainnet.learning.predictions import BATCH_ROWS, choose_batch_rows

if TYPE_CHECKING:
    import pandas as pd

# pandas is imported inside the functions: it costs 0.2 s, and training on arrays needs none of it.

_MAX_SHOWN = 5
_FILE_COLUMN = "file"
_FILES_AT_ONCE = 1024
PredictionBatch = tuple[dict[str, Any], Any]
"""Columns to write before the predictions, by name, and the raw rows."""


def build_frame(rows: Any, names: Sequence[str]) -> "pd.DataFrame":
    """Return rows as a DataFrame with the columns of these names, in this order.

    Columns of a DataFrame, a mapping of columns or a list of mappings (one per row) are matched by
    name and may be more; those of an array, a tensor or nested lists are matched by position.
    """
    import pandas as pd

    if isinstance(rows, str | PurePath | pd.Series):
        raise InputError(
            f"rows must be a table of {len(names)} columns; got {type(rows).__name__}. Read a file "
            "with pandas.read_csv, or run brainnet predict RUN --input FILE; take a table of one "
            "row from a DataFrame: frame.iloc[[0]]."
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
        rows = rows.set_axis([str(name) for name in rows.columns], axis=1)
        chosen = match_columns(list(rows.columns), names)
        rows = rows if list(rows.columns) == chosen else rows[chosen]
        return rows.set_axis(list(names), axis=1)
    if rows.ndim != 2 or rows.shape[1] != len(names):
        hint = " Put a single row into a list: [row]." if rows.shape == (len(names),) else ""
        raise InputError(
            f"rows must have shape (rows, {len(names)}), the columns of the training data; got "
            f"{rows.shape}.{hint}"
        )
    return pd.DataFrame(rows, columns=list(names))


def match_columns(
    columns: Sequence[str], names: Sequence[str], keep: Sequence[str] = ()
) -> list[str]:
    """Return which column of new rows is which column of the training data.

    Columns are matched by name; by position if the rows or the training data have no names.
    Columns in `keep` that the training data lack are ignored.
    """
    known = [name for name in columns if name not in set(keep) - set(names)]
    counts = Counter(known)
    missing = [name for name in names if name not in counts]
    if not missing:
        repeated = [name for name in names if counts[name] > 1]
        if repeated:
            raise InputError(
                f"the rows have several columns called {repeated[0]!r}. Rename the others."
            )
        return list(names)
    # Files without a header have numbers as names; arrays get the names input_0, input_1, ...
    are_unnamed = list(columns) == [str(position) for position in range(len(columns))]
    is_unnamed_run = list(names) == [f"input_{position}" for position in range(len(names))]
    if len(known) == len(names) and (are_unnamed or is_unnamed_run):
        return known
    hint = did_you_mean(missing[0], [name for name in known if name not in names])
    raise InputError(
        f"the rows lack the column{'s' * (len(missing) > 1)} {join_names(missing, _MAX_SHOWN)} "
        f"of the training data; they have {join_names(known, _MAX_SHOWN) or 'none'}.{hint} Columns "
        f"are matched by name, in any order; without names, give these {len(names)} in this order."
    )


def encode_rows(
    rows: Any, encoder: InputEncoder, *, unknown: UnknownCategories = "ignore"
) -> Tensor:
    """Return raw rows, as for `build_frame` or `ImageEncoder.apply`, as inputs before scaling."""
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
    row, position = (int(indices[0]) for indices in np.nonzero(missing))
    names = [column.name for column in encoder.columns for _ in column.inputs]
    raise InputError(
        f"column {names[position]!r} is empty in row {format_row_number(index, row)}, and "
        f"{int(missing.any(axis=1).sum()):,} of {len(inputs):,} rows have empty cells. Fill them "
        "or leave the rows out; a network trained with data.missing=impute fills in the mean."
    )


def count_unknown_categories(encoder: TableEncoder, inputs: Tensor) -> Counter[str]:
    """Return the number of rows, by column, with a category not seen in training."""
    counts: Counter[str] = Counter()
    start = 0
    for column in encoder.columns:
        stop = start + len(column.inputs)
        if column.kind == "category":
            # One-hot inputs are zeros for an unknown category, and so is its code.
            counts[column.name] = int((inputs[:, start:stop] == 0).all(dim=1).sum())
        start = stop
    return counts


def warn_unknown_categories(counts: Counter[str]) -> None:
    """Report columns that contain categories not seen in training, with numbers of rows."""
    for name, rows in counts.items():
        if rows:
            report_warning(
                f"column {name!r}: {format_count(rows, 'row')} with categories not seen in "
                'training, encoded as "unknown" (--unknown error, in Python unknown="error", '
                "rejects them)."
            )


def choose_table_batch_rows(columns: int) -> int:
    """Return how many rows of a table to predict at once.

    It depends on the number of columns only, and so do the last bits of the predictions.
    """
    fitting = max(1, 2**22 // columns)
    return min(8 * BATCH_ROWS, fitting - fitting % BATCH_ROWS or fitting)


def read_table_batches(
    encoder: TableEncoder, file: TableFile, *, keep: Sequence[str] = ()
) -> Iterator[PredictionBatch]:
    """Yield the rows of a file under the names of the training data, and `keep` as written."""
    needed = match_columns(file.columns, encoder.raw_names, keep)
    file = file.with_separators(encoder.decimal, encoder.thousands)
    decimal = encoder.decimal if file.csv is None else file.csv.decimal
    pairs = zip(needed, encoder.raw_names, strict=True)
    texts = [name for name, raw_name in pairs if raw_name in encoder.text_names]
    size = choose_table_batch_rows(len(needed))
    for frame in file.chunks(size, text=[*texts, *keep], only=[*needed, *keep]):
        rows = frame[needed].set_axis(list(encoder.raw_names), axis=1)
        for column in encoder.columns:
            # The encoder expects the decimal separator of the training file in texts.
            if column.kind == "number" and not is_typed(rows[column.name]):
                rows[column.name] = column.encode(rows[column.name], decimal=decimal)[0]
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
    """Read one row of a file, counted from 0, as a DataFrame; with `targets` if it has them."""
    file = open_table(path, header=header, csv=csv)
    keep = [name for name in targets if name in file.columns]
    batches = read_table_batches(encoder, file, keep=keep)
    (kept, rows), position = _find_row(batches, number, f"{path} has rows")
    return rows.iloc[[position]].assign(**{name: kept[name][[position]] for name in keep})


def _find_row(
    batches: Iterator[PredictionBatch], number: int, what: str
) -> tuple[PredictionBatch, int]:
    """Return the batch that contains a row, and the position of the row in it."""
    start = 0
    for kept, rows in batches:
        if 0 <= number - start < len(rows):
            return (kept, rows), number - start
        start += len(rows)
    raise InputError(f"{what} 0 to {start - 1:,}; got {number}. They are counted from 0.")


def as_single_row(row: Any) -> Any:
    """Return a row given as plain values as a table of one row; tables are returned as they are."""
    if getattr(row, "ndim", None) == 1:  # a row of a DataFrame, an array or a tensor
        return row.to_frame().T if hasattr(row, "to_frame") else [row]
    is_flat = isinstance(row, list | tuple) and row and np.ndim(row[0]) == 0
    if not is_flat or isinstance(row[0], Mapping):
        return row
    has_texts = any(isinstance(cell, str) for cell in row)
    return [np.array(row, dtype=object)] if has_texts else [row]  # object keeps numbers numbers


def read_image_batches(
    encoder: ImageEncoder, source: Path, *, skip: bool = False
) -> Iterator[PredictionBatch]:
    """Yield images as rows of inputs, with the names of their files if each has its own.

    `source` is a folder with images, also in subfolders; one image; an IDX file; or an array in an
    .npy or .npz file. With `skip`, broken files are left out with a warning.
    """
    if source.is_dir():
        return _read_image_files(encoder, _list_files(source), source, skip=skip)
    if _contains_several(source):
        return _read_image_array(encoder, source)
    return _read_image_files(encoder, [source], source.parent, skip=skip)


def _contains_several(source: Path) -> bool:
    return source.is_dir() or is_idx(source) or source.suffix.lower() in (".npy", ".npz")


def read_image(
    encoder: ImageEncoder, source: Path, number: int | None
) -> tuple[Bytes, Path, int | None]:
    """Read one of the images of `read_image_batches`, as a row of inputs (1, inputs).

    Returns it with the file that contains it, and its number there if that contains several.
    """
    if number is None and _contains_several(source):
        raise InputError(f"{source} contains several images. Choose one with --row N, from 0.")
    what = f"{source} has images"
    if source.is_dir():
        files = _list_files(source)
        _, position = _find_row(iter([({}, files)]), number or 0, what)
        # Only this one is decoded.
        ((_, row),) = _read_image_files(encoder, [files[position]], source, skip=False)
        return row, files[position], None
    (_, rows), position = _find_row(read_image_batches(encoder, source), number or 0, what)
    return rows[position : position + 1], source, number if _contains_several(source) else None


def _list_files(folder: Path) -> list[Path]:
    files = list_image_files(folder)
    if not files:
        raise InputError(f"{folder} contains no files. Name a folder of images, or an image.")
    return files


def _read_image_files(
    encoder: ImageEncoder, files: list[Path], folder: Path, *, skip: bool
) -> Iterator[PredictionBatch]:
    for start in range(0, len(files), _FILES_AT_ONCE):
        part = files[start : start + _FILES_AT_ONCE]
        rows, broken = encoder.read_files(part)
        if broken:
            shown = join_names([f"{part[index]} ({reason})" for index, reason in broken.items()], 3)
            if not skip:
                raise InputError(
                    f"cannot read {shown}. Replace or remove it; brainnet predict skips it with "
                    "--broken skip."
                )
            report_warning(f"skipped {shown}.")
            whole = [index for index in range(len(part)) if index not in broken]
            part, rows = [part[index] for index in whole], rows[whole]
        if part:
            names = [file.relative_to(folder).as_posix() for file in part]
            yield {_FILE_COLUMN: np.array(names, dtype=object)}, rows


def _read_image_array(encoder: ImageEncoder, path: Path) -> Iterator[PredictionBatch]:
    arrays = read_idx(path) if is_idx(path) else load_arrays(path)
    if isinstance(arrays, dict):
        name = choose_image_array(list(arrays))
        if name is None:
            raise InputError(
                f"{path} contains {join_names(list(arrays))}, and none of them is known as images. "
                "Name the array images: numpy.savez(path, images=...)."
            )
        arrays = arrays[name]
    if not len(arrays):
        raise InputError(f"{path} contains no images.")
    size = choose_batch_rows(arrays[0].size)
    for start in range(0, len(arrays), size):
        yield {}, encoder.apply(arrays[start : start + size])
