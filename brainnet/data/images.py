"""Images: image data from class folders, or from IDX files such as MNIST's."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from brainnet.data.dataset import Dataset, classification_task
from brainnet.data.image_files import (
    BrokenImageError,
    Bytes,
    ImageEncoder,
    LabeledArrays,
    LabeledFile,
    find_labeled_files,
    read_header,
    read_labeled_arrays,
)
from brainnet.data.validation import (
    check_one_of,
    check_whole_number,
    format_count,
    get_total_memory,
    join_names,
    report_warning,
)
from brainnet.errors import InputError, did_you_mean

Colors = Literal["auto", "gray", "rgb"]
BrokenPolicy = Literal["error", "skip"]
_MAX_SIDE = 16_384
_MAX_NAMED = 3


@dataclass(frozen=True, slots=True)
class Images:
    """Images from class folders or IDX files.

    A folder contains a folder of images for each class; or the folders `train` and `test` (and
    `validation`), which contain these; or IDX files: `train-images-idx3-ubyte`, `train-labels-…`,
    `t10k-images-…`, compressed or not. Missing parts are split off the training part later.

    Attributes:
        path: the folder or file.
        size: height and width of all images: one number for a square, or (height, width). By
            default, their own size, if it is the same for all.
        colors: "gray", "rgb", or "auto": gray if all images are gray.
        broken: whether a file that is not a readable image is an error, or skipped with a warning.
        labels: file of labels for a file of images; by default, found by its name.
    """

    path: str | Path
    size: int | Sequence[int] | None = None
    colors: Colors = "auto"
    broken: BrokenPolicy = "error"
    labels: str | Path | None = None

    def __post_init__(self) -> None:
        """Check the options."""
        check_one_of("data.colors", self.colors, get_args(Colors))
        check_one_of("data.broken", self.broken, get_args(BrokenPolicy))
        _parse_size(self.size)

    def load(self, seed: int) -> Dataset:
        """Read the images; the seed has no effect."""
        path = Path(self.path).expanduser()
        if not path.exists():
            folder = path.parent
            names = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
            raise InputError(
                f"data.path={self.path}: there is no such folder or file."
                f"{did_you_mean(path.name, names)}"
            )
        labels = None if self.labels is None else Path(self.labels).expanduser()
        arrays = read_labeled_arrays(path, labels)
        return self._load_files(path) if arrays is None else self._load_arrays(arrays, path)

    def _load_files(self, folder: Path) -> Dataset:
        """Read class folders: first all headers, to choose the size, then all images."""
        class_names, files = find_labeled_files(folder)
        sizes: dict[Path, tuple[int, int]] = {}
        broken: dict[Path, str] = {}
        has_colors = False
        # Pillow warns of large images and damaged metadata.
        with warnings.catch_warnings(action="ignore"):
            for file in files:
                try:
                    sizes[file.path], is_colored = read_header(file.path)
                    has_colors |= is_colored
                except BrokenImageError as error:
                    broken[file.path] = str(error)
        if not sizes:
            raise InputError(
                f"none of the files in {folder} can be read as an image (PNG, JPEG, …)."
            )
        # All headers are read before an image is decoded, as errors shall be reported at once.
        encoder = self._build_encoder(folder, sizes, has_colors)
        files = self._remove_broken(files, broken, class_names)
        _check_memory(len(files), encoder)
        rows, unreadable = encoder.read_files([file.path for file in files])
        # A valid header does not mean that all pixels can be decoded.
        if unreadable:
            rows = np.delete(rows, list(unreadable), axis=0)
            broken = {files[index].path: reason for index, reason in unreadable.items()}
            files = self._remove_broken(files, broken, class_names)
        labels = np.array([file.label for file in files], np.int64)
        counts = Counter(file.part for file in files)
        return _build_dataset(folder, encoder, rows, labels, class_names, counts)

    def _build_encoder(
        self, path: Path, sizes: Mapping[Any, tuple[int, int]], has_colors: bool
    ) -> ImageEncoder:
        """Choose size and channels of all images; `sizes` are those of images by name."""
        names = {size: name for name, size in sizes.items()}
        usual, *others = (size for size, _ in Counter(sizes.values()).most_common())
        size = _parse_size(self.size)
        if size is None and others:
            other = others[0]
            raise InputError(
                f"the images in {path} must have the same size; {names[usual]} has {usual[0]} x "
                f"{usual[1]} (height x width) and {names[other]} {other[0]} x {other[1]}. Set "
                "data.size=32, or [height,width], to resize them."
            )
        is_rgb = self.colors == "rgb" or (self.colors == "auto" and has_colors)
        return ImageEncoder(*(size or usual), 3 if is_rgb else 1)

    def _remove_broken(
        self, files: list[LabeledFile], broken: Mapping[Path, str], class_names: Sequence[str]
    ) -> list[LabeledFile]:
        """Remove broken files with a warning, or raise an error, as the option requires."""
        if not broken:
            return files
        names = join_names([f"{path} ({reason})" for path, reason in broken.items()], _MAX_NAMED)
        if self.broken == "error":
            raise InputError(
                f"not a readable image: {names}. Replace or remove such files, or set "
                "data.broken=skip to skip them."
            )
        report_warning(f"skipped {format_count(len(broken), 'unreadable image')}: {names}")
        readable = [file for file in files if file.path not in broken]
        trained = {file.label for file in readable if file.part == "train"}
        # A class without training images would never be predicted.
        for label in set(range(len(class_names))) - trained:
            raise InputError(
                f"no training image of the class {class_names[label]!r} can be read: {names}. "
                "Replace the files, or remove the class."
            )
        return readable

    def _load_arrays(self, arrays: Mapping[str, LabeledArrays], path: Path) -> Dataset:
        class_names, classes = _encode_labels({part: y for part, (_, y) in arrays.items()}, path)
        sizes = {f"{part} images": images.shape[1:] for part, (images, _) in arrays.items()}
        encoder = self._build_encoder(path, sizes, has_colors=False)
        counts = {part: len(labels) for part, (_, labels) in arrays.items()}
        _check_memory(sum(counts.values()), encoder)
        rows = [encoder.resize(images[..., None]) for images, _ in arrays.values()]
        # No copy of a single part, which may be most of the memory.
        stacked = rows[0] if len(rows) == 1 else np.concatenate(rows)
        return _build_dataset(path, encoder, stacked, classes, class_names, counts)


def _encode_labels(
    labels: Mapping[str, Bytes], path: Path
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the class names, and the class of every image as an index."""
    # Labels may be any numbers, such as 1, 6, 11.
    known, classes = np.unique(np.concatenate(list(labels.values())), return_inverse=True)
    names = tuple(map(str, known.tolist()))
    trained = set(classes[: len(labels["train"])].tolist())
    if len(trained) < 2:
        raise InputError(
            f"{path} must contain two or more classes; all labels are {names[min(trained)]}."
        )
    for index, name in enumerate(names):
        if index not in trained:
            raise InputError(f"{path} has the class {name!r} without training images.")
    return names, classes.astype(np.int64)


def _build_dataset(
    path: Path,
    encoder: ImageEncoder,
    rows: Bytes,
    labels: np.ndarray,
    class_names: tuple[str, ...],
    counts: Mapping[str, int],
) -> Dataset:
    sizes = (counts.get("train", 0), counts.get("validation", 0), counts.get("test", 0))
    return Dataset(
        path.resolve().name.partition(".")[0] or "images",
        classification_task(len(class_names)),
        torch.from_numpy(rows),
        torch.from_numpy(labels),
        encoder.names,
        class_names,
        encoder.shape,
        encoder=encoder,
        part_sizes=sizes if any(sizes[1:]) else None,
    )


def _parse_size(size: object) -> tuple[int, int] | None:
    """Return (height, width) of the option `size`."""
    if size is None:
        return None
    sides = tuple(size) if isinstance(size, Sequence) else (size, size)
    if isinstance(size, str) or len(sides) != 2:
        raise InputError(
            f"data.size must be one number for a square, or [height,width]; got {size!r}."
        )
    height, width = (
        check_whole_number("data.size", side, least=1, most=_MAX_SIDE) for side in sides
    )
    return height, width


def _check_memory(images: int, encoder: ImageEncoder) -> None:
    total, needed = get_total_memory(), images * encoder.inputs
    if total is not None and needed > total:
        raise InputError(
            f"{images:,} images of {encoder.height} x {encoder.width} need {needed / 1e9:,.0f} GB "
            f"of memory; this machine has {total / 1e9:,.0f} GB. Set a smaller size, such as "
            "data.size=64."
        )
