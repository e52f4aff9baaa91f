"""Head: the first rows of a file, by which it is decided what its columns hold."""

from collections.abc import Sequence
from typing import Any

import numpy as np

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
    there = typed.notna().any().to_numpy()
    kinds = "f" if file.writing.zeros else "iuf"
    looked_at = [
        name
        for name, kind, has in zip(typed.columns, typed.dtypes, there, strict=True)
        if name not in words and not (has and _is_number(kind, kinds))
    ]
    if not looked_at:
        return typed
    import pandas

    texts = next(iter(file.chunks(rows, text=looked_at, only=looked_at)))
    return pandas.concat([typed.drop(columns=looked_at), texts], axis=1)[list(names)]


def _is_plain(file: TextFile) -> bool:
    """Whether pandas takes nothing for a number that, as a text, might be none or another one."""
    writing = file.writing
    return writing.groups is None and (bool(writing.shown) or not writing.known)


def _is_number(kind: Any, kinds: str) -> bool:  # noqa: ANN401 - the type of a pandas Series
    return isinstance(kind, np.dtype) and kind.kind in kinds
