"""Text files: tables as CSV, TSV and the like, however they are encoded and separated."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from brainnet.data.cells import MISSING_NUMBERS
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
from brainnet.data.row_file import Frame, rows_at_once
from brainnet.errors import InputError

_MISSING = sorted(MISSING_NUMBERS)


@dataclass(frozen=True, slots=True)
class TextFile:
    """A table of text; `header` says whether its first line names the columns."""

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

        chosen = [name for name in self.columns if only is None or name in only]
        try:
            with pandas.read_csv(
                self.path,
                sep=self.writing.separator,
                encoding=self.writing.encoding,
                decimal=self.writing.decimal,
                thousands=self.writing.groups,
                skiprows=self.writing.skipped,
                header=0 if self.header else None,
                names=list(self.columns),
                # No usecols: pandas would pass over cells too many in a line.
                dtype={name: str for name in self.columns if name in text},
                keep_default_na=False,
                na_values={name: [""] if name in text else _MISSING for name in self.columns},
                skipinitialspace=self.writing.blank_after,
                index_col=False,
                low_memory=False,
                chunksize=rows_at_once(rows, len(self.columns)),
            ) as parts:
                suspected = True
                for part in parts:
                    if suspected and part.iloc[:, -1].isna().any():
                        self._check_full(part.index[-1] + 1)
                        suspected = False
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

    def _check_full(self, rows: int) -> None:
        """Refuse lines with fewer cells than columns among the first rows.

        pandas fills such lines up; an empty cell at the end of one gives it away.
        """
        separator, width = self.writing.separator, len(self.columns)
        with open_text(self.path, self.writing.encoding) as file:
            for _ in range(self.writing.skipped):
                file.readline()
            for line, row in islice(rows_of(file, separator), rows + self.header):
                if len(row) < width:
                    line += self.writing.skipped
                    raise InputError(ragged(self.path, line, len(row), width, separator))

    def _explained(self, error: str) -> str:
        uneven = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", error)
        if uneven:
            wanted, line, came = map(int, uneven.groups())
            return ragged(self.path, line, came, wanted, self.writing.separator)
        opened = re.search(r"EOF inside string starting at row (\d+)", error)
        if opened:
            return unclosed(self.path, int(opened[1]) + 1)
        return f"{self.path} cannot be read as a table: {error.strip()}"


def text_file(path: Path, sample: bytes, *, header: bool | None, packed: bool) -> TextFile | None:
    """A table of text by its first bytes; None where they are no text.

    Args:
        path: the file.
        sample: its first bytes, unpacked.
        header: whether the first line names the columns; None recognises it.
        packed: whether the file is compressed.

    Raises:
        InputError: there is no table in it, or its first line does not look like names.
    """
    encoding = encoding_of(path, sample, whole=not packed)
    if encoding is None:
        return None
    text = sample.decode(encoding, errors="ignore").lstrip("\ufeff")
    cut = max(text.rfind("\n"), text.rfind("\r"))
    if len(sample) >= SAMPLE_BYTES and cut > 0:
        text = text[: cut + 1]
    if not text.strip():
        raise InputError(f"{path} is empty: it needs a line of names and a line for each row.")
    writing = writing_of(path, text, encoding)
    body = text.split("\n", writing.skipped)[-1]
    rows = [row for _, row in first_rows(body, writing.separator)]
    names = _names(path, rows, header)
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
    names = tuple(name or f"Unnamed: {place}" for place, name in enumerate(first))
    for place, name in enumerate(names):
        if name in names[:place]:
            raise InputError(
                f"{path} has two columns called {name!r}, the {ordinal(names.index(name) + 1)} and "
                f"the {ordinal(place + 1)}: give each column a name of its own."
            )
    if len(rows) == 1:
        raise InputError(f"{path} has a line of names ({', '.join(names)}) and no rows below it.")
    return names


def _values_in(first: list[str], below: list[list[str]]) -> str:
    """What in a first line looks like values; empty where all looks like names."""
    numbers = [cell for cell in first if is_number(cell)]
    if numbers:
        return f"{numbers[0]} is a number"
    for place, cell in enumerate(first):
        again = sum(len(row) > place and row[place].strip() == cell for row in below)
        if cell and again:
            return f"{cell!r} stands again further down in the same column"
    return ""


def ordinal(number: int) -> str:
    """A place as people say it.

    Example:
        >>> [ordinal(place) for place in (1, 2, 3, 4, 11, 22)]
        ['1st', '2nd', '3rd', '4th', '11th', '22nd']
    """
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10)
    return f"{number}{ending or 'th'}"
