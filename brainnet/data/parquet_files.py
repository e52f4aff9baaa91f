"""Parquet files: tables that say themselves what their columns are."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainnet.data.row_file import Frame, check_unique, chosen_of, rows_at_once
from brainnet.errors import InputError


@dataclass(frozen=True, slots=True)
class ParquetFile:
    """A table in Apache's columnar format, read by pyarrow."""

    path: Path
    columns: tuple[str, ...]

    def chunks(
        self,
        rows: int | None = None,
        *,
        text: Collection[str] = (),
        only: Collection[str] | None = None,
    ) -> Iterator[Frame]:
        """Yield the rows; the file says itself which columns are texts."""
        import pandas
        import pyarrow
        import pyarrow.parquet

        chosen = chosen_of(self.columns, only)
        start = 0
        try:
            with pyarrow.parquet.ParquetFile(self.path) as file:
                for batch in file.iter_batches(
                    batch_size=rows_at_once(rows, len(chosen)), columns=chosen
                ):
                    # The schema's notes for pandas would make a column its index.
                    part = batch.replace_schema_metadata(None).to_pandas()
                    for name, column in zip(batch.schema.names, batch.columns, strict=True):
                        # As floats, which pandas takes for gaps, long numbers would lose digits.
                        if column.null_count and pyarrow.types.is_integer(column.type):
                            part[name] = _with_gaps(column)
                    part.index = pandas.RangeIndex(start, start + len(part))
                    start += len(part)
                    yield part
        except (pyarrow.ArrowException, OSError) as error:
            raise InputError(f"{self.path} cannot be read as Parquet: {error}") from error


def _with_gaps(column: Any) -> Any:  # noqa: ANN401 - a pyarrow Array, a pandas IntegerArray
    """Whole numbers of which some are missing, to their last digit."""
    import pandas

    values = column.fill_null(0).to_numpy(zero_copy_only=False).copy()
    return pandas.arrays.IntegerArray(values, column.is_null().to_numpy(zero_copy_only=False))


def parquet_file(path: Path) -> ParquetFile:
    """A Parquet file by its columns.

    Raises:
        InputError: pyarrow is not installed, or the file is broken.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            f'reading {path} needs pyarrow: pip install "brainnet[parquet]"'
        ) from error
    try:
        schema = pyarrow.parquet.read_schema(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(
            f"{path} cannot be read as Parquet: {error}. Is it whole? Write it again."
        ) from error
    nested = [field.name for field in schema if pyarrow.types.is_nested(field.type)]
    if nested:
        raise InputError(
            f"{path}: column {nested[0]!r} holds lists or records in its cells, and a table has "
            "one number or word in each. Spread it over columns of their own, or leave it out."
        )
    # What pandas counted the rows by is no column of theirs.
    names = [name for name in schema.names if not name.startswith("__index_level_")]
    check_unique(path, names)
    return ParquetFile(path, tuple(names))
