"""Predict: rows in, predictions out, batch by batch."""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import numpy as np

from brainnet.data.preprocessing import TableEncoder, UnknownCategories
from brainnet.data.table_files import TableFile, read_ahead
from brainnet.data.validation import check_columns_exist, parse_names
from brainnet.errors import InputError, did_you_mean
from brainnet.inference.inputs import (
    PredictionBatch,
    count_unknown_categories,
    encode_rows,
    match_columns,
)
from brainnet.inference.trained_model import (
    TrainedModel,
    count_missing_predictions,
    warn_missing_predictions,
)
from brainnet.learning.predictions import PREDICTION_COLUMN, PROBABILITY_PREFIX, compute_outputs

PredictionFormat = Literal["csv", "jsonl", "parquet"]
_FORMATS: tuple[PredictionFormat, ...] = get_args(PredictionFormat)

_SUFFIXES: dict[str, PredictionFormat] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}

# Decimals of probabilities in text; Parquet keeps all digits.
_DECIMALS = 6


def infer_format(path: Path | None, name: str | None) -> PredictionFormat:
    """Return the format with this name, or else the format of the file name, or else CSV.

    Raises:
        InputError: there is no such format, or the file name has an unknown suffix.

    Example:
        >>> infer_format(Path("predictions.parquet"), None)
        'parquet'
    """
    for known in _FORMATS:
        if name == known:
            return known
    if name is not None:
        hint = did_you_mean(name, _FORMATS)
        raise InputError(f"--to must be one of {', '.join(_FORMATS)}; got {name}.{hint}")
    if path is None:
        return "csv"
    if path.suffix.lower() not in _SUFFIXES:
        raise InputError(
            f"the output file must end in {', '.join(_SUFFIXES)}; got {path}. Rename it, or choose "
            "the format: --to csv."
        )
    return _SUFFIXES[path.suffix.lower()]


class PredictionWriter:
    """Writes batches of predictions as CSV, JSON lines or Parquet; all have the same columns.

    Args:
        file: to write to; it stays open.
        format: of the predictions.
    """

    def __init__(self, file: BinaryIO, format: PredictionFormat) -> None:
        self._file = file
        self._format = format
        self._parquet: Any = None
        self._has_header = False

    def write(self, columns: Mapping[str, Any]) -> None:
        """Write one batch, given as arrays (rows,) by column name."""
        if self._format == "parquet":
            self._write_parquet(columns)
            return
        columns = {name: _round_probabilities(name, cells) for name, cells in columns.items()}
        if self._format == "csv":
            self._write_csv(columns)
        else:
            self._write_json(columns)

    def close(self) -> None:
        """Write what the format requires at the end of the file."""
        if self._parquet is not None:
            self._parquet.close()

    def _write_csv(self, columns: Mapping[str, Any]) -> None:
        import pyarrow as pa
        from pyarrow import compute
        from pyarrow.csv import WriteOptions, write_csv

        table = pa.table({name: _to_arrow(cells, is_text=True) for name, cells in columns.items()})
        if not self._has_header:
            header = StringIO()
            csv.writer(header, lineterminator="\n").writerow(columns)
            self._file.write(header.getvalue().encode())
            self._has_header = True
        # By default pyarrow puts all text in quotes, whether or not it needs them.
        is_special = any(
            compute.any(compute.match_substring_regex(column, '[",\r\n]')).as_py()
            for column in table.columns
            if pa.types.is_string(column.type)
        )
        style = "needed" if is_special else "none"
        write_csv(table, self._file, WriteOptions(include_header=False, quoting_style=style))

    def _write_json(self, columns: Mapping[str, Any]) -> None:
        import pandas as pd

        # Through text: a float32 such as 0.1 would be written as 0.100000001490116.
        floats = {n: c for n, c in columns.items() if getattr(c, "dtype", None) == np.float32}
        exact = {name: cells.astype(str).astype(np.float64) for name, cells in floats.items()}
        frame = pd.DataFrame({**columns, **exact})
        lines = frame.to_json(
            orient="records", lines=True, double_precision=15, force_ascii=False, date_format="iso"
        )
        self._file.write(lines.encode())

    def _write_parquet(self, columns: Mapping[str, Any]) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        table = pa.table({name: _to_arrow(cells) for name, cells in columns.items()})
        if self._parquet is None:
            self._parquet = parquet.ParquetWriter(self._file, table.schema)
        self._parquet.write_table(table.cast(self._parquet.schema))


def _round_probabilities(name: str, cells: Any) -> Any:
    if not name.startswith(PROBABILITY_PREFIX):
        return cells
    # In float64, where the rounded value has no further digits.
    return np.round(np.asarray(cells, np.float64), _DECIMALS)


def _to_arrow(cells: Any, *, is_text: bool = False) -> Any:
    """Convert a column to a pyarrow array; missing values (NaN, None, NaT) become null."""
    import pandas as pd
    import pyarrow as pa

    try:
        array = pa.array(cells, from_pandas=True)
    # Values of several types, such as numbers and text.
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        array = pa.array([None if pd.isna(cell) else str(cell) for cell in cells])
    if is_text and pa.types.is_temporal(array.type):
        # pandas writes dates without a time of day if there is none.
        array = pa.array(pd.Series(cells).astype(str).where(~pd.isna(pd.Series(cells)), None))
    # A column that is empty so far may contain text in the next batch.
    return array.cast(pa.string()) if array.null_count == len(array) else array


def predict_batches(
    trained: TrainedModel,
    batches: Iterator[PredictionBatch],
    *,
    unknown: UnknownCategories = "ignore",
    unknown_counts: Counter[str] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the predictions of batches of rows, in order; the next batch is read meanwhile.

    Args:
        trained: the model.
        batches: columns to put before the predictions, and raw rows.
        unknown: what to do with categories not seen in training: "ignore" or "error".
        unknown_counts: receives the number of rows with such a category, by column.

    Yields:
        Arrays (rows,) by column name.

    Raises:
        InputError: a row cannot be read.
    """
    missing = total = 0
    for kept, rows in read_ahead(batches):
        inputs = encode_rows(rows, trained.encoder, unknown=unknown)
        if unknown_counts is not None and isinstance(trained.encoder, TableEncoder):
            unknown_counts.update(count_unknown_categories(trained.encoder, inputs))
        outputs = compute_outputs(trained.network, trained.scaling.apply(inputs))
        total += len(outputs)
        missing += count_missing_predictions(outputs)
        yield kept | trained.decode_outputs(outputs)
    warn_missing_predictions(missing, total)


def write_predictions(batches: Iterator[dict[str, Any]], writer: PredictionWriter) -> Iterator[int]:
    """Write predictions while the next batch is computed; yield the number of rows so far.

    Raises:
        InputError: there are no rows.
    """
    rows = 0
    try:
        with ThreadPoolExecutor(1, "prediction-writer") as executor:
            pending = executor.submit(lambda: None)
            for columns in batches:
                # Wait for the previous batch, so that at most two are in memory.
                pending.result()
                pending = executor.submit(writer.write, columns)
                rows += len(next(iter(columns.values())))
                yield rows
            pending.result()
        if not rows:
            raise InputError("the input contains no rows.")
    finally:
        writer.close()


def check_kept_columns(keep: Sequence[str], columns: Sequence[str]) -> None:
    """Raise an InputError unless these columns can be written before the predictions."""
    check_columns_exist(keep, columns, where="--keep: ")
    for name in keep:
        if name == PREDICTION_COLUMN or name.startswith(
            (f"{PREDICTION_COLUMN} ", PROBABILITY_PREFIX)
        ):
            raise InputError(f"--keep: {name!r} is the name of a predicted column. Rename yours.")
    if len(set(keep)) < len(keep):
        raise InputError(f"--keep names a column twice: {', '.join(keep)}.")


def find_unused_columns(
    trained: TrainedModel, encoder: TableEncoder, file: TableFile, keep: Sequence[str]
) -> list[str]:
    """Return the columns of a file that the training data did not have.

    Raises:
        InputError: a column is missing.
    """
    data = trained.config.get("data") or {}
    known = {*match_columns(file, encoder.raw_names, keep), *keep}
    known |= {name for key in ("target", "drop") for name in parse_names(data.get(key))}
    return [name for name in file.columns if name not in known]
