"""Table files: CSV, Parquet and NumPy files, read in chunks of rows."""

import bz2
import csv
import gzip
import io
import lzma
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

READABLE = "CSV, TSV, Parquet, .npy or .npz"
READABLE_ENDINGS = frozenset(
    (".csv", ".tsv", ".tab", ".txt", ".dat", ".data", ".parquet", ".pq", ".npy", ".npz")
)

_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_READ_ERRORS = (OSError, EOFError, lzma.LZMAError, zlib.error)
_SAMPLE_BYTES = 1 << 20
_SAMPLE_ROWS = 1000
_CHUNK_ROWS = 65_536
_CHUNK_CELLS = 1 << 19
_MIN_CHUNK_ROWS = 256


@dataclass(frozen=True, slots=True)
class TableFile:
    """A file of rows with named columns, read in chunks.

    Attributes:
        path: location of the file.
        columns: names of the columns, in file order.
        reader: yields DataFrames, given the file, the rows of a chunk, the text columns and the
            columns to read.
        csv: how a text file is written; None for formats that store types.
    """

    path: Path
    columns: tuple[str, ...]
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

        Args:
            rows: maximum number of rows per chunk; chosen by the number of columns if None.
            text: columns of a text file whose cells stay as written: "007" is not 7.
            only: columns to read; all if None.

        Raises:
            InputError: a row cannot be read.
        """
        wanted = set(self.columns if only is None else only)
        chosen = [name for name in self.columns if name in wanted]
        return self.reader(self, rows or choose_chunk_rows(len(self.columns)), text, chosen)

    def with_signs(self, decimal: str, thousands: str | None) -> "TableFile":
        """Return the file with these number separators, unless its own cells prove others."""
        if self.csv is None or self.csv.is_certain:
            return self
        return replace(self, csv=replace(self.csv, decimal=decimal, thousands=thousands))


def choose_chunk_rows(columns: int) -> int:
    """Return the number of rows to read at once from a table with this many columns."""
    return min(_CHUNK_ROWS, max(_MIN_CHUNK_ROWS, _CHUNK_CELLS // max(1, columns)))


def read_ahead(chunks: Iterable[Any]) -> Iterator[Any]:
    """Yield the chunks; a thread reads the next one while the caller works on the current one.

    Example:
        >>> list(read_ahead([1, 2, 3]))
        [1, 2, 3]
    """
    source, end = iter(chunks), object()
    with ThreadPoolExecutor(1) as reader:
        pending = reader.submit(next, source, end)
        while (chunk := pending.result()) is not end:
            pending = reader.submit(next, source, end)
            yield chunk


_DELIMITERS = ("\t", ";", "|", ",")  # the comma last: it is common inside cells
_BLANKS = r"\s+"
_BYTE_ORDER_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),  # before UTF-16, whose mark is a prefix of this one
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_NUMBER = re.compile(r"[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?")
_SIGNS = ((".", ","), (",", "."))  # a decimal sign, and the sign between thousands
_PLAIN = {sign: re.compile(rf"[-+]?\d*\{sign}\d+") for sign, _ in _SIGNS}
_GROUPED = {
    sign: re.compile(rf"[-+]?[1-9]\d{{0,2}}(\{group}\d{{3}})+(\{sign}\d*)?")
    for sign, group in _SIGNS
}
# Cells that prove which sign is the decimal one. 1.234 alone proves nothing: it may be 1234.
_PROOF = {
    sign: re.compile(
        rf"[-+]?(?![1-9]\d{{0,2}}\{sign}\d{{3}}$)\d*\{sign}\d+([eE][-+]?\d+)?"
        rf"|[-+]?[1-9]\d{{0,2}}(\{group}\d{{3}})+\{sign}\d+"
        rf"|[-+]?[1-9]\d{{0,2}}(\{group}\d{{3}}){{2,}}"
    )
    for sign, group in _SIGNS
}


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """How a text file writes its table; every field can be set with `data.csv.<field>`.

    Attributes:
        sep: delimiter of the cells; a regular expression for whitespace.
        decimal: decimal sign, "." or ",".
        thousands: sign between groups of three digits, or None.
        encoding: name of the text encoding.
        na_values: further cells that stand for a missing number.
        has_header: whether the first line names the columns.
        is_certain: whether cells or the user prove the decimal sign.
    """

    sep: str = ","
    decimal: str = "."
    thousands: str | None = None
    encoding: str = "utf-8"
    na_values: tuple[str, ...] = ()
    has_header: bool = True
    is_certain: bool = True

    def __str__(self) -> str:
        """Describe the format in the words of its keys."""
        thousands = f", thousands={self.thousands!r}" if self.thousands else ""
        return f"sep={self.sep!r}, decimal={self.decimal!r}{thousands}, encoding={self.encoding}"


def _detect_encoding(path: Path, sample: bytes) -> str:
    """Return the encoding of a text: by its byte order mark, else UTF-8 or Windows-1252."""
    for mark, name in _BYTE_ORDER_MARKS:
        if sample.startswith(mark):
            return name
    if b"\0" in sample:
        raise InputError(
            f"{path} is neither text nor a table file. It must be {READABLE}; UTF-16 text needs a "
            "byte order mark, or data.csv.encoding=utf-16-le."
        )
    # Without the last bytes, which may be a part of a character.
    text = sample[: sample.rfind(b"\n") + 1].decode("utf-8", errors="surrogateescape")
    invalid = re.findall("[\udc80-\udcff]", text)
    if not invalid:
        return "utf-8"
    # Text of another encoding hardly ever forms valid characters of UTF-8.
    if len(re.findall("[^\x00-\x7f]", text)) > 3 * len(invalid):
        line = text.count("\n", 0, text.index(invalid[0])) + 1
        raise InputError(
            f"{path} is UTF-8, but line {line:,} contains bytes of another encoding. Save the "
            "whole file as UTF-8."
        )
    return "cp1252"


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
    """Return the sign that divides most lines into equally many cells; a comma if none does."""
    best, best_share = ",", 0.0
    for sep in (*_DELIMITERS, _BLANKS):
        rows = _split_rows(text, sep)
        if not rows or len(rows[0]) < 2:
            continue
        share = sum(len(row) == len(rows[0]) for row in rows) / len(rows)
        if share > best_share and (sep != _BLANKS or share == 1):
            best, best_share = sep, share
    return best


def _detect_decimal(cells: Sequence[str], sep: str) -> tuple[str, bool]:
    """Return the decimal sign, and whether the cells prove it."""
    proofs, plain = (
        {sign: sum(map(bool, map(form.fullmatch, cells))) for sign, form in forms.items()}
        for forms in (_PROOF, _PLAIN)
    )
    if proofs["."] != proofs[","]:
        return max(proofs, key=lambda sign: proofs[sign]), True
    # Between semicolons 1,234 is a decimal comma: such files come from where commas are decimal.
    return ("," if sep != "," and plain[","] > plain["."] else "."), False


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


def _open_csv(
    path: Path, sample: bytes, header: bool | None, options: Mapping[str, Any]
) -> TableFile:
    given = {key: value for key, value in options.items() if value is not None}
    for key in given:
        check_one_of("data.csv", key, ("sep", "decimal", "thousands", "encoding", "na_values"))
    for key in ("sep", "decimal", "thousands"):
        value = str(given.get(key, ",")).replace("\\t", "\t")
        if len(value) != 1 and value != _BLANKS:
            raise InputError(f"data.csv.{key} must be one character; got {value!r}.")
    encoding = str(given.get("encoding") or _detect_encoding(path, sample))
    try:
        text = sample.decode(encoding, errors="ignore").lstrip("\ufeff")
    except LookupError as error:
        raise InputError(f"data.csv.encoding={encoding} is not a known encoding.") from error
    if len(sample) >= _SAMPLE_BYTES:
        text = text[: max(text.rfind("\n"), text.rfind("\r")) + 1] or text
    sep = str(given.get("sep", "")).replace("\\t", "\t") or _detect_delimiter(text)
    rows = _split_rows(text, sep)
    if not rows:
        raise InputError(f"{path} is empty: it needs a line of names and a line for each row.")
    cells = [cell for row in rows for cell in row if "." in cell or "," in cell]
    decimal, is_certain = _detect_decimal(cells, sep)
    decimal = str(given.get("decimal", decimal))
    is_grouped = any(map(_GROUPED.get(decimal, _NUMBER).fullmatch, cells))
    thousands = given.get("thousands", {".": ",", ",": "."}.get(decimal) if is_grouped else None)
    if thousands == decimal:
        raise InputError(
            f"data.csv.decimal and data.csv.thousands must differ; both are {decimal!r}."
        )
    csv_format = CsvFormat(
        sep,
        decimal,
        thousands,
        encoding,
        tuple(parse_names(given.get("na_values"))),
        has_header=header is not False,
        is_certain=is_certain or thousands is not None or "decimal" in given,
    )
    return TableFile(path, _name_columns(path, rows, header), _read_csv, csv_format)


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
    if header is None and (value := _find_value(first, list(zip(*below, strict=False)))):
        raise InputError(
            f"{path}: the first line ({join_names(first, 6)}) does not look like column names: "
            f"{value}. If it is a row, set data.header=false: the columns are then called 0, 1, "
            "2, ... (data.target=0). If it contains names, set data.header=true."
        )
    names = tuple(name or f"Unnamed: {position}" for position, name in enumerate(first))
    _check_unique(path, names)
    if not below:
        raise InputError(f"{path} has a line of names ({join_names(names)}) and no rows below it.")
    return names


def _find_value(first: Sequence[str], columns: Sequence[Sequence[str]]) -> str:
    """Return what shows that the first line is a row rather than names; "" for names."""
    for cell in first:
        if _NUMBER.fullmatch(cell):
            return f"{cell} is a number"
    for name, cells in zip(first, columns, strict=False):
        present = [cell for cell in cells if cell not in MISSING_MARKERS]
        if name not in MISSING_MARKERS and present and all(map(_NUMBER.fullmatch, present)):
            return ""  # a text above numbers is a name, and so are its neighbors
    repeated = [name for name, cells in zip(first, columns, strict=False) if name and name in cells]
    return f"{repeated[0]!r} appears again in its column" if repeated else ""


def _check_unique(path: Path, names: Sequence[str]) -> None:
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise InputError(f"{path} has {count} columns called {name!r}. Give each its own name.")


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
            f"{path}: the cells of column {nested[0]!r} are lists or records; a table has one "
            "number or text per cell. Spread it over several columns, or leave it out."
        )
    names = tuple(name for name in schema.names if not name.startswith("__index_level_"))
    _check_unique(path, names)
    return TableFile(path, names, _read_parquet)


def load_arrays(path: Path) -> NDArray[Any] | dict[str, NDArray[Any]]:
    """Read a NumPy file: the array of an .npy file, or the arrays of an .npz file by name.

    Raises:
        InputError: the file is damaged or contains Python objects.
    """
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
    arrays = {name: _to_table(path, name, array) for name, array in arrays.items()}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        shown = join_names([f"{name} {rows}" for name, rows in lengths.items()]) or "none"
        raise InputError(
            f"the arrays of {path} must have the same number of rows; their numbers are: {shown}."
        )
    wide = sum(array.shape[1] > 1 for array in arrays.values())
    columns: list[str] = []
    for name, array in arrays.items():
        # The columns of a single wide array are called 0, 1, 2, ...
        prefix = f"{name} " if wide > 1 else ""
        numbers = [f"{prefix}{number}" for number in range(array.shape[1])]
        columns += [name] if name and len(numbers) == 1 else numbers
    _check_unique(path, columns)

    def read_arrays(
        file: TableFile, rows: int, text: Collection[str], chosen: list[str]
    ) -> Iterator[Frame]:
        import pandas

        for start in range(0, max(lengths.values()), rows):
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


def _to_table(path: Path, name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return the array as (rows, columns) in the byte order of this machine."""
    if array.ndim not in (1, 2) or 0 in array.shape or array.dtype.kind in "cV":
        raise InputError(
            f"{path}: {name or 'the array'} must be real numbers or texts of shape (rows,) or "
            f"(rows, columns); got {array.dtype} of shape {array.shape}. Images are read with "
            "data=images."
        )
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    return array.astype(array.dtype.newbyteorder("="), copy=False).reshape(len(array), -1)


_BINARY_FORMATS: tuple[tuple[bytes, tuple[str, ...], Callable[[Path], TableFile]], ...] = (
    (b"PAR1", (".parquet", ".pq"), _open_parquet),
    (b"\x93NUMPY", (".npy",), _open_arrays),
)

_OTHER_FORMATS = (
    (b"{", "JSON; save it as CSV"),
    (b"[", "JSON; save it as CSV"),
    (b"<", "HTML or XML; save its table as CSV"),
    (b"\x1f\x8b", "compressed with gzip; let its name end in .csv.gz"),
    (b"PK\x03\x04", "a zip archive (an Excel workbook is one); save its table as CSV"),
    (b"\x89PNG", "an image; images are read with data=images"),
    (b"\xff\xd8\xff", "an image; images are read with data=images"),
)


def open_table(
    path: Path | str, *, header: bool | None = None, csv: Mapping[str, Any] | None = None
) -> TableFile:
    """Open a table: CSV, TSV and similar (also .gz, .bz2, .xz), Parquet, .npy or .npz.

    Args:
        path: the file.
        header: whether the first line of a text file names the columns; None detects it.
        csv: values for `CsvFormat` that are not to be detected: `sep`, `decimal`, `thousands`,
            `encoding`, `na_values`.

    Raises:
        InputError: the file does not exist, or is not a table that can be read.
    """
    path = Path(path).expanduser()
    ending, sample = path.suffix.lower(), _read_sample(path)
    for mark, endings, opener in _BINARY_FORMATS:
        if sample.startswith(mark) and (ending in endings or ending not in READABLE_ENDINGS):
            return opener(path)
        if sample.startswith(mark) or ending in endings:
            raise InputError(
                f"{path} ends in {ending}, but its content is of another format. Name it by its "
                f"format ({READABLE}), or write it again."
            )
    if ending == ".npz":
        return _open_arrays(path)
    for mark, description in _OTHER_FORMATS:
        if sample.lstrip().startswith(mark):
            raise InputError(f"{path} is {description}. Tables are read from {READABLE}.")
    return _open_csv(path, sample, header, csv or {})


def _read_sample(path: Path) -> bytes:
    """Return the first bytes of a file, decompressed."""
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except OSError:  # a name that no file can have
        is_file = is_folder = False
    if is_folder:
        raise InputError(
            f"{path} is a folder; a table is one file ({READABLE}). A folder of images is read "
            "with data=images."
        )
    if not is_file:
        raise InputError(f"there is no file {path.absolute()}.")
    try:
        with _OPENERS.get(path.suffix.lower(), open)(path, "rb") as file:
            sample: bytes = file.read(_SAMPLE_BYTES)
    except _READ_ERRORS as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    if not sample:
        raise InputError(f"{path} is empty. It must be {READABLE}.")
    return sample
