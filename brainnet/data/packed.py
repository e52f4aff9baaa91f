"""Packed: files that gzip, bzip2 or xz made smaller, opened like any other."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

_OPENED_BY: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}

# What reading a broken one raises.
BROKEN = (OSError, EOFError, lzma.LZMAError, zlib.error)


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file to read what was packed into it, as its ending says."""
    opened: IO[bytes] = _OPENED_BY.get(path.suffix.lower(), open)(path, "rb")
    return opened


def open_text(path: Path, encoding: str) -> IO[str]:
    """Open a file to read the text that was packed into it, with its ends of lines as they are."""
    by = _OPENED_BY.get(path.suffix.lower(), open)
    opened: IO[str] = by(path, "rt", encoding=encoding, errors="replace", newline="")
    return opened
