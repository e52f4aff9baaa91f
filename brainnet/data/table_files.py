"""Table files: read CSV, Parquet and NumPy files in chunks."""

import bz2
import codecs
import csv
import gzip
import io
import lzma
import math
import mmap
import re
import stat
import sys
import tokenize
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.lib.format import (
    MAGIC_PREFIX,
    read_array_header_1_0,
    read_array_header_2_0,
    read_magic,
)

from brainnet.data.cells import MISSING_NUMBERS, Cells, Numbers
from brainnet.data.validation import report_warning
from brainnet.errors import InputError

_OPENED_BY: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}

# What reading a broken one raises.
BROKEN = (OSError, EOFError, lzma.LZMAError, zlib.error)


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file to read what was packed into it, as its ending says."""
    opened: IO[bytes] = _OPENED_BY.get(path.suffix.lower(), open)(path, "rb")
    return opened


def open_text(path: Path, encoding: str) -> IO[str]:
    """Open a file to read the text that was packed into it, with its ends of lines as they are."""
    by = _OPENED_BY.get(path.suffix.lower(), open)
    opened: IO[str] = by(path, "rt", encoding=encoding, errors="replace", newline="")
    return opened


_CHUNK_ROWS = 65_536

_CHUNK_CELLS = 1 << 19
# Of a wide table more, or what is done once for a part takes the most of the time.
_LEAST_ROWS = 1024

_MOST_CELLS = 1 << 22

Frame = Any  # a pandas DataFrame


class TableFile(Protocol):
    """A file of rows with named columns, never in memory as a whole."""

    @property
    def path(self) -> Path:
        """Where the file is."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """What the columns are called, in the order of the file."""
        ...

    def chunks(
        self,
        rows: int | None = None,
        *,
        text: Collection[str] = (),
        only: Collection[str] | None = None,
    ) -> Iterator[Frame]:
        """Yield pandas DataFrames of at most so many rows, indexed by the rows of the file from 0.

        Args:
            rows: of a part; None takes as many as are quick to read, and fit into little memory.
            text: columns to read as texts, where the file itself does not say what they are.
            only: columns to read; all of them by default.

        Raises:
            InputError: a row cannot be read.
        """
        ...


def rows_at_once(rows: int | None, columns: int) -> int:
    """How many rows a part has: those asked for, or fewer the wider they are."""
    width = max(1, columns)
    fitting = max(_CHUNK_CELLS // width, min(_LEAST_ROWS, _MOST_CELLS // width))
    return rows or max(1, min(_CHUNK_ROWS, fitting))


def check_unique(path: Path, names: Sequence[str]) -> None:
    """Raise an InputError where two columns have one name."""
    met: set[str] = set()
    for place, name in enumerate(names):
        if name in met:
            raise InputError(
                f"{path} has two columns called {name!r}, the {ordinal(names.index(name) + 1)} and "
                f"the {ordinal(place + 1)}: give each column a name of its own."
            )
        met.add(name)


def chosen_of(columns: Sequence[str], only: Collection[str] | None) -> list[str]:
    """The columns of a file that are to be read, in its order."""
    wanted = set(columns if only is None else only)
    return [name for name in columns if name in wanted]


def ordinal(number: int) -> str:
    """A place as people say it.

    Example:
        >>> [ordinal(place) for place in (1, 2, 3, 4, 11, 22)]
        ['1st', '2nd', '3rd', '4th', '11th', '22nd']
    """
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10)
    return f"{number}{ending or 'th'}"


def read_ahead(parts: Iterable[Frame]) -> Iterator[Frame]:
    """Yield the parts, each read while the one before it is worked on: pandas lets threads go on.

    Example:
        >>> list(ahead(iter([1, 2, 3])))
        [1, 2, 3]
    """
    source, end = iter(parts), object()
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, source, end)
        while (part := coming.result()) is not end:
            coming = reader.submit(next, source, end)
            yield part


SAMPLE_BYTES = 1 << 20

_SCANNED_AT_ONCE = 1 << 22

_ROWS_LOOKED_AT = 1000

# Sooner ones first: a comma within a line of semicolons is common, the reverse is not.
_SEPARATORS = ("\t", ";", "|", ",")

BLANKS = r"\s+"
# UTF-32 before UTF-16, whose mark it begins with.
_STRANGE = re.compile("[\udc80-\udcff]")

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_NUMBER = re.compile(r"[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?")

_POINT = re.compile(r"[-+]?\d*\.\d+")

_COMMA = re.compile(r"[-+]?\d*,\d+")

_GROUPS_BY_COMMA = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")

_GROUPS_BY_POINT = re.compile(r"[-+]?[1-9]\d{0,2}(\.\d{3})+,\d+")

_ZEROS = re.compile(r"(?<![^\s,;|\"])0\d+(?![^\s,;|\"])")
# What could be one group of three as well, 1.234, shows nothing.
_SURE = {
    sign: re.compile(
        rf"[-+]?(?![1-9]\d{{0,2}}\{sign}\d{{3}}$)\d*\{sign}\d+([eE][-+]?\d+)?"
        rf"|[-+]?[1-9]\d{{0,2}}(\{other}\d{{3}})+\{sign}\d+"
        rf"|[-+]?[1-9]\d{{0,2}}(\{other}\d{{3}}){{2,}}"
    )
    for sign, other in ((".", ","), (",", "."))
}


@dataclass(frozen=True, slots=True)
class Writing:
    """How a file of text is written: `groups` is the sign between thousands, if there is one."""

    encoding: str = "utf-8"
    separator: str = ","
    decimal: str = "."
    groups: str | None = None
    skipped: int = 0
    """Lines before the first one of the table."""
    blank_after: bool = False
    """Whether a quote may follow the separator after a blank; to look for it costs a fourth."""
    shown: str = ""
    """The decimal sign that cells show beyond doubt, as in 1.5; none where there are no such cells,
    or some of either kind."""
    known: str = ""
    """The decimal sign, if there is any cell to know it by."""
    zeros: bool = False
    """Whether digits come after a zero that begins a cell, as in 01234."""


def encoding_of(path: Path, sample: bytes) -> str | None:
    """The encoding of a text by its first bytes; None where these are no text.

    What is no UTF-8 anywhere in the file is taken for Windows-1252, of which Latin-1 is a part.

    Args:
        path: the file.
        sample: its first bytes, unpacked.

    Raises:
        InputError: it is UTF-8 but for a few bytes.
    """
    for mark, name in _MARKS:
        if sample.startswith(mark):
            return name
    if b"\0" in sample:
        return _unmarked_utf16(sample)
    if sum(byte < 32 and byte not in b"\t\n\r\f\x1a" for byte in sample[:4096]) > 0:
        return None
    return "utf-8" if _is_utf8(path) else "cp1252"


def _unmarked_utf16(sample: bytes) -> str | None:
    """UTF-16 without a mark has a zero in every second byte of Western text; so has no other."""
    part = sample[: len(sample) // 2 * 2][:4096]
    for name, zeros, others in (
        ("utf-16-le", part[1::2], part[::2]),
        ("utf-16-be", part[::2], part[1::2]),
    ):
        if zeros.count(0) > 0.8 * len(zeros) and 0 not in others:
            return name
    return None


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with open_bytes(path) as file:
            while part := file.read(_SCANNED_AT_ONCE):
                if not part.isascii() or decoder.getstate()[0]:
                    decoder.decode(part)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        pass
    except BROKEN:  # told where the rows are read
        return True
    else:
        return True
    with suppress(*BROKEN):
        _check_not_mixed(path)
    return False


def _check_not_mixed(path: Path) -> None:
    """Refuse what is UTF-8 but for a few bytes: letters of other encodings hardly ever form any."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    right = wrong = lines = line = 0
    with open_bytes(path) as file:
        while part := file.read(_SCANNED_AT_ONCE):
            text = decoder.decode(part)
            strange = _STRANGE.findall(text)
            if strange and not wrong:
                line = lines + text.count("\n", 0, text.index(strange[0])) + 1
            lines += text.count("\n")
            wrong += len(strange)
            right += len(text) - len(text.encode("ascii", "ignore")) - len(strange)
    if right and not wrong:
        raise InputError(f"{path} is UTF-8 that ends within a letter: it was cut off. Is it whole?")
    if right > 2 * wrong:
        more = f", as others do ({wrong:,} in all)" if wrong > 1 else ""
        raise InputError(
            f"{path} is UTF-8, but line {line:,} holds a byte that is none{more}. Was something of "
            "another encoding added to it? Save all of it as UTF-8."
        )


def writing_of(path: Path, text: str, encoding: str) -> Writing:
    """How the table in a text is written.

    Args:
        path: the file, for messages and for its ending.
        text: the first part of the file, cut after a whole line.
        encoding: of the file.

    Raises:
        InputError: lines have unequal numbers of cells.
    """
    skipped = 0
    told = re.match(r"sep=(.)\r?\n", text)
    if told:  # a line that Excel writes for itself
        text, skipped = text[told.end() :], 1
    separator = told[1] if told else _separator(text)
    rows = first_rows(text, separator)
    if not rows:
        if '"' in text:
            raise InputError(unclosed(path, text[: text.index('"')].count("\n") + skipped + 1))
        raise InputError(f"{path} is empty: it needs a line of names and a line for each row.")
    check_even(path, rows, separator, skipped)
    cells = [cell.strip() for _, row in rows for cell in row]
    marked = [cell for cell in cells if "." in cell or "," in cell]
    sure = {sign: sum(map(bool, map(form.fullmatch, marked))) for sign, form in _SURE.items()}
    decimal, groups = _signs(marked, separator, sure)
    shown = [sign for sign, count in sure.items() if count]
    known = bool(shown or groups) or decimal == "," or any(map(_POINT.fullmatch, marked))
    blank_after = separator != BLANKS and re.search(rf'{re.escape(separator)} +"', text) is not None
    only = shown[0] if len(shown) == 1 else ""
    return Writing(
        encoding,
        separator,
        decimal,
        groups,
        skipped,
        blank_after,
        only,
        decimal if known else "",
        _ZEROS.search(text) is not None,
    )


def rows_of(lines: Iterable[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """Rows of cells, each with the number of its last line, without empty lines.

    A quote that is never closed makes one enormous cell, at which they end.
    """
    if separator == BLANKS:
        yield from ((i, line.split()) for i, line in enumerate(lines, 1) if line.strip())
        return
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    with suppress(csv.Error):
        for row in reader:
            if row and not (len(row) == 1 and not row[0].strip()):
                yield reader.line_num, row


def first_rows(text: str, separator: str) -> list[tuple[int, list[str]]]:
    """The first rows of a text, as of `rows_of`."""
    # str.splitlines knows other ends of lines as well.
    return list(islice(rows_of(io.StringIO(text, newline=""), separator), _ROWS_LOOKED_AT))


def _separator(text: str) -> str:
    """The sign that divides the lines most evenly; a comma where none divides anything."""
    best, share = ",", 0.0
    for sign in (*_SEPARATORS, BLANKS):
        rows = [row for _, row in first_rows(text, sign)]
        if not rows or len(rows[0]) < 2:
            continue
        even = sum(len(row) == len(rows[0]) for row in rows) / len(rows)
        if even > share and (sign != BLANKS or even == 1):
            best, share = sign, even
    return best


def check_even(
    path: Path, rows: Sequence[tuple[int, list[str]]], separator: str, skipped: int
) -> None:
    """Raise an InputError that names the first line with more or fewer cells than most have."""
    if not rows:
        return
    usual = Counter(len(row) for _, row in rows).most_common(1)[0][0]
    begun = 0
    for line, row in rows:
        if len(row) != usual and line == rows[-1][0] and any("\n" in cell for cell in row):
            raise InputError(unclosed(path, begun + skipped + 1))
        begun = line
        if len(row) != usual:
            raise InputError(ragged(path, line + skipped, len(row), usual, separator))


def unclosed(path: Path, line: int) -> str:
    """What is said of a quote that makes one cell of the rest of a file."""
    return f"{path}: a quote that opens in line {line} is never closed. Close it, or remove it."


def ragged(path: Path, line: int, came: int, wanted: int, separator: str) -> str:
    """What is said of a line with too many cells or too few."""
    named = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", BLANKS: "blanks"}
    return (
        f"{path}: line {line} has {came} cell{'' if came == 1 else 's'}, the others have {wanted} "
        f"(separated by {named.get(separator, repr(separator))}). Correct or remove that line; a "
        "cell that holds the separator itself needs quotes around it."
    )


def _signs(cells: Sequence[str], separator: str, sure: Mapping[str, int]) -> tuple[str, str | None]:
    """The decimal sign and, if there is one, the sign between thousands.

    Args:
        cells: those with a point or a comma in them.
        separator: of the cells of a line.
        sure: how many of them show beyond doubt that a sign is the decimal one.
    """
    points = sum(_POINT.fullmatch(cell) is not None for cell in cells)
    by_comma = sum(_GROUPS_BY_COMMA.fullmatch(cell) is not None for cell in cells)
    commas = sum(_COMMA.fullmatch(cell) is not None for cell in cells)
    # 1,234 may be either; lines of semicolons come from where the comma is the decimal sign.
    by_commas = commas > (by_comma if separator == "," else 0) and commas > points
    if sure[","] != sure["."]:
        by_commas = sure[","] > sure["."]
    if by_commas:
        groups = any(map(_GROUPS_BY_POINT.fullmatch, cells))
        return ",", "." if groups else None
    return ".", "," if by_comma else None


def doubtful(cells: Iterable[str], decimal: str) -> str | None:
    """The first cell whose decimal sign could stand between thousands, if none shows which it is.

    Example:
        >>> doubtful(["12", "5.108", "7.375"], "."), doubtful(["5.108", "7.5"], ".")
        ('5.108', None)
    """
    marked = [cell.strip() for cell in cells if decimal in cell]
    if any(map(_SURE[decimal].fullmatch, marked)):
        return None
    return next((cell for cell in marked if is_number(cell)), None)


def is_number(cell: str) -> bool:
    """Whether a cell reads as a number, with either decimal sign."""
    return _NUMBER.fullmatch(cell.strip()) is not None


_MISSING = sorted(MISSING_NUMBERS)


@dataclass(frozen=True, slots=True)
class TextFile:
    """A table of text; `header` says whether its first line names the columns.

    Empty lines are no rows. In a file of one column they are rows whose cell is empty, save for
    those before its first line and after its last.
    """

    path: Path
    columns: tuple[str, ...]
    writing: Writing
    header: bool

    def chunks(
        self,
        rows: int | None = None,
        *,
        text: Collection[str] = (),
        only: Collection[str] | None = None,
    ) -> Iterator[Frame]:
        """Yield the rows; a cell of a text column is missing only where it is empty."""
        import pandas

        chosen = chosen_of(self.columns, only)
        lines, looked_at = self._lines(), 0
        try:
            for part in self._parts(rows_at_once(rows, len(self.columns)), text):
                if len(self.columns) > 1 and part.iloc[:, -1].isna().any():
                    rows = part.index[-1] + 1
                    self._check_full(islice(lines, rows - looked_at))
                    looked_at = rows
                yield part[chosen] if only is not None else part
        except BROKEN as error:
            raise InputError(f"{self.path} cannot be read to its end: {error}") from error
        except UnicodeDecodeError as error:
            raise InputError(
                f"{self.path} is no text in {self.writing.encoding.upper()} throughout: {error}. "
                "Save it as UTF-8."
            ) from error
        except pandas.errors.ParserError as error:
            raise InputError(self._explained(str(error))) from error

    def _parts(self, rows: int, text: Collection[str]) -> Iterator[Frame]:
        """Yield so many rows at a time."""
        import pandas

        alone, text = len(self.columns) == 1, frozenset(text)
        options = {
            "sep": self.writing.separator,
            "decimal": self.writing.decimal,
            "thousands": self.writing.groups,
            "names": list(self.columns),
            # No usecols: pandas would pass over cells too many in a line.
            "dtype": {name: str for name in self.columns if name in text},
            "keep_default_na": False,
            "na_values": {name: [""] if name in text else _MISSING for name in self.columns},
            "skipinitialspace": self.writing.blank_after,
            "skip_blank_lines": not alone,
            "index_col": False,
            "low_memory": False,
            "chunksize": rows,
        }
        with pandas.read_csv(
            self.path,
            encoding=self.writing.encoding,
            skiprows=self.writing.skipped,
            header=0 if self.header else None,
            **options,
        ) as parts:
            told = map(_without_truths, parts)
            yield from _without_last(told, self._empty_at_end() if alone else 0)

    def _empty_at_end(self) -> int:
        """How many lines are empty after the last one of the table."""
        empty = 0
        with open_text(self.path, self.writing.encoding) as file:
            for line in file:
                empty = 0 if line.strip() else empty + 1
        return empty

    def _lines(self) -> Iterator[tuple[int, int]]:
        """Yield of each row the number of its line and how many cells it has."""
        with open_text(self.path, self.writing.encoding) as file:
            for _ in range(self.writing.skipped):
                file.readline()
            for line, row in islice(rows_of(file, self.writing.separator), self.header, None):
                yield line + self.writing.skipped, len(row)

    def _check_full(self, lines: Iterator[tuple[int, int]]) -> None:
        """Refuse lines with fewer cells than columns.

        pandas fills such lines up; an empty cell at the end of one gives it away.
        """
        width = len(self.columns)
        for line, cells in lines:
            if cells < width:
                raise InputError(ragged(self.path, line, cells, width, self.writing.separator))

    def _explained(self, error: str) -> str:
        uneven = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", error)
        if uneven:
            wanted, line, came = map(int, uneven.groups())
            return ragged(self.path, line, came, wanted, self.writing.separator)
        opened = re.search(r"EOF inside string starting at row (\d+)", error)
        if opened:
            return unclosed(self.path, int(opened[1]) + 1)
        return f"{self.path} cannot be read as a table: {error.strip()}"


def _without_truths(part: Frame) -> Frame:
    """The part with words for what pandas takes for truths, where all cells of it are such.

    Among numbers they are none, whatever else stands in the same part.
    """
    for name in part.select_dtypes(bool).columns:
        part[name] = part[name].map({True: "True", False: "False"}).astype(object)
    return part


def _without_last(parts: Iterable[Frame], rows: int) -> Iterator[Frame]:
    """Yield the parts without so many rows at their end."""
    held: list[Frame] = []
    for part in parts:
        held.append(part)
        while held and sum(map(len, held[1:])) >= rows:
            yield held.pop(0)
    left = sum(map(len, held)) - rows
    for part in held:
        if left > 0:
            yield part.iloc[:left]
        left -= len(part)


def text_file(path: Path, sample: bytes, *, header: bool | None) -> TextFile | None:
    """A table of text by its first bytes; None where they are no text.

    Args:
        path: the file.
        sample: its first bytes, unpacked.
        header: whether the first line names the columns; None recognises it.

    Raises:
        InputError: there is no table in it, or its first line does not look like names.
    """
    encoding = encoding_of(path, sample)
    if encoding is None:
        return None
    if encoding == "cp1252":
        report_warning(
            f"{path} is no UTF-8: it is read as Windows-1252, as Western Europe writes. Where "
            "words look wrong, save it as UTF-8."
        )
    text = sample.decode(encoding, errors="ignore").lstrip("\ufeff")
    cut = max(text.rfind("\n"), text.rfind("\r"))
    if len(sample) >= SAMPLE_BYTES and cut > 0:
        text = text[: cut + 1]
    if not text.strip():
        raise InputError(f"{path} is empty: it needs a line of names and a line for each row.")
    writing = writing_of(path, text, encoding)
    body = text.split("\n", writing.skipped)[-1]
    found = first_rows(body, writing.separator)
    rows = [row for _, row in found]
    names = _names(path, rows, header)
    if len(names) == 1:  # empty lines are rows there, but not those before the first
        before = found[0][0] - 1 - found[0][1][0].count("\n")
        writing = replace(writing, skipped=writing.skipped + before)
    return TextFile(path, names, writing, header=header is not False)


def _names(path: Path, rows: list[list[str]], header: bool | None) -> tuple[str, ...]:
    """The names of the columns: the first line, or numbers from 0."""
    first = [cell.strip() for cell in rows[0]]
    if header is False:
        return tuple(map(str, range(len(first))))
    if header is None and (values := _values_in(first, rows[1:])):
        shown = ", ".join(first[:6]) + (", ..." if len(first) > 6 else "")
        raise InputError(
            f"{path}: the first line ({shown}) does not look like the names of the columns: "
            f"{values}. If it is a row, set data.header=false: the columns are then called 0, 1, "
            "2, ... (data.target=0). If these are names, set data.header=true."
        )
    names = _names_in(first)
    check_unique(path, names)
    if len(rows) == 1:
        raise InputError(f"{path} has a line of names ({', '.join(names)}) and no rows below it.")
    return names


def _names_in(first: list[str]) -> tuple[str, ...]:
    """What columns are called by the cells of a first line."""
    return tuple(cell.strip() or f"Unnamed: {place}" for place, cell in enumerate(first))


def _names_numbers(first: list[str], below: list[list[str]]) -> bool:
    """Whether a word of a first line stands above numbers, as the name of a column does."""
    for place, cell in enumerate(first):
        if cell and cell not in MISSING_NUMBERS:
            cells = [row[place].strip() for row in below if len(row) > place]
            there = [cell for cell in cells if cell not in MISSING_NUMBERS]
            if sum(map(is_number, there)) > len(there) / 2:
                return True
    return False


def _values_in(first: list[str], below: list[list[str]]) -> str:
    """What in a first line looks like values; empty where all looks like names."""
    numbers = [cell for cell in first if is_number(cell)]
    if numbers:
        return f"{numbers[0]} is a number"
    if _names_numbers(first, below):  # then a word that stands in both is a class called so
        return ""
    for place, cell in enumerate(first):
        again = sum(len(row) > place and row[place].strip() == cell for row in below)
        if cell and again:
            return f"{cell!r} stands again further down in the same column"
    return ""


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


def _with_gaps(column: Any) -> Any:
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


Array = np.ndarray[Any, np.dtype[Any]]

# What NumPy raises where a file is damaged, packed as nobody packs it, or locked by a password.
AGAIN = ". Is it whole, and of numbers? Save it again by numpy.save or numpy.savez."

DAMAGED: tuple[type[Exception], ...] = (OSError, EOFError, ValueError, KeyError, RuntimeError)

DAMAGED += (MemoryError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True, eq=False)
class ArrayFile:
    """Arrays side by side: each column is the column of an array of the file."""

    path: Path
    columns: tuple[str, ...]
    arrays: tuple[Array, ...]

    def chunks(
        self,
        rows: int | None = None,
        *,
        text: Collection[str] = (),
        only: Collection[str] | None = None,
    ) -> Iterator[Frame]:
        """Yield the rows; arrays know themselves which of them are texts."""
        import pandas

        chosen = chosen_of(self.columns, only)
        step = rows_at_once(rows, len(chosen))
        for start in range(0, len(self.arrays[0]), step):
            parts = [pandas.DataFrame(array[start : start + step]) for array in self.arrays]
            part = pandas.concat(parts, axis=1)
            part.columns = list(self.columns)
            part.index = pandas.RangeIndex(start, start + len(part))
            yield part if only is None else part[chosen]
            for array in self.arrays:
                _let_go(array)


def npy_file(path: Path) -> ArrayFile:
    """A table in one array: columns are called 0, 1, 2, ..., or as its fields are.

    Raises:
        InputError: the file is broken, or holds no table.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except DAMAGED as error:
        raise InputError(f"{path} cannot be read as a NumPy array: {error}{AGAIN}") from error
    if array.dtype.names:
        columns = tuple(array.dtype.names)
        return ArrayFile(path, columns, tuple(_table(path, name, array[name]) for name in columns))
    table = _table(path, "the array", array)
    return ArrayFile(path, tuple(map(str, range(table.shape[1]))), (table,))


def npz_file(path: Path) -> ArrayFile:
    """A table in several arrays of as many rows.

    An array of one number a row is a column of that name. The columns of a wider one are called
    0, 1, 2, ... where it is the only one, else by its name and the number: `x 0`.

    Raises:
        InputError: the file is broken, or its arrays do not fit together.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            check_array_sizes(path, stored.zip)
            arrays = {name: _table(path, name, stored[name]) for name in stored.files}
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(f"{path} cannot be read as NumPy arrays: {error}{AGAIN}") from error
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        told = ", ".join(f"{name} {rows}" for name, rows in lengths.items()) or "none"
        raise InputError(
            f"the arrays of {path} need equally many rows to be one table; there are: {told}."
        )
    columns = tuple(_array_columns(arrays))
    check_unique(path, columns)
    return ArrayFile(path, columns, tuple(arrays.values()))


def check_array_sizes(path: Path, stored: zipfile.ZipFile) -> None:
    """Refuse an array that is said to be larger than its file before memory is taken for it."""
    headers = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}
    for entry in stored.infolist():
        with stored.open(entry) as file:
            if file.read(len(MAGIC_PREFIX)) != MAGIC_PREFIX:
                raise InputError(f"{path}: {entry.filename} is no array. Leave it out.")
            file.seek(0)
            header = headers.get(read_magic(file))
            if header is None:
                continue
            shape, _, dtype = header(file)
            if math.prod(shape) * dtype.itemsize > entry.file_size:
                raise InputError(
                    f"{path}: {entry.filename} says that its shape is {shape}, and the file holds "
                    f"only {entry.file_size:,} bytes of it. It is damaged: write it again."
                )


def _array_columns(arrays: Mapping[str, Array]) -> list[str]:
    wide = [name for name, array in arrays.items() if array.shape[1] > 1]
    names = []
    for name, array in arrays.items():
        if name not in wide:
            names.append(name)
        else:
            names += [f"{name} {i}" if len(wide) > 1 else str(i) for i in range(array.shape[1])]
    return names


def _let_go(array: Array) -> None:
    """Take what was read of a mapped file out of memory; asked for again, it is read again."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):  # Windows has no such call
        mapped.madvise(mmap.MADV_DONTNEED)


def _table(path: Path, name: str, array: Array) -> Array:
    """The array as (rows, columns)."""
    if array.ndim not in (1, 2) or 0 in array.shape:
        raise InputError(
            f"{path}: {name} must be (rows,) or (rows, columns); its shape is {array.shape}. "
            "Pictures are read with data=images."
        )
    if array.dtype.kind == "c":
        raise InputError(f"{path}: {name} must be real numbers; got {array.dtype}.")
    if array.dtype.kind == "S":  # texts of bytes
        array = np.char.decode(array, "utf-8")
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return native.reshape(len(native), -1)


def head_of(
    file: TableFile, rows: int, names: Sequence[str], *, words: Sequence[str] = ()
) -> Frame | None:
    """Read the first rows: numbers beyond doubt as such, what else there is as texts.

    As texts all numbers of a wide table would be looked at one column at a time.

    Args:
        file: of the rows.
        rows: how many at most.
        names: of the columns.
        words: those of them to read as texts in any case.

    Returns:
        None where there are no rows.
    """
    if not isinstance(file, TextFile) or not _is_plain(file):
        return next(iter(file.chunks(rows, text=names, only=names)), None)
    typed = next(iter(file.chunks(rows, text=words, only=names)), None)
    if typed is None:
        return None
    sure = _are_amounts if file.writing.zeros else _are_numbers
    looked_at = [name for name in names if name not in words and not sure(typed[name])]
    if not looked_at:
        return typed
    import pandas

    texts = next(iter(file.chunks(rows, text=looked_at, only=looked_at)))
    return pandas.concat([typed.drop(columns=looked_at), texts], axis=1)[list(names)]


def _is_plain(file: TextFile) -> bool:
    """Whether pandas takes nothing for a number that, as a text, might be none or another one."""
    writing = file.writing
    return writing.groups is None and (bool(writing.shown) or not writing.known)


def _are_numbers(cells: Cells) -> bool:
    kind = cells.dtype
    if not isinstance(kind, np.dtype) or kind.kind not in "iuf":
        return False
    return kind.kind != "f" or not np.isnan(cells.to_numpy()).all()


def _are_amounts(cells: Cells) -> bool:
    """Whether they are numbers that no code would be, such as 01234 in the file."""
    return _are_numbers(cells) and bool((cells.dropna() % 1 != 0).any())


_BLOCK_BYTES = 1 << 24

_ROWS_AT_ONCE = 65_536


class Blocks:
    """A float32 table (rows, columns) that grows, then is taken away from its front.

    Memory never holds it twice: what `take` has handed out is let go.

    Example:
        >>> blocks = Blocks(2)
        >>> blocks.add(np.ones((3, 2)))
        >>> [part.shape for part in blocks.take()], len(blocks)
        ([(3, 2)], 0)
    """

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self._block_rows = max(1, _BLOCK_BYTES // (4 * max(1, columns)))
        self._blocks: list[Numbers] = []
        self._last = self._block_rows
        self._rows = 0

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._rows

    def add(self, rows: Numbers) -> None:
        """Copy rows (rows, columns) to the end."""
        self._rows += len(rows)
        while len(rows):
            if self._last == self._block_rows:
                self._blocks.append(empty_table(self._block_rows, self.columns))
                self._last = 0
            fitting = rows[: self._block_rows - self._last]
            self._blocks[-1][self._last : self._last + len(fitting)] = fitting
            self._last += len(fitting)
            rows = rows[len(fitting) :]

    def take(self) -> Iterator[Numbers]:
        """Yield the rows in order, a part at a time, and let go of them; a part is no copy."""
        blocks, self._blocks, left = self._blocks[::-1], [], self._rows
        self._rows, self._last = 0, self._block_rows
        while blocks:
            block = blocks.pop()[:left]
            left -= len(block)
            for start in range(0, len(block), _ROWS_AT_ONCE):
                yield block[start : start + _ROWS_AT_ONCE]
            del block


def empty_table(rows: int, columns: int) -> Numbers:
    """A float32 table of zeros whose memory is the system's again as soon as it is let go of.

    The C library would keep some for itself, up to 32 MB a piece.
    """
    size = max(1, 4 * rows * columns)
    if sys.platform == "win32":
        memory = mmap.mmap(-1, size)
    else:  # private: shared memory, the default, takes half as long again to fill
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(memory, np.float32, rows * columns).reshape(rows, columns)


_ENDINGS = {".parquet": "Parquet", ".pq": "Parquet", ".npy": "NumPy", ".npz": "NumPy"}

_TEXTS = (".csv", ".tsv", ".tab", ".txt", ".dat", ".data")

_OTHERS = (
    (b"{", "JSON: save it as CSV"),
    (b"[", "JSON: save it as CSV"),
    (b"<", "HTML or XML: save its table as CSV"),
    (b"\x1f\x8b", "packed by gzip and not called so: let its name end in .csv.gz"),
    (b"PK\x03\x04", "a zip archive (an Excel workbook is one): unpack it, or save it as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook: save it as CSV"),
    (b"SQLite format 3", "an SQLite database: export its table as CSV"),
    (b"\x89HDF", "HDF5: save its table as Parquet or CSV"),
    (b"%PDF", "a PDF: save its table as CSV"),
    (b"\x89PNG", "a picture: pictures are read with data=images"),
    (b"\xff\xd8\xff", "a picture: pictures are read with data=images"),
    (b"\x80\x04", "a Python pickle, which may run anything: save it as Parquet or CSV"),
    (b"\x80\x05", "a Python pickle, which may run anything: save it as Parquet or CSV"),
)

READABLE_ENDINGS = frozenset((*_ENDINGS, *_TEXTS))

READABLE = "CSV, TSV, Parquet, .npy or .npz"


def open_table(path: Path | str, *, header: bool | None = None) -> TableFile:
    """Open a file of rows: CSV, TSV and the like (also .gz, .bz2, .xz), Parquet, .npy or .npz.

    Args:
        path: the file.
        header: whether the first line of a text names the columns; None recognises it.

    Raises:
        InputError: there is no such file, it is of no known kind, or not what its ending says.
    """
    path = Path(path).expanduser()
    sample = _sample(path)
    ending = path.suffix.lower()
    if sample.startswith(b"PAR1"):
        return _of_its_ending(path, "Parquet", parquet_file)
    if sample.startswith(b"\x93NUMPY"):
        return _of_its_ending(path, "NumPy", npy_file)
    if sample.startswith(b"PK\x03\x04") and ending == ".npz":
        return npz_file(path)
    for mark, what in _OTHERS:
        if sample.lstrip().startswith(mark):
            raise InputError(f"{path} is {what}. A table is read from {READABLE}.")
    if ending in _ENDINGS:
        shown = sample[:40].decode("ascii", errors="replace").splitlines()[0]
        raise InputError(
            f"{path} ends in {ending} and holds no {_ENDINGS[ending]} file; it begins with "
            f"{shown!r}. Name it by what it is ({READABLE}), or write it again."
        )
    found = text_file(path, sample, header=header)
    if found is None:
        raise InputError(f"{path} is neither text nor a table. It must be {READABLE}.")
    return found


def _sample(path: Path) -> bytes:
    """The first bytes of a file, unpacked."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        why = "" if isinstance(error, FileNotFoundError | NotADirectoryError) else f" ({error})"
        raise InputError(
            f"there is no file {path}{why}; it is looked for from {Path.cwd()}."
        ) from error
    if stat.S_ISDIR(mode):
        raise InputError(
            f"{path} is a folder; a table is one file ({READABLE}). A folder of pictures is read "
            "with data=images."
        )
    if not stat.S_ISREG(mode):
        raise InputError(
            f"{path} is a pipe or a device, which can be read once only; a table is read more than "
            "once. Save it as a file first."
        )
    try:
        with open_bytes(path) as file:
            sample = file.read(SAMPLE_BYTES)
    except BROKEN as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if not sample:
        raise InputError(f"{path} is empty. It must be {READABLE}.")
    return sample


def _of_its_ending(path: Path, kind: str, opened: Callable[[Path], TableFile]) -> TableFile:
    """Open a file whose content is known, unless its ending says something else."""
    ending = path.suffix.lower()
    if ending in _TEXTS or _ENDINGS.get(ending, kind) != kind:
        right = next(known for known, its in _ENDINGS.items() if its == kind)
        raise InputError(
            f"{path} ends in {ending} and holds a {kind} file. Name it by what it is: "
            f"{path.with_suffix(right).name}."
        )
    return opened(path)
