"""Whole file: a file that a reader, or a crash, sees as it was before or complete, never a half."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears under its name once it is complete, and of which else nothing stays.

    Of a link, the file that it leads to is replaced; a pipe or a device is written to as it is.

    Raises:
        OSError: it cannot be written there.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    path = path.resolve()
    # Not by tempfile, whose files nobody else may read; of its own name all the same.
    beside = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    try:
        with beside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a half."""
    with written_whole(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
