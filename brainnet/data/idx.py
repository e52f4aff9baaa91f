"""IDX: the format of MNIST's files, arrays of bytes behind a few numbers that tell their size."""

import gzip
import math
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from brainnet.errors import InputError

_BYTES = 0x08
_GZIP = b"\x1f\x8b"
_MOST_UNZIPPED = 1100  # times its size: gzip can do no more


def is_idx(path: Path) -> bool:
    """Whether the name of a file is that of an IDX file: MNIST's end in `-ubyte` or `-ubyte.gz`."""
    name = path.name.lower().removesuffix(".gz")
    return name.endswith(("ubyte", ".idx"))


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Return the array of an IDX file, gzipped or not.

    Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits".

    Raises:
        InputError: it is no IDX file of bytes, or cut off.
    """
    try:
        with path.open("rb") as plain:
            zipped = plain.read(2) == _GZIP
        with gzip.open(path) if zipped else path.open("rb") as file:
            return _array(cast(IO[bytes], file), path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path} is a damaged gzip file: {error}. Download or copy it again."
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error


def _array(file: IO[bytes], path: Path) -> NDArray[np.uint8]:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or not 1 <= head[3] <= 4:
        raise InputError(
            f"{path} is no IDX file: it must begin with two zeros, a type and a number of sizes; "
            f"it begins with {head.hex(' ') or 'nothing'}."
        )
    if head[2] != _BYTES:
        raise InputError(
            f"{path} must hold bytes (type 08), as pictures and labels do; it holds type "
            f"{head[2]:02x}."
        )
    sizes = tuple(np.frombuffer(file.read(4 * head[3]), ">u4").astype(int).tolist())
    wanted = math.prod(sizes)
    # No more is asked for than can be there: room is made for all of it before any is read.
    content = bytearray(file.read(min(wanted + 1, _MOST_UNZIPPED * path.stat().st_size)))
    if len(sizes) != head[3] or len(content) != wanted:
        told = " x ".join(map(str, sizes))
        found = "more" if len(content) > wanted else f"{len(content):,}"
        raise InputError(
            f"{path} must hold {told} = {wanted:,} bytes by its own head; it holds {found}. "
            "Download or copy it again."
        )
    return np.frombuffer(content, np.uint8).reshape(sizes)
