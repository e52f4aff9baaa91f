"""Picture rows: pictures to be answered, from a folder, a file, or a file of many."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainnet.data.array_files import DAMAGED, check_sizes
from brainnet.data.class_folders import files_in
from brainnet.data.decoding import Bytes
from brainnet.data.idx import is_idx, read_idx
from brainnet.data.notes import note
from brainnet.data.picture_arrays import are_fractions, as_bytes
from brainnet.data.picture_files import pictures_in
from brainnet.data.pixels import Pixels
from brainnet.data.wording import listed
from brainnet.errors import InputError
from brainnet.training.answers import rows_of_a_pass

FILE = "file"
"""The column that names the picture, where each is a file of its own."""

_FILES_AT_ONCE = 1024
_ARRAYS = (".npy", ".npz")


def parts_of_pictures(
    pixels: Pixels, source: Path, *, unnamed: bool = False, skip: bool = False
) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield pictures as rows of inputs, each part with the names of its files, if they have some.

    Args:
        pixels: the size and the colours that the run learnt from; others are brought to them.
        source: a folder, with pictures in it or in folders in it; one picture; an IDX file; or an
            array in an .npy or .npz file.
        unnamed: leave the names out.
        skip: leave out files that cannot be read as pictures, with a note that names them.

    Raises:
        InputError: there are no pictures, or one cannot be read.
    """
    if source.is_dir():
        return _of_files(pixels, _files(source), source, unnamed=unnamed, skip=skip)
    if is_idx(source):
        return _of_array(pixels, read_idx(source))
    if source.suffix.lower() in _ARRAYS:
        return _of_array(pixels, _loaded(source))
    return _of_files(pixels, [source], source.parent, unnamed=unnamed, skip=skip)


def picture_of(pixels: Pixels, source: Path, number: int | None) -> tuple[Bytes, Path, int | None]:
    """Read one picture, as a row of inputs (1, inputs), of those of `parts_of_pictures`.

    Args:
        pixels: as there.
        source: as there.
        number: of the picture, from 0, in their order; None where the source is one picture.

    Returns:
        The row; the file that holds it, and its number there if that holds several.

    Raises:
        InputError: there is no such picture, or it cannot be read.
    """
    several = source.is_dir() or is_idx(source) or source.suffix.lower() in _ARRAYS
    if number is None and several:
        raise InputError(
            f"which of the pictures of {source}? Say --row N (in Python, number), from 0."
        )
    wanted, before = number or 0, 0
    if source.is_dir():  # none but this one is decoded
        files = _files(source)
        if 0 <= wanted < len(files):
            ((_, row),) = _of_files(pixels, files[wanted : wanted + 1], source, unnamed=True)
            return row, files[wanted], None
        before = len(files)
    else:
        for _, rows in parts_of_pictures(pixels, source):
            if 0 <= wanted - before < len(rows):
                return rows[wanted - before :][:1], source, number if several else None
            before += len(rows)
    raise InputError(
        f"{source} has pictures 0 to {before - 1:,}; got {number}. They are counted from 0, files "
        "in the order of their names."
    )


def _files(folder: Path) -> list[Path]:
    files = list(files_in(folder))
    if not files:
        raise InputError(f"{folder} holds no files. Name a folder of pictures, or a picture.")
    return files


def _of_files(
    pixels: Pixels, files: list[Path], folder: Path, *, unnamed: bool, skip: bool = False
) -> Iterator[tuple[dict[str, Any], Any]]:
    for start in range(0, len(files), _FILES_AT_ONCE):
        part = files[start : start + _FILES_AT_ONCE]
        rows, broken = pixels.read(part)
        if broken:
            told = listed([f"{part[place]} ({why})" for place, why in broken.items()], 3)
            what = f"cannot be read as {'a picture' if len(broken) == 1 else 'pictures'}"
            if not skip:
                raise InputError(
                    f"{told} {what}. Replace or remove what is broken (brainnet predict leaves it "
                    "out with --broken skip)."
                )
            note(f"{told} {what}: left out.")
            whole = [place for place in range(len(part)) if place not in broken]
            part, rows = [part[place] for place in whole], rows[whole]
            if not part:
                continue
        names = np.array([file.relative_to(folder).as_posix() for file in part], dtype=object)
        yield ({} if unnamed else {FILE: names}), rows


def _of_array(pixels: Pixels, values: NDArray[Any]) -> Iterator[tuple[dict[str, Any], Any]]:
    if not len(values):
        raise InputError("there are no pictures in it: an array of none.")
    rows = rows_of_a_pass(values[0].size)
    fractions = are_fractions(values)  # asked of all: a dark part of 0 to 255 may look like some
    for start in range(0, len(values), rows):
        part = as_bytes(values[start : start + rows], "pictures", fractions=fractions)
        yield {}, pixels.apply(part)


def _loaded(path: Path) -> NDArray[Any]:
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            name = pictures_in(found.files)
            if name is None:
                raise InputError(
                    f"{path} holds {listed(found.files)}, and none of them is known to be "
                    f"pictures. Name the array images: numpy.savez(path, images=...)."
                )
            check_sizes(path, found.zip)
            array: NDArray[Any] = found[name]
            return array
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(f"{path} cannot be read as an array of pictures: {error}.") from error
