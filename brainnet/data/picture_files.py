"""Picture files: where arrays of pictures and their labels lie, in IDX files or in one .npz."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainnet.data.array_files import DAMAGED, check_sizes
from brainnet.data.class_folders import PARTS, shown
from brainnet.data.idx import is_idx, read_idx
from brainnet.data.wording import listed
from brainnet.errors import InputError
from brainnet.suggestion import override

_IMAGES = ("images", "image", "x", "pictures", "data", "inputs", "arr_0")
_LABELS = ("labels", "label", "y", "targets", "target", "classes", "arr_1")
# What the parts are called: MNIST's test files are the "ten thousand".
_PREFIXES = {**PARTS, "test": (*PARTS["test"], "t10k")}


@dataclass(frozen=True, slots=True)
class PictureArrays:
    """Pictures that train, validate and test, each with their labels and what both are called."""

    images: tuple[NDArray[Any], ...]
    labels: tuple[NDArray[Any], ...]
    image_names: tuple[str, ...]
    label_names: tuple[str, ...]


def find_arrays(path: Path, labels: Path | None) -> PictureArrays | None:
    """Return the arrays that a path leads to; None where it is a folder of other files.

    Raises:
        InputError: a file is none that holds arrays, or is damaged, or lacks its partner.
    """
    if path.is_dir():
        files = [file for file in shown(path) if file.is_file() and is_idx(file)]
        return _of_folder(files, path) if files else None
    if path.suffix.lower() == ".npz":
        return _of_npz(path)
    if is_idx(path):
        return _read([(path, labels or _partner(path))])
    raise InputError(
        f"data.path={path} is no folder of class folders, no IDX file (...-ubyte, gzipped or not) "
        "and no .npz file, and data=images reads these. For rows of a table choose data=table."
    )


def _of_folder(files: Sequence[Path], folder: Path) -> PictureArrays:
    """Return the pairs of IDX files in a folder."""
    images = [file for file in files if "labels" not in file.name.lower()]
    found: dict[str, Path] = {}
    for part, prefixes in _PREFIXES.items():
        fitting = [file for file in images if file.name.lower().startswith(prefixes)]
        if len(fitting) > 1:
            raise InputError(
                f"{folder} holds {listed([file.name for file in fitting])}, and each could be the "
                f"pictures to {part} on. Leave one, or name the file: "
                f"{override('data.path', str(fitting[0]))}."
            )
        if fitting:
            found[part] = fitting[0]
    if "train" not in found:
        raise InputError(
            f"{folder} must hold IDX files whose names begin with train-images and train-labels; "
            f"it holds {listed([file.name for file in files])}. Or name a file of pictures itself."
        )
    empty: tuple[Path, Path] | None = None
    return _read(
        [(found[part], _partner(found[part])) if part in found else empty for part in PARTS]
    )


def _partner(images: Path) -> Path:
    """Return the file of labels beside a file of pictures, as MNIST's are called."""
    name = images.name.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1")
    stem = name.removesuffix(".gz")
    for candidate in (name, stem, f"{stem}.gz"):
        if candidate != images.name and images.with_name(candidate).is_file():
            return images.with_name(candidate)
    raise InputError(
        f"the labels of {images} are missing: {images.with_name(name)} would be their file. Put it "
        "there, or name it: data.labels=..."
    )


def _read(pairs: Iterable[tuple[Path, Path] | None]) -> PictureArrays:
    images: list[NDArray[Any]] = []
    labels: list[NDArray[Any]] = []
    names: list[tuple[str, str]] = []
    for pair in pairs:
        if pair is None:
            images.append(images[0][:0])
            labels.append(labels[0][:0])
        else:
            images.append(_sized(read_idx(pair[0]), pair[0], (3, 4), "pictures"))
            labels.append(_sized(read_idx(pair[1]), pair[1], (1,), "labels"))
        names.append((str(pair[0]), str(pair[1])) if pair else names[0])
    image_names, label_names = zip(*names, strict=True)
    return PictureArrays(tuple(images), tuple(labels), image_names, label_names)


def _sized(
    values: NDArray[np.uint8], path: Path, sizes: tuple[int, ...], what: str
) -> NDArray[np.uint8]:
    if values.ndim in sizes:
        return values
    hint = " Are the files of pictures and labels exchanged?" if values.ndim in (1, 3) else ""
    raise InputError(
        f"{path} must hold {what}, an array of {' or '.join(map(str, sizes))} sizes; it has "
        f"{values.ndim}: {' x '.join(map(str, values.shape))}.{hint}"
    )


def _of_npz(path: Path) -> PictureArrays:
    try:
        # Opened here: of a file that is no archive NumPy would leave it open.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            names = _pairs(file.files, path)
            check_sizes(path, file.zip)
            arrays = {name: file[name] for pair in names if pair for name in pair}
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(
            f"{path} cannot be read as an .npz file: {error}. Write it by numpy.savez(path, "
            "images=..., labels=...), with arrays of numbers or words."
        ) from error
    return _stacked(names, arrays, path)


def _stacked(
    names: Sequence[tuple[str, str] | None], arrays: Mapping[str, NDArray[Any]], path: Path
) -> PictureArrays:
    train = names[0]
    assert train is not None, "without it there are no pairs"
    told = [pair or train for pair in names]
    return PictureArrays(
        tuple(
            arrays[a] if pair else arrays[a][:0] for pair, (a, _) in zip(names, told, strict=True)
        ),
        tuple(
            arrays[b] if pair else arrays[b][:0] for pair, (_, b) in zip(names, told, strict=True)
        ),
        tuple(f"{a} of {path}" for a, _ in told),
        tuple(f"{b} of {path}" for _, b in told),
    )


def _pairs(names: Sequence[str], path: Path) -> list[tuple[str, str] | None]:
    """Return which arrays are the pictures and labels that train, validate and test."""
    lower = {name.lower(): name for name in names}
    whole = _first(lower, _IMAGES), _first(lower, _LABELS)
    found: list[tuple[str, str] | None] = []
    for prefixes in _PREFIXES.values():
        pair = tuple(
            _first(
                lower, [each for p in prefixes for w in words for each in (f"{p}_{w}", f"{w}_{p}")]
            )
            for words in (_IMAGES, _LABELS)
        )
        found.append((pair[0], pair[1]) if pair[0] and pair[1] else None)
    if found[0] is None and whole[0] and whole[1]:
        return [(whole[0], whole[1])]
    if found[0] is None:
        raise InputError(
            f"{path} must hold the arrays images and labels, or x_train, y_train, x_test and "
            f"y_test; it holds {listed(names) or 'none'}."
        )
    return found


def pictures_in(names: Sequence[str]) -> str | None:
    """Return which array of a file holds pictures to be answered, without their labels.

    Example:
        >>> pictures_in(["y_test", "x_test", "x_train"])
        'x_test'
    """
    lower = {name.lower(): name for name in names}
    prefixes = [*_PREFIXES["test"], *_PREFIXES["train"]]
    parts = [each for p in prefixes for w in _IMAGES for each in (f"{p}_{w}", f"{w}_{p}")]
    return _first(lower, [*_IMAGES, *parts])


def _first(there: Mapping[str, str], wanted: Iterable[str]) -> str | None:
    return next((there[name] for name in wanted if name in there), None)
