"""Text files: tables as CSV, TSV and the like, however they are encoded and separated."""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from brainnet.data.cells import MISSING_NUMBERS
from brainnet.data.notes import note
from brainnet.data.packed import BROKEN, open_text
from brainnet.data.recognition import (
    SAMPLE_BYTES,
    Writing,
    encoding_of,
    first_rows,
    is_number,
    ragged,
    rows_of,
    unclosed,
    writing_of,
)
from brainnet.data.row_file import Frame, check_unique, chosen_of, rows_at_once
from brainnet.errors import InputError

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
        note(
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
