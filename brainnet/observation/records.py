"""Records: the one format of a run's binary files; what was written whole can always be read.

A file is a line that says whose it is, then records: length and CRC-32 of the content (two
unsigned 32-bit integers, little-endian), then the content. Whoever reads stops at the first
record that is not whole, so that a process may end, or a disk fill up, at any moment.
"""

import contextlib
import math
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from brainnet.errors import InputError
from brainnet.file_lock import hold, let_go

BEGINNING = b"brainnet records 1\n"
HEAD = struct.Struct("<II")


def records(content: bytes) -> Iterator[tuple[bytes, int]]:
    """Each whole record, with the position at which it ends.

    Args:
        content: a file's.

    Raises:
        InputError: where it is no such file.
    """
    place = len(BEGINNING)
    if content[:place] != BEGINNING[: len(content)]:
        raise InputError("this is no file of brainnet's records; it begins with something else.")
    while place + HEAD.size <= len(content):
        length, checksum = HEAD.unpack_from(content, place)
        record = content[place + HEAD.size : place + HEAD.size + length]
        if len(record) < length or zlib.crc32(record) != checksum:
            return
        place += HEAD.size + length
        yield record, place


class RecordFile:
    """A file of records, open for adding, and held against anybody else who would add to it.

    Args:
        path: made, with its folder, where it is missing.
        length: bytes that stay; records that do not end within them are dropped.

    Attributes:
        length: bytes up to the end of the last whole record.

    Raises:
        InputError: where somebody else is adding to it, or it is another kind of file.
        OSError: where it cannot be opened.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, RecordFile(Path(folder, "a.bin")) as file:
        ...     file.add(b"first")
        ...     [record for record, _ in records(file.path.read_bytes())]
        [b'first']
    """

    def __init__(self, path: Path, *, length: float = math.inf) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        # Unbuffered: what was added survives the process.
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0)
        try:
            self._hold()
            content = path.read_bytes()
            ends = [end for _, end in records(content) if end <= length]
            self.length = max(ends, default=0)
            self._file.truncate(self.length)
            if not self.length:
                self._write(BEGINNING)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        """The file is open since construction."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close, whatever happened."""
        self.close()

    def add(self, record: bytes) -> None:
        """Add a record at the end.

        Raises:
            OSError: where it cannot be written; the records before it stay as they were.
        """
        try:
            self._write(HEAD.pack(len(record), zlib.crc32(record)) + record)
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(self.length)
            raise

    def close(self) -> None:
        """Let go of the file."""
        if not self._file.closed:
            let_go(self._file)
            self._file.close()

    def _hold(self) -> None:
        try:
            hold(self._file)
        except BlockingIOError as error:
            raise InputError(
                f"{self.path} is being written by another watcher, here or in another process. "
                "Give each a folder of its own."
            ) from error

    def _write(self, content: bytes) -> None:
        self._file.seek(self.length)
        rest = memoryview(content)
        while rest:  # a disk that is nearly full takes a part
            rest = rest[self._file.write(rest) :]
        self.length += len(content)
