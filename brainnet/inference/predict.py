"""Predict: rows in, predictions out, batch by batch."""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from brainnet.data.preprocessing import TableEncoder, UnknownCategories
from brainnet.data.table_files import TableFile, read_ahead
from brainnet.data.validation import check_columns_exist, parse_names
from brainnet.errors import InputError
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

_SUFFIXES: dict[str, PredictionFormat] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}

# Decimals of probabilities in text; Parquet keeps all digits.
_DECIMALS = 6


def infer_format(path: Path | None) -> PredictionFormat:
    """Return the format of a file name; CSV for the standard output."""
    if path is None:
        return "csv"
    if path.suffix.lower() not in _SUFFIXES:
        raise InputError(
            f"the output file must end in {', '.join(_SUFFIXES)}; got {path}. Rename it, or choose "
            "the format: --to csv."
        )
    return _SUFFIXES[path.suffix.lower()]


class PredictionWriter:
    """Writes batches of predictions, all with the same columns; the file stays open."""

    def __init__(self, file: BinaryIO, format: PredictionFormat) -> None:
        self._file = file
        self._format = format
        self._parquet: Any = None
        self._has_header = False

    def write(self, columns: Mapping[str, Any]) -> None:
        """Write one batch, given as arrays (rows,) by column name."""
        is_text = self._format != "parquet"
        arrays = {name: _to_arrow(name, cells, is_text=is_text) for name, cells in columns.items()}
        if self._format == "csv":
            self._write_csv(arrays)
        elif self._format == "jsonl":
            self._write_json(arrays)
        else:
            self._write_parquet(arrays)

    def close(self) -> None:
        """Write what the format requires at the end of the file."""
        if self._parquet is not None:
            self._parquet.close()

    def _write_csv(self, arrays: Mapping[str, Any]) -> None:
        import pyarrow as pa
        from pyarrow import compute
        from pyarrow.csv import WriteOptions, write_csv

        if not self._has_header:
            header = StringIO()
            csv.writer(header, lineterminator="\n").writerow(arrays)
            self._file.write(header.getvalue().encode())
            self._has_header = True
        # By default pyarrow puts all text in quotes, whether or not it needs them.
        is_special = any(
            compute.any(compute.match_substring_regex(array, '[",\r\n]')).as_py()
            for array in arrays.values()
            if pa.types.is_string(array.type)
        )
        style = "needed" if is_special else "none"
        options = WriteOptions(include_header=False, quoting_style=style)
        write_csv(pa.table(dict(arrays)), self._file, options)

    def _write_json(self, arrays: Mapping[str, Any]) -> None:
        import pyarrow as pa
        from pyarrow import compute

        parts: list[Any] = []
        for name, array in arrays.items():
            parts.append(f"{', ' if parts else '{'}{json.dumps(name, ensure_ascii=False)}: ")
            if pa.types.is_string(array.type):
                words = array.dictionary_encode()
                literals = [json.dumps(w, ensure_ascii=False) for w in words.dictionary.to_pylist()]
                array = pa.array(literals, pa.string()).take(words.indices)
            elif pa.types.is_floating(array.type):
                # JSON has no infinity.
                array = compute.if_else(compute.is_finite(array), array, None)
            # The text of a number has the digits that identify it.
            parts.append(array.cast(pa.string()).fill_null("null"))
        lines = compute.binary_join_element_wise(*parts, "}\n", "")
        self._file.write("".join(lines.to_pylist()).encode())

    def _write_parquet(self, arrays: Mapping[str, Any]) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        table = pa.table(dict(arrays))
        if self._parquet is None:
            self._parquet = parquet.ParquetWriter(self._file, table.schema)
        self._parquet.write_table(table.cast(self._parquet.schema))


def _to_arrow(name: str, cells: Any, *, is_text: bool) -> Any:
    """Convert a column to a pyarrow array; missing values (NaN, None, NaT) become null."""
    import pandas as pd
    import pyarrow as pa

    if is_text and name.startswith(PROBABILITY_PREFIX):
        # In float64, where the rounded value has no further digits.
        cells = np.round(np.asarray(cells, np.float64), _DECIMALS)
    try:
        array = pa.array(cells, from_pandas=True)
    # Values of several types, such as numbers and text.
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        array = pa.array([None if pd.isna(cell) else str(cell) for cell in cells])
    if is_text and pa.types.is_temporal(array.type):
        # pandas writes dates without a time of day if there is none.
        dates = pd.Series(cells)
        array = pa.array(dates.astype(str).where(~pd.isna(dates), None), pa.string())
    # A column that is empty so far may contain text in the next batch.
    return array.cast(pa.string()) if array.null_count == len(array) else array


def predict_batches(
    trained: TrainedModel,
    batches: Iterator[PredictionBatch],
    *,
    unknown: UnknownCategories,
    unknown_counts: Counter[str],
) -> Iterator[dict[str, Any]]:
    """Yield predictions, arrays (rows,) by column name; the next batch is read meanwhile.

    `unknown_counts` receives the number of rows with an unknown category, by column.
    """
    missing = total = 0
    for kept, rows in read_ahead(batches):
        inputs = encode_rows(rows, trained.encoder, unknown=unknown)
        if isinstance(trained.encoder, TableEncoder):
            unknown_counts.update(count_unknown_categories(trained.encoder, inputs))
        outputs = compute_outputs(trained.network, trained.scaling.apply(inputs))
        total += len(outputs)
        missing += count_missing_predictions(outputs)
        yield kept | trained.decode_outputs(outputs)
    warn_missing_predictions(missing, total)


def write_predictions(batches: Iterator[dict[str, Any]], writer: PredictionWriter) -> int:
    """Write predictions while the next batch is computed; return the number of rows."""
    rows = 0
    try:
        with ThreadPoolExecutor(1, "prediction-writer") as executor:
            pending = executor.submit(lambda: None)
            for columns in batches:
                # Wait for the previous batch, so that at most two are in memory.
                pending.result()
                pending = executor.submit(writer.write, columns)
                rows += len(next(iter(columns.values())))
            pending.result()
        if not rows:
            raise InputError("the input contains no rows.")
        return rows
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
    """Return the columns of a file that the training data did not have."""
    data = trained.config.get("data") or {}
    known = {*match_columns(file.columns, encoder.raw_names, keep), *keep}
    known |= {name for key in ("target", "drop") for name in parse_names(data.get(key))}
    return [name for name in file.columns if name not in known]
