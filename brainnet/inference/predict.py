"""Predict: rows in, predictions out, batch by batch."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from brainnet.data.preprocessing import TableEncoder, UnknownCategories
from brainnet.data.table_files import TableFile, read_ahead
from brainnet.data.validation import join_names, parse_names
from brainnet.errors import InputError, did_you_mean
from brainnet.inference.inputs import (
    PredictionBatch,
    count_unknown_categories,
    match_columns,
)
from brainnet.inference.trained_model import TrainedModel, find_dropped_rows, warn_dropped_rows
from brainnet.learning.predictions import PREDICTION_COLUMN, PROBABILITY_PREFIX, compute_outputs

PredictionFormat = Literal["csv", "jsonl", "parquet"]

FORMS: tuple[PredictionFormat, ...] = get_args(PredictionFormat)

ENDINGS: dict[str, PredictionFormat] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}

DECIMALS = 6

"""Of a probability in a text; Parquet keeps every digit."""

_ROWS_AT_ONCE = 8192
# Cells lie beside each other at the width of the widest: beside a long text there are fewer.
_BYTES_AT_ONCE = 2**26

Columns = Mapping[str, Any]

Cells = NDArray[np.bytes_]


class PredictionWriter(Protocol):
    """Takes predictions part by part; all parts have the same columns."""

    def write(self, columns: Columns) -> None:
        """Write some rows, given as arrays (rows,) by the name of the column."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


def infer_format(path: Path | None, chosen: str | None) -> PredictionFormat:
    """Return how to write predictions: as chosen, or as the ending of the file says; else as CSV.

    Raises:
        InputError: there is no such form, or the ending stands for none.

    Example:
        >>> form_of(Path("answers.parquet"), None)
        'parquet'
    """
    if chosen is not None:
        for form in FORMS:
            if form == chosen:
                return form
        raise InputError(
            f"--to takes {', '.join(FORMS)}; got {chosen}.{did_you_mean(chosen, FORMS)}"
        )
    if path is None:
        return "csv"
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise InputError(
            f"predictions are written to files that end in {', '.join(ENDINGS)}; got {path}. "
            "Name it so, or say which it is: --to csv."
        )
    return ENDINGS[ending]


def open_writer(file: BinaryIO, form: PredictionFormat) -> PredictionWriter:
    """Return what writes predictions in this form.

    Raises:
        InputError: it takes a package that is not installed.
    """
    return ParquetAnswers(file) if form == "parquet" else TextAnswers(file, form)


class TextAnswers:
    """Writes CSV with a line of names, or JSON lines: one object for each row.

    Args:
        file: to write to.
        form: which of the two.
    """

    def __init__(self, file: BinaryIO, form: PredictionFormat) -> None:
        self.file = file
        self.form = form
        self._named = form == "jsonl"

    def write(self, columns: Columns) -> None:
        """Write some rows."""
        if not self._named:
            self.file.write(b",".join(_quoted(name) for name in columns) + b"\n")
            self._named = True
        between = _between(list(columns), self.form)
        rows = len(next(iter(columns.values())))
        for start in range(0, rows, _ROWS_AT_ONCE):
            self._write(columns, between, start, min(start + _ROWS_AT_ONCE, rows))

    def _write(self, columns: Columns, between: Sequence[bytes], start: int, stop: int) -> None:
        """Write the rows from start to stop, by halves where their cells are too wide for all."""
        cells: list[Cells] = []
        for name, column in columns.items():
            found = _cells(name, column[start:stop], self.form)
            if found is None:
                middle = (start + stop) // 2
                self._write(columns, between, start, middle)
                self._write(columns, between, middle, stop)
                return
            cells.append(found)
        self.file.write(_lines(cells, between))

    def close(self) -> None:
        """Nothing is left: the file is its owner's to close."""


class ParquetAnswers:
    """Writes Parquet, one row group for each part.

    Args:
        file: to write to.

    Raises:
        InputError: pyarrow is not installed.
    """

    def __init__(self, file: BinaryIO) -> None:
        try:
            import pyarrow  # here, not above: an extra
            import pyarrow.parquet
        except ImportError as error:
            raise InputError(
                "Parquet needs pyarrow, which is not installed: pip install 'brainnet[parquet]'. "
                "Or write CSV: --to csv."
            ) from error
        self._arrow = pyarrow
        self._file = file
        self._writer: Any = None

    def write(self, columns: Columns) -> None:
        """Write some rows."""
        table = self._arrow.table({name: self._array(cells) for name, cells in columns.items()})
        if self._writer is None:
            self._writer = self._arrow.parquet.ParquetWriter(self._file, table.schema)
        self._writer.write_table(table.cast(self._writer.schema))

    def _array(self, cells: Any) -> Any:
        if cells.dtype != object:
            return cells
        # Beside texts pandas writes NaN where nothing stands; of nothing at all, texts may follow.
        found = self._arrow.array(cells, from_pandas=True)
        return found.cast(self._arrow.string()) if found.null_count == len(found) else found

    def close(self) -> None:
        """Write the table of contents at the end of the file."""
        if self._writer is not None:
            self._writer.close()


def _between(names: Sequence[str], form: PredictionFormat) -> list[bytes]:
    """Return what stands before each cell of a line, and at its end."""
    if form == "csv":
        return [b"", *[b","] * (len(names) - 1), b"\n"]
    keys = [f"{json.dumps(name, ensure_ascii=False)}: ".encode() for name in names]
    return [b"{" + keys[0], *(b", " + key for key in keys[1:]), b"}\n"]


def _lines(cells: Sequence[Cells], between: Sequence[bytes]) -> bytes:
    """Join cells to lines: all at once, side by side, the empty places then left out."""
    rows = len(cells[0])
    width = sum(len(part) for part in between) + sum(part.itemsize for part in cells)
    matrix = np.empty((rows, width), np.uint8)
    place = 0
    for index, constant in enumerate(between):
        matrix[:, place : place + len(constant)] = np.frombuffer(constant, np.uint8)
        place += len(constant)
        if index < len(cells):
            wide = cells[index].itemsize
            matrix[:, place : place + wide] = cells[index].view(np.uint8).reshape(rows, wide)
            place += wide
    flat = matrix.ravel()
    lines: bytes = flat[flat != 0].tobytes()
    return lines


def _cells(name: str, column: Any, form: PredictionFormat) -> Cells | None:
    """Return the cells of a column as bytes (rows,), filled up with zeros to the widest.

    None where that takes too much memory, and fewer rows would take less.
    """
    values = np.asarray(column)
    if values.dtype.kind == "f":
        missing = b"null" if form == "jsonl" else b""
        if name.startswith(PROBABILITY_PREFIX):
            return _shares(values, missing)
        told = values.astype("S")
        return np.where(np.isfinite(values), told, missing) if form == "jsonl" else _blank(told)
    if values.dtype.kind in "iu":
        return values.astype("S")
    return _texts(values, form)


def _blank(told: Cells) -> Cells:
    return np.where(told == b"nan", b"", told)


def _shares(values: NDArray[np.floating[Any]], missing: bytes) -> Cells:
    """Return probabilities with six decimals, looked up: there are but a million and one."""
    there = np.isfinite(values)
    # In float64, where a product with a million is not rounded to another one.
    places = np.rint(np.where(there, values, 0.0).astype(np.float64) * 10**DECIMALS)
    told: Cells = _all_shares()[np.clip(places, 0, 10**DECIMALS).astype(np.int64)]
    return told if there.all() else np.where(there, told, missing)


@cache
def _all_shares() -> Cells:
    """Return every number from 0 to 1 with six decimals."""
    rest = np.arange(10**DECIMALS + 1)
    digits = np.empty((len(rest), DECIMALS + 2), np.uint8)
    digits[:, 0] = rest // 10**DECIMALS + ord("0")
    digits[:, 1] = ord(".")
    for place in range(DECIMALS + 1, 1, -1):
        digits[:, place] = rest % 10 + ord("0")
        rest = rest // 10
    found: Cells = digits.view(f"S{DECIMALS + 2}")[:, 0]
    return found


def _texts(values: NDArray[Any], form: PredictionFormat) -> Cells | None:
    """Return texts as a line holds them; each different one is put in quotes but once."""
    import pandas  # here, not above: half a second, and `train` needs none of it

    if values.dtype.kind in "mM":  # as objects these would be numbers
        values = pandas.Series(values).astype(str).where(~pandas.isna(values)).to_numpy()
    codes, texts = pandas.factorize(values.astype(object))
    told = [_quoted(text) if form == "csv" else _json(text) for text in texts]
    if len(codes) > 1 and len(codes) * max(map(len, told), default=0) > _BYTES_AT_ONCE:
        return None
    table = np.array([*told, b"" if form == "csv" else b"null"])
    found: Cells = table[codes]  # -1, which stands for nothing, is the last
    return found


def _quoted(text: object) -> bytes:
    """Return a cell of a CSV file.

    Example:
        >>> print(_quoted('12" wide').decode())
        "12"" wide"
    """
    told = str(text)
    if any(sign in told for sign in ',"\r\n') or told.strip() != told:
        told = '"' + told.replace('"', '""') + '"'
    return told.encode()


def _json(value: object) -> bytes:
    if isinstance(value, bool | int | float):
        return json.dumps(value).encode()
    return json.dumps(str(value), ensure_ascii=False).encode()


def predict_batches(
    trained: TrainedModel,
    parts: Iterator[PredictionBatch],
    *,
    unknown: UnknownCategories = "ignore",
    strange: Counter[str] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the answers to rows, part by part, in their order; the next part is read meanwhile.

    What is in memory does not grow with the number of rows.

    Args:
        trained: what answers.
        parts: raw rows, each part with the columns to put before its answers.
        unknown: what to do with categories not seen in training: "ignore" or "error".
        strange: counts, by column, the rows that hold such a category.

    Yields:
        Arrays (rows,) by the name of the column.

    Raises:
        InputError: a row cannot be read or answered.
    """
    lost = rows_so_far = 0
    for kept, rows in read_ahead(parts):
        measured = trained.measured(rows, unknown=unknown)
        if strange is not None and isinstance(trained.encoder, TableEncoder):
            strange.update(count_unknown_categories(trained.encoder, measured))
        outputs = compute_outputs(trained.network, trained.scaling.apply(measured))
        rows_so_far += len(outputs)
        lost += find_dropped_rows(outputs)
        yield kept | trained.told(outputs)
    warn_dropped_rows(lost, rows_so_far)


def write_predictions(parts: Iterator[dict[str, Any]], writer: PredictionWriter) -> Iterator[int]:
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
                f"The columns are {join_names(there)}."
            )
        if name == PREDICTION_COLUMN or name.startswith(
            (f"{PREDICTION_COLUMN} ", PROBABILITY_PREFIX)
        ):
            raise InputError(
                f"--keep: an answer has a column of its own that is called {name!r}. Rename yours."
            )
    if len(set(keep)) < len(keep):
        raise InputError(f"--keep names a column twice: {', '.join(keep)}.")


def find_unused_columns(
    trained: TrainedModel, columns: TableEncoder, file: TableFile, keep: Sequence[str]
) -> list[str]:
    """Return the columns of a file that training knew nothing of, if only to leave them out.

    Raises:
        InputError: a column is missing.
    """
    data = trained.config.get("data") or {}
    known = {*match_columns(file, columns.raw_names, keep), *keep}
    known |= {name for key in ("target", "drop") for name in parse_names(data.get(key))}
    return [name for name in file.columns if name not in known]
