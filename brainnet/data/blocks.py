"""Blocks: rows that come a few at a time, in memory that is given back piece by piece."""

import mmap
import sys
from collections.abc import Iterator

import numpy as np

from brainnet.data.cells import Numbers

CELLS_AT_ONCE = 1 << 24
"""Inputs that are made of stored rows at a time, as float32: 64 MB."""

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
