"""Recognition: how a file of text is written: its encoding, its separator, its numbers."""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from brainnet.data.packed import BROKEN, open_bytes
from brainnet.errors import InputError

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
