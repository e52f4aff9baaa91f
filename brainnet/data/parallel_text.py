"""Parallel text: a table of text cut at the ends of lines, the pieces parsed by two threads.

pandas lets other threads go on while it tells cells apart and makes numbers of them. A piece gives
the rows that its lines give among all others; where that is in doubt, nobody goes on from there.
"""

import codecs
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from typing import IO, Any, NamedTuple

import numpy as np

from brainnet.data.row_file import Frame

ENCODINGS = ("utf-8", "cp1252")
"""Those in which the byte of the end of a line is never a part of another sign."""

_MOST_THREADS = 2
_LONGEST_LINE = 1 << 20
_BYTES_OF_A_LINE = 64  # a first guess


class Piece(NamedTuple):
    """Whole lines of a file, and how many."""

    text: bytes
    lines: int


def threads() -> int:
    """How many threads parse: no more than there are cores for us, or the user asks for."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    chosen = os.environ.get("OMP_NUM_THREADS", "")
    return min(_MOST_THREADS, cores or 1, int(chosen) if chosen.isdigit() else _MOST_THREADS)


def first_lines(file: IO[bytes], lines: int) -> list[bytes] | None:
    """Read so many lines, without the mark of UTF-8 before them; None where one has no end."""
    if file.read(3) != codecs.BOM_UTF8:
        file.seek(0)
    found = [file.readline(_LONGEST_LINE) for _ in range(lines)]
    return found if all(line.endswith(b"\n") for line in found) else None


def parsed(
    file: IO[bytes], rows: int, encoding: str, opened: Callable[["Feed"], Any], row: bytes
) -> Generator[Frame, None, int | None]:
    """Yield rows from where a file stands, in order, so many at a time, for as long as it is sure.

    Args:
        file: stands at the begin of a row.
        rows: of a part; the last may have fewer.
        encoding: of the file, one of `ENCODINGS`.
        opened: makes of a feed of UTF-8 a pandas parser, for which the first line is no row.
        row: any line with as many cells as each must have.

    Returns:
        None at the end of the file; or how many rows were given, where a line after them is no row,
        or cannot be read.
    """
    parsers = [_Parser(rows, encoding, opened, row) for _ in range(_MOST_THREADS)]
    given = 0
    for frame in _in_turns(parsers, cut(file, rows)):
        if frame is None:
            return given
        frame.index = range(given, given + len(frame))
        given += len(frame)
        yield frame
    return None


def _in_turns(parsers: list["_Parser"], pieces: Iterator[Piece]) -> Iterator[Frame | None]:
    """Yield what becomes of the pieces, in order; each parser has one at a time."""
    for piece in pieces:  # the first alone: often no more is asked for, or lines are no rows here
        yield parsers[0].parse(piece)
        break
    coming: deque[Future[Frame | None]] = deque()
    with ThreadPoolExecutor(len(parsers), "parsing") as pool:
        for parser, piece in zip(cycle(parsers), pieces, strict=False):
            done = [coming.popleft().result()] if len(coming) == len(parsers) else []
            coming.append(pool.submit(parser.parse, piece))
            yield from done
        for future in coming:
            yield future.result()


def cut(file: IO[bytes], rows: int) -> Iterator[Piece]:
    r"""Yield the rest of a file, so many lines at a time, without empty lines at its end.

    Example:
        >>> import io
        >>> list(cut(io.BytesIO(b"1,2\n3,4\n5,6\n7,8\n\n"), 3))
        [Piece(text=b'1,2\n3,4\n5,6\n', lines=3), Piece(text=b'7,8', lines=1)]
    """
    text, wanted = b"", rows * _BYTES_OF_A_LINE
    while True:
        while (lines := _ends_of_lines(text)) < rows and (more := file.read(wanted)):
            text += more
            each = len(text) / max(1, _ends_of_lines(text))
            wanted = int(1.01 * each * max(1, rows - lines)) + 1
        if lines < rows:
            break
        end = len(text)
        for _ in range(lines - rows + 1):
            end = text.rindex(b"\n", 0, end)
        yield Piece(text[: end + 1], rows)
        text = text[end + 1 :]
        wanted = max(1, int(1.01 * (end + 1)) - len(text))
    text = text.rstrip(b"\r\n")
    if text:
        yield Piece(text, _ends_of_lines(text) + 1)


def _ends_of_lines(text: bytes) -> int:
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord("\n")))


class Feed:
    """What a parser takes for a file: it ends with each piece, and goes on with the next."""

    def __init__(self) -> None:
        self._text, self._place = b"", 0

    def put(self, text: bytes) -> None:
        """Give more to read."""
        self._text, self._place = text, 0

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, at most so many."""
        end = len(self._text) if size < 0 else self._place + size
        part = self._text[self._place : end]
        self._place += len(part)
        return part

    def __iter__(self) -> Iterator[bytes]:
        """Return nothing that anybody asks for: pandas knows a file by it."""
        return iter(())


class _Parser:
    """Parses one piece after another; kept, since a new one costs as much as thousands of rows."""

    def __init__(self, rows: int, encoding: str, opened: Callable[[Feed], Any], row: bytes) -> None:
        self._rows, self._encoding = rows, encoding
        self._feed = Feed()
        # Once for the names of columns; once more, as pandas counts no cells of the row below them.
        self._feed.put(2 * row)
        self._reader = opened(self._feed)
        self._reader.get_chunk(1)

    def parse(self, piece: Piece) -> Frame | None:
        """Return the rows of a piece; None unless each line is one, and nothing is left of it."""
        text = piece.text
        # A return alone ends a line too; without one there are never more rows than ends of lines,
        # and fewer where a quoted cell goes over several, or nothing stands in one.
        if b"\r" in text and text.count(b"\r") != text.count(b"\r\n"):
            return None
        try:
            self._feed.put(text if text.isascii() else text.decode(self._encoding).encode())
            frame = self._reader.get_chunk(self._rows)
        except (ValueError, StopIteration):
            return None
        finally:
            self._feed.put(b"")
        return frame if len(frame) == piece.lines else None
