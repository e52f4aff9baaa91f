"""Signs: how a file writes its numbers, held to what was learnt from another file."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from brainnet.data.cells import is_typed, numbers
from brainnet.data.columns import Columns
from brainnet.data.notes import note
from brainnet.data.recognition import Writing, doubtful
from brainnet.data.row_file import RowFile
from brainnet.data.text_files import TextFile

_CALLED = {".": "a point", ",": "a comma"}


def signs_of(file: RowFile) -> tuple[str, str]:
    """The decimal sign and the one between thousands; "" where the file does not show them."""
    if not isinstance(file, TextFile):
        return "", ""
    return file.writing.known, file.writing.groups or ""


def tell_doubt(file: RowFile, head: Any, names: Iterable[str]) -> None:  # noqa: ANN401
    """Say so where every number with a decimal sign could be one of thousands as well: `1.234`.

    Args:
        file: of the rows.
        head: its first rows, a pandas DataFrame of texts.
        names: of the columns that are read as numbers.
    """
    if not isinstance(file, TextFile) or file.writing.shown or not file.writing.known:
        return
    decimal = file.writing.known
    cell = doubtful((text for name in names for text in head[name].dropna().unique()), decimal)
    if cell is not None:
        as_read, without = cell.replace(decimal, "."), cell.replace(decimal, "")
        note(
            f"numbers such as {cell} in {file.path} can be read in two ways, and no cell shows in "
            f"which: they are read as {as_read}, with a decimal sign, not as {without}. If it "
            f"stands between thousands, write {without} in the file."
        )


def typed(columns: Columns, frame: Any) -> Any:  # noqa: ANN401 - pandas DataFrames
    """A frame whose columns of numbers hold numbers, where every cell is one."""
    found = frame
    for column in columns.columns:
        cells = frame[column.name]
        if column.kind == "number" and not is_typed(cells):
            values, wrong = numbers(cells, column.decimal or columns.decimal)
            if not wrong.any():  # else it is refused, with its row, where rows are encoded
                found = found.assign(**{column.name: values})
    return found


def agreed(columns: Columns, file: RowFile) -> tuple[Columns, RowFile]:
    """Columns and another file of rows that mean the same by a point and by a comma.

    `1.234` alone is one number or another; the file that was learnt from says which. A file that
    is written the other way is read its own way, which is noted: cells show it beyond doubt, or
    commas stand in lines that are not divided by commas.
    """
    if not isinstance(file, TextFile):
        return columns, file
    writing = file.writing
    if not columns.decimal:
        return replace(columns, decimal=writing.known, groups=writing.groups or ""), file
    shown = writing.shown or _comma_by_separator(columns, writing)
    if shown and shown != columns.decimal:
        note(
            f"{file.path} writes decimals with {_CALLED[shown]}, the rows that were learnt "
            f"from with {_CALLED[columns.decimal]}. Its numbers are read as it writes them."
        )
        own = replace(writing, decimal=shown)
        if writing.decimal != shown:
            own = replace(own, groups=None)
        return (
            replace(columns, decimal=own.decimal, groups=own.groups or ""),
            replace(file, writing=own),
        )
    groups = columns.groups or None
    if groups is None and writing.decimal == columns.decimal:
        groups = writing.groups
    return columns, replace(file, writing=replace(writing, decimal=columns.decimal, groups=groups))


def _comma_by_separator(columns: Columns, writing: Writing) -> str:
    """The decimal comma of lines of semicolons, "" unless it is there: `256,400;9,554`.

    Every number may have three decimals, so that none shows it. Where commas stood between the
    thousands that were learnt from, they still do.
    """
    divided = writing.separator == "," or columns.groups == ","
    return "," if writing.decimal == "," and not divided else ""
