"""Row file: a file of rows that is read a part at a time, in its own order."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Protocol

CHUNK_ROWS = 65_536

Frame = Any  # a pandas DataFrame


class RowFile(Protocol):
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
        rows: int = CHUNK_ROWS,
        *,
        text: Collection[str] = (),
        only: Collection[str] | None = None,
    ) -> Iterator[Frame]:
        """Yield pandas DataFrames of at most so many rows, indexed by the rows of the file from 0.

        Args:
            rows: of a part.
            text: columns to read as texts, where the file itself does not say what they are.
            only: columns to read; all of them by default.

        Raises:
            InputError: a row cannot be read.
        """
        ...
