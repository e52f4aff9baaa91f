"""Table files: CSV, Parquet and NumPy files, read in chunks of rows."""

import csv
import gzip
import io
import mmap
import re
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainnet.data.validation import check_one_of, join_names, parse_names
from brainnet.errors import InputError

Frame = Any  # a pandas DataFrame; pandas is imported inside functions, because it costs 0.2 s

MISSING_MARKERS = frozenset(
    {"", "-", "?", ".", "NA", "N/A", "n/a", "na", "#N/A", "#NA", "<NA>", "NaN", "nan", "-NaN"}
    | {"-nan", "NULL", "null", "None", "none", "#DIV/0!", "#VALUE!"}
)
"""Cells that stand for a missing number. In a column of categories only "" is missing."""

_FORMATS = "CSV, TSV, Parquet, .npy or .npz"
_READ_ERRORS = (OSError, EOFError, zlib.error)
_SAMPLE_BYTES = 1 << 20
_SAMPLE_ROWS = 1000
_CHUNK_ROWS = 65_536
_CHUNK_CELLS = 1 << 19
_MIN_CHUNK_ROWS = 256


@dataclass(frozen=True, slots=True)
class TableFile:
    """A file of rows with named columns, read in chunks; `csv` is None if the file stores types."""

    path: Path
    columns: tuple[str, ...]
    # Called with the file, the rows of a chunk, the text columns and the columns to read.
    reader: Callable[["TableFile", int, Collection[str], list[str]], Iterator[Frame]]
    csv: "CsvFormat | None" = None

    def chunks(
        self,
        rows: int | None = None,
        *,
        text: Collection[str] = (),
        only: Collection[str] | None = None,
    ) -> Iterator[Frame]:
        """Yield DataFrames of consecutive rows, indexed by row number from 0.

        The cells of `text` columns stay as written: "007" is not 7. By default, all columns are
        read, and the number of columns determines the number of rows per chunk.
        """
        wanted = set(self.columns if only is None else only)
        chosen = [name for name in self.columns if name in wanted]
        return self.reader(self, rows or choose_chunk_rows(len(self.columns)), text, chosen)

    def with_separators(self, decimal: str, thousands: str | None) -> "TableFile":
        """Return the file with these number separators, unless its own cells prove others."""
        if self.csv is None or self.csv.is_certain:
            return self
        return replace(self, csv=replace(self.csv, decimal=decimal, thousands=thousands))


def choose_chunk_rows(columns: int) -> int:
    """Return the number of rows to read at once from a table with this many columns."""
    return min(_CHUNK_ROWS, max(_MIN_CHUNK_ROWS, _CHUNK_CELLS // max(1, columns)))


def read_ahead(chunks: Iterable[Any]) -> Iterator[Any]:
    """Yield the chunks; a thread reads the next one while the caller works on the current one."""
    source, end = iter(chunks), object()
    with ThreadPoolExecutor(1) as reader:
        pending = reader.submit(next, source, end)
        while (chunk := pending.result()) is not end:
            pending = reader.submit(next, source, end)
            yield chunk


_DELIMITERS = ("\t", ";", "|", ",")  # the comma last: it is common inside cells
_BLANKS = r"\s+"
_BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
THOUSANDS = {".": ",", ",": "."}
"""The usual separator of thousands for each decimal separator."""

NUMBERS = {
    decimal: re.compile(
        rf"[-+]?((\d+|\d*\{decimal}\d+)([eE][-+]?\d+)?"
        rf"|[1-9]\d{{0,2}}(\{thousands}\d{{3}})+(\{decimal}\d+)?)"
    )
    for decimal, thousands in THOUSANDS.items()
}
"""The form of a number for each decimal separator."""


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """How a text file writes its table; the key `data.csv.<field>` sets a field."""

    sep: str = ","
    decimal: str = "."
    thousands: str | None = None
    encoding: str = "utf-8"
    na_values: tuple[str, ...] = ()
    has_header: bool = True
    # Whether cells prove the decimal separator, or the user set it.
    is_certain: bool = True

    def __str__(self) -> str:
        """Describe the format in the words of its keys."""
        thousands = f", thousands={self.thousands!r}" if self.thousands else ""
        return f"sep={self.sep!r}, decimal={self.decimal!r}{thousands}, encoding={self.encoding}"


def _detect_encoding(path: Path, sample: bytes) -> str:
    """Return the encoding of a text: by its byte order mark, else UTF-8 or Windows-1252."""
    for mark, name in _BYTE_ORDER_MARKS.items():
        if sample.startswith(mark):
            return name
    if b"\0" in sample:
        raise InputError(
            f"{path} is neither text nor a table file. It must be {_FORMATS}; UTF-16 text needs a "
            "byte order mark, or data.csv.encoding=utf-16-le."
        )
    try:
        # Without the last bytes, which may be a part of a character.
        sample[: sample.rfind(b"\n") + 1].decode()
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _split_rows(text: str, sep: str) -> list[list[str]]:
    """Return the cells of the first rows, without empty lines."""
    lines = io.StringIO(text, newline="")
    if sep == _BLANKS:
        rows: Iterable[list[str]] = (line.split() for line in lines)
    else:
        rows = csv.reader(lines, delimiter=sep)
    sample: list[list[str]] = []
    # An unclosed quote makes one enormous cell; pandas reports it.
    with suppress(csv.Error):
        sample.extend(islice((row for row in rows if "".join(row).strip()), _SAMPLE_ROWS))
    return [[cell.strip() for cell in row] for row in sample]


def _detect_delimiter(text: str) -> str:
    """Return the delimiter that gives most lines the same number of cells; a comma if none does."""
    best, best_share = ",", 0.0
    for sep in (*_DELIMITERS, _BLANKS):
        rows = _split_rows(text, sep)
        if not rows or len(rows[0]) < 2:
            continue
        share = sum(len(row) == len(rows[0]) for row in rows) / len(rows)
        # Texts contain blanks, so that only a perfect table is taken to be divided by them.
        if share > best_share and (sep != _BLANKS or share == 1):
            best, best_share = sep, share
    return best


def _detect_decimal(cells: Sequence[str], sep: str) -> tuple[str, bool]:
    """Return the decimal separator, and whether the cells prove it."""
    # A cell that is a number for one separator only is a proof: 1.5 is one; 1.234 may be 1234.
    readings = [[d for d, number in NUMBERS.items() if number.fullmatch(c)] for c in cells]
    points, commas = readings.count(["."]), readings.count([","])
    if points != commas:
        return ("." if points > commas else ","), True
    # Between semicolons 1,234 is a decimal comma: such files come from where commas are decimal.
    ambiguous = [cell for cell, reading in zip(cells, readings, strict=True) if len(reading) == 2]
    has_commas = 2 * sum("," in cell for cell in ambiguous) > len(ambiguous)
    return ("," if has_commas and sep != "," else "."), False


def _open_csv(
    path: Path, sample: bytes, header: bool | None, options: Mapping[str, Any]
) -> TableFile:
    given = {key: value for key, value in options.items() if value is not None}
    for key in given:
        check_one_of("data.csv", key, ("sep", "decimal", "thousands", "encoding", "na_values"))
    for key in given.keys() & {"sep", "thousands"}:
        if len(given[key]) != 1 and given[key] not in ("\\t", _BLANKS):
            raise InputError(f"data.csv.{key} must be one character; got {given[key]!r}.")
    encoding = given.get("encoding") or _detect_encoding(path, sample)
    try:
        text = sample.decode(encoding, errors="ignore").lstrip("\ufeff")
    except LookupError as error:
        raise InputError(f"data.csv.encoding={encoding} is not a known encoding.") from error
    if len(sample) >= _SAMPLE_BYTES:
        # The last line may be incomplete.
        text = text[: max(text.rfind("\n"), text.rfind("\r")) + 1] or text
    sep = given.get("sep", "").replace("\\t", "\t") or _detect_delimiter(text)
    rows = _split_rows(text, sep)
    if not rows:
        raise InputError(f"{path} is empty: it needs a line of names and a line for each row.")
    columns = _name_columns(path, rows, header)
    separators = _choose_separators(rows, sep, given)
    na_values = tuple(parse_names(given.get("na_values")))
    csv_format = CsvFormat(sep, *separators[:2], encoding, na_values, header is not False)
    return TableFile(path, columns, _read_csv, replace(csv_format, is_certain=separators[2]))


def _choose_separators(
    rows: list[list[str]], sep: str, given: Mapping[str, Any]
) -> tuple[str, str | None, bool]:
    """Return the decimal separator, the thousands separator, and whether they are certain."""
    cells = [cell for row in rows for cell in row if "." in cell or "," in cell]
    decimal, is_certain = _detect_decimal(cells, sep)
    decimal = given.get("decimal", decimal)
    if decimal not in THOUSANDS:
        raise InputError(f'data.csv.decimal must be "." or ","; got {decimal!r}.')
    usual = THOUSANDS[decimal]
    is_grouped = any(usual in cell and NUMBERS[decimal].fullmatch(cell) for cell in cells)
    thousands = given.get("thousands", usual if is_grouped else None)
    if thousands == decimal:
        raise InputError(
            f"data.csv.decimal and data.csv.thousands must differ; both are {decimal!r}."
        )
    return decimal, thousands, is_certain or thousands is not None or "decimal" in given


def _name_columns(path: Path, rows: list[list[str]], header: bool | None) -> tuple[str, ...]:
    """Return the names in the first line, or numbers from 0 without a header."""
    first, below = rows[0], rows[1:]
    if below and len(first) < len(below[0]):
        raise InputError(
            f"{path}: the first line has {len(first)} cells, but the next has {len(below[0])}. "
            "Remove lines above the table; data.csv.sep sets another delimiter."
        )
    if header is False:
        return tuple(map(str, range(len(first))))
    numbers = [cell for cell in first if any(n.fullmatch(cell) for n in NUMBERS.values())]
    if header is None and numbers:
        raise InputError(
            f"{path}: the first line ({join_names(first, 6)}) does not look like column names: "
            f"{numbers[0]} is a number. If it is a row, set data.header=false (brainnet predict: "
            "--no-header); the columns are then called 0, 1, 2, ... (data.target=0). If it "
            "contains names, set data.header=true."
        )
    names = tuple(name or f"Unnamed: {position}" for position, name in enumerate(first))
    _check_unique(path, names)
    if not below:
        raise InputError(f"{path} has a line of names ({join_names(names)}) and no rows below it.")
    return names


def _check_unique(path: Path, names: Sequence[str]) -> None:
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise InputError(f"{path} has {count} columns called {name!r}. Give each its own name.")


def _read_csv(
    file: TableFile, rows: int, text: Collection[str], chosen: list[str]
) -> Iterator[Frame]:
    import pandas

    assert file.csv is not None, "a text file has a format"
    texts = frozenset(text)
    missing = sorted(MISSING_MARKERS | {*file.csv.na_values})
    try:
        with pandas.read_csv(
            file.path,
            sep=file.csv.sep,
            decimal=file.csv.decimal,
            thousands=file.csv.thousands,
            encoding=file.csv.encoding,
            names=list(file.columns),
            header=0 if file.csv.has_header else None,
            # No `usecols`: with it, pandas accepts lines with too many cells.
            index_col=False,
            dtype={name: str for name in file.columns if name in texts},
            keep_default_na=False,
            # "None" may be a category; in a column of numbers it stands for a missing one.
            na_values={name: [""] if name in texts else missing for name in file.columns},
            low_memory=False,
            chunksize=rows,
        ) as parts:
            all_columns = len(chosen) == len(file.columns)
            yield from parts if all_columns else (part[chosen] for part in parts)
    except UnicodeError as error:
        raise InputError(
            f"{file.path} is not {file.csv.encoding} throughout ({error}). Save it as UTF-8, or "
            "set data.csv.encoding, for example to cp1252."
        ) from error
    except (*_READ_ERRORS, pandas.errors.ParserError) as error:
        reason = str(error).replace("Error tokenizing data. C error: ", "").strip()
        raise InputError(
            f"{file.path} cannot be read to its end: {reason}. Correct or remove that line; a cell "
            "that contains the delimiter needs quotes around it."
        ) from error


def _read_parquet(
    file: TableFile, rows: int, text: Collection[str], chosen: list[str]
) -> Iterator[Frame]:
    import pyarrow
    import pyarrow.parquet

    start = 0
    try:
        with pyarrow.parquet.ParquetFile(file.path) as opened:
            for batch in opened.iter_batches(batch_size=rows, columns=chosen):
                # Without the metadata for pandas, which would make a column the index.
                part = batch.replace_schema_metadata(None).to_pandas()
                for name in set(text) & set(chosen):
                    # As floats, which pandas uses for gaps, large numbers would lose digits.
                    if pyarrow.types.is_integer(batch.schema.field(name).type):
                        part[name] = batch.column(name).to_pandas(integer_object_nulls=True)
                part.index += start
                start += len(part)
                yield part
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{file.path} cannot be read as Parquet: {error}.") from error


def _open_parquet(path: Path) -> TableFile:
    import pyarrow
    import pyarrow.parquet

    try:
        schema = pyarrow.parquet.read_schema(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as Parquet: {error}. Write it again.") from error
    nested = [field.name for field in schema if pyarrow.types.is_nested(field.type)]
    if nested:
        raise InputError(
            f"{path}: the cells of column {nested[0]!r} are lists or records. Spread it over "
            "several columns, or leave it out."
        )
    names = tuple(name for name in schema.names if not name.startswith("__index_level_"))
    _check_unique(path, names)
    return TableFile(path, names, _read_parquet)


def load_arrays(path: Path) -> NDArray[Any] | dict[str, NDArray[Any]]:
    """Read a NumPy file: the array of an .npy file, or the arrays of an .npz file by name."""
    try:
        if path.suffix.lower() == ".npz":
            # Opened here, because np.load does not close a file that is not an archive.
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
                return {name: np.asarray(stored[name]) for name in stored.files}
        # Mapped, so that an .npy file larger than the memory can be read in chunks.
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return array
    except Exception as error:  # a damaged header, archive or stream raises one of many classes
        raise InputError(
            f"{path} cannot be read as a NumPy file: {error}. Save it again with numpy.save or "
            "numpy.savez."
        ) from error


def _open_arrays(path: Path) -> TableFile:
    loaded = load_arrays(path)
    arrays = {"": loaded} if isinstance(loaded, np.ndarray) else loaded
    columns: list[str] = []
    for name, array in arrays.items():
        if array.ndim not in (1, 2) or 0 in array.shape or array.dtype.kind in "cSV":
            raise InputError(
                f"{path}: {name or 'the array'} must be real numbers or texts of shape (rows,) or "
                f"(rows, columns); got {array.dtype} of shape {array.shape}. Images are read with "
                "data=images."
            )
        # In the byte order of this machine.
        array = array.astype(array.dtype.newbyteorder("="), copy=False).reshape(len(array), -1)
        arrays[name] = array
        numbers = [f"{name} {number}".strip() for number in range(array.shape[1])]
        columns += [name] if name and len(numbers) == 1 else numbers
    if len({len(array) for array in arrays.values()}) != 1:
        shown = join_names([f"{name} {len(array)}" for name, array in arrays.items()]) or "none"
        raise InputError(
            f"the arrays of {path} must have the same number of rows; their numbers are: {shown}."
        )

    def read_arrays(
        file: TableFile, rows: int, text: Collection[str], chosen: list[str]
    ) -> Iterator[Frame]:
        import pandas

        for start in range(0, len(next(iter(arrays.values()))), rows):
            parts = [pandas.DataFrame(array[start : start + rows]) for array in arrays.values()]
            part = pandas.concat(parts, axis=1).set_axis(columns, axis=1)
            part.index += start
            yield part[chosen]
            for array in arrays.values():
                mapped = getattr(array, "_mmap", None)
                # Without this, the pages that were read count as memory of the process.
                if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
                    mapped.madvise(mmap.MADV_DONTNEED)

    return TableFile(path, tuple(columns), read_arrays)


_OPENERS: dict[str, Callable[[Path], TableFile]] = {
    ".parquet": _open_parquet,
    ".pq": _open_parquet,
    ".npy": _open_arrays,
    ".npz": _open_arrays,
}
_OTHER_FORMATS = {
    b"{": "JSON",
    b"[": "JSON",
    b"<": "HTML or XML",
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\x1f\x8b": "compressed with gzip, but its name does not end in .csv.gz",
}


def open_table(
    path: Path | str, *, header: bool | None = None, csv: Mapping[str, Any] | None = None
) -> TableFile:
    """Open a table: CSV, TSV and similar (also .csv.gz), Parquet, .npy or .npz; see `Table`."""
    path = Path(path).expanduser()
    sample = _read_first_bytes(path)
    opener = _OPENERS.get(path.suffix.lower())
    if opener is not None:
        return opener(path)
    for mark, format in _OTHER_FORMATS.items():
        if sample.lstrip().startswith(mark):
            raise InputError(
                f"{path} is {format}. Save it as CSV; tables are read from {_FORMATS}."
            )
    return _open_csv(path, sample, header, csv or {})


def _read_first_bytes(path: Path) -> bytes:
    """Return the first bytes of a file, decompressed."""
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; a table is one file ({_FORMATS}).")
        if not path.is_file():
            raise InputError(f"there is no file {path.absolute()}.")
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            sample: bytes = file.read(_SAMPLE_BYTES)
    except _READ_ERRORS as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    if not sample:
        raise InputError(f"{path} is empty. It must be {_FORMATS}.")
    return sample
