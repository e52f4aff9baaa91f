"""Array files: tables stored by NumPy, as one array (.npy) or several (.npz)."""

import math
import mmap
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import (
    MAGIC_PREFIX,
    read_array_header_1_0,
    read_array_header_2_0,
    read_magic,
)

from brainnet.data.row_file import Frame, check_unique, chosen_of, rows_at_once
from brainnet.errors import InputError

Array = np.ndarray[Any, np.dtype[Any]]

# What NumPy raises where a file is damaged, packed as nobody packs it, or locked by a password.
AGAIN = ". Is it whole, and of numbers? Save it again by numpy.save or numpy.savez."
DAMAGED: tuple[type[Exception], ...] = (OSError, EOFError, ValueError, KeyError, RuntimeError)
DAMAGED += (MemoryError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True, eq=False)
class ArrayFile:
    """Arrays side by side: each column is the column of an array of the file."""

    path: Path
    columns: tuple[str, ...]
    arrays: tuple[Array, ...]

    def chunks(
        self,
        rows: int | None = None,
        *,
        text: Collection[str] = (),
        only: Collection[str] | None = None,
    ) -> Iterator[Frame]:
        """Yield the rows; arrays know themselves which of them are texts."""
        import pandas

        chosen = chosen_of(self.columns, only)
        step = rows_at_once(rows, len(chosen))
        for start in range(0, len(self.arrays[0]), step):
            parts = [pandas.DataFrame(array[start : start + step]) for array in self.arrays]
            part = pandas.concat(parts, axis=1)
            part.columns = list(self.columns)
            part.index = pandas.RangeIndex(start, start + len(part))
            yield part if only is None else part[chosen]
            for array in self.arrays:
                _let_go(array)


def npy_file(path: Path) -> ArrayFile:
    """A table in one array: columns are called 0, 1, 2, ..., or as its fields are.

    Raises:
        InputError: the file is broken, or holds no table.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except DAMAGED as error:
        raise InputError(f"{path} cannot be read as a NumPy array: {error}{AGAIN}") from error
    if array.dtype.names:
        columns = tuple(array.dtype.names)
        return ArrayFile(path, columns, tuple(_table(path, name, array[name]) for name in columns))
    table = _table(path, "the array", array)
    return ArrayFile(path, tuple(map(str, range(table.shape[1]))), (table,))


def npz_file(path: Path) -> ArrayFile:
    """A table in several arrays of as many rows.

    An array of one number a row is a column of that name. The columns of a wider one are called
    0, 1, 2, ... where it is the only one, else by its name and the number: `x 0`.

    Raises:
        InputError: the file is broken, or its arrays do not fit together.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            check_sizes(path, stored.zip)
            arrays = {name: _table(path, name, stored[name]) for name in stored.files}
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(f"{path} cannot be read as NumPy arrays: {error}{AGAIN}") from error
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        told = ", ".join(f"{name} {rows}" for name, rows in lengths.items()) or "none"
        raise InputError(
            f"the arrays of {path} need equally many rows to be one table; there are: {told}."
        )
    columns = tuple(_array_columns(arrays))
    check_unique(path, columns)
    return ArrayFile(path, columns, tuple(arrays.values()))


def check_sizes(path: Path, stored: zipfile.ZipFile) -> None:
    """Refuse an array that is said to be larger than its file before memory is taken for it."""
    headers = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}
    for entry in stored.infolist():
        with stored.open(entry) as file:
            if file.read(len(MAGIC_PREFIX)) != MAGIC_PREFIX:
                raise InputError(f"{path}: {entry.filename} is no array. Leave it out.")
            file.seek(0)
            header = headers.get(read_magic(file))
            if header is None:
                continue
            shape, _, dtype = header(file)
            if math.prod(shape) * dtype.itemsize > entry.file_size:
                raise InputError(
                    f"{path}: {entry.filename} says that its shape is {shape}, and the file holds "
                    f"only {entry.file_size:,} bytes of it. It is damaged: write it again."
                )


def _array_columns(arrays: Mapping[str, Array]) -> list[str]:
    wide = [name for name, array in arrays.items() if array.shape[1] > 1]
    names = []
    for name, array in arrays.items():
        if name not in wide:
            names.append(name)
        else:
            names += [f"{name} {i}" if len(wide) > 1 else str(i) for i in range(array.shape[1])]
    return names


def _let_go(array: Array) -> None:
    """Take what was read of a mapped file out of memory; asked for again, it is read again."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):  # Windows has no such call
        mapped.madvise(mmap.MADV_DONTNEED)


def _table(path: Path, name: str, array: Array) -> Array:
    """The array as (rows, columns)."""
    if array.ndim not in (1, 2) or 0 in array.shape:
        raise InputError(
            f"{path}: {name} must be (rows,) or (rows, columns); its shape is {array.shape}. "
            "Pictures are read with data=images."
        )
    if array.dtype.kind == "c":
        raise InputError(f"{path}: {name} must be real numbers; got {array.dtype}.")
    if array.dtype.kind == "S":  # texts of bytes
        array = np.char.decode(array, "utf-8")
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return native.reshape(len(native), -1)
