"""Head: the first rows of a file, by which it is decided what its columns hold."""

from collections.abc import Sequence

import numpy as np

from brainnet.data.cells import Cells
from brainnet.data.row_file import Frame, RowFile
from brainnet.data.text_files import TextFile


def head_of(
    file: RowFile, rows: int, names: Sequence[str], *, words: Sequence[str] = ()
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
