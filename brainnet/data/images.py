"""Images: the user's own pictures, from a folder for each class, IDX files as MNIST's, or .npz."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch

from brainnet.data.dataset import Dataset, classification_task
from brainnet.data.image_files import (
    BrokenPictureError,
    Bytes,
    ImageArrays,
    ImageEncoder,
    Labelled,
    Look,
    channels_last,
    classes_of,
    find_arrays,
    find_classes,
    inspect_image,
    labels_of,
    quiet_pillow,
    rows_of,
    to_bytes,
)
from brainnet.data.validation import (
    check_one_of,
    check_whole_number,
    get_total_memory,
    join_names,
    report_warning,
)
from brainnet.errors import InputError, did_you_mean

Colours = Literal["auto", "grey", "rgb"]

Broken = Literal["refuse", "skip"]

_LARGEST_SIDE = 16_384

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Images:
    """Pictures from files: a folder for each class, IDX files as MNIST's, or arrays in an .npz.

    They stay bytes in memory and become numbers by the batch, where training computes. All pixels
    of a colour share one scale, so that none that is hardly ever inked is blown up.

    A folder holds a folder of pictures for each class; or folders `train` and `test` (and
    `validation`) which hold these; or IDX files: `train-images-idx3-ubyte`, `train-labels-...`,
    `t10k-images-...`, gzipped or not. An .npz file holds `images` and `labels`, or `x_train`,
    `y_train`, `x_test`, `y_test`. Where no pictures validate or test, a share of the others does.

    Attributes:
        path: the folder or file.
        size: the height and width that every picture is brought to: one number for a square, or
            (height, width). None: as they are, if they are all alike.
        colours: "grey", "rgb", or "auto": grey if all pictures are.
        broken: whether a file that cannot be read as a picture is refused, or left out.
        labels: the file of labels that belongs to a file of pictures; None finds it by its name.

    Raises:
        InputError: an option is wrong; `load`: the pictures are, with the files named.
    """

    path: str | Path
    size: int | Sequence[int] | None = None
    colours: Colours = "auto"
    broken: Broken = "refuse"
    labels: str | Path | None = None

    def __post_init__(self) -> None:
        """Check the options."""
        check_one_of("data.colours", self.colours, get_args(Colours))
        check_one_of("data.broken", self.broken, get_args(Broken))
        _sides(self.size)

    def load(self, seed: int) -> Dataset:
        """Read the pictures, whatever the seed."""
        path = Path(self.path).expanduser()
        if not path.exists():
            near = (
                sorted(each.name for each in path.parent.iterdir()) if path.parent.is_dir() else []
            )
            raise InputError(
                f"data.path={self.path}: there is no such folder or file."
                f"{did_you_mean(path.name, near)}"
            )
        found = find_arrays(path, None if self.labels is None else Path(self.labels).expanduser())
        return self._of_files(path) if found is None else self._of_arrays(found, path)

    def _of_files(self, folder: Path) -> Dataset:
        """Read class folders: all heads first, which tell the size, then all pictures."""
        names, parts = find_classes(folder)
        looks, broken = _looks([file for part in parts for file in part.files])
        pixels = self._pixels_of_files(looks, folder)
        parts = self._kept(parts, broken, folder, names)
        _check_room(sum(len(part.files) for part in parts), pixels)
        files = [file for part in parts for file in part.files]
        rows, unread = pixels.read(files)
        if unread:
            broken = {files[place]: reason for place, reason in unread.items()}
            parts = self._kept(parts, broken, folder, names)
            whole = np.ones(len(rows), bool)
            whole[list(unread)] = False
            rows = rows[whole]
        labels = np.array([label for part in parts for label in part.labels], np.int64)
        return _dataset(folder, pixels, rows, labels, names, [len(part.files) for part in parts])

    def _pixels_of_files(self, looks: dict[Path, Look], folder: Path) -> ImageEncoder:
        if not looks:
            raise InputError(
                f"none of the files in {folder} can be read as a picture. Name a folder with a "
                "folder of pictures (PNG, JPEG, ...) for each class."
            )
        sizes = Counter((look.height, look.width) for look in looks.values())
        height, width = _sides(self.size) or next(iter(sizes))
        if self.size is None and len(sizes) > 1:
            raise InputError(_unequal(looks, sizes, folder))
        coloured = any(look.coloured for look in looks.values())
        return ImageEncoder(height, width, self._channels(coloured))

    def _channels(self, coloured: bool) -> int:
        return 3 if self.colours == "rgb" or (self.colours == "auto" and coloured) else 1

    def _kept(
        self,
        parts: Sequence[Labelled],
        broken: dict[Path, str],
        folder: Path,
        names: Sequence[str],
    ) -> list[Labelled]:
        """Leave out broken files, if that was asked for, and see that no class is empty then."""
        if not broken:
            return list(parts)
        told = join_names([f"{file} ({reason})" for file, reason in broken.items()], _NAMED)
        if self.broken == "refuse":
            raise InputError(
                f"{told} cannot be read as {'a picture' if len(broken) == 1 else 'pictures'}. "
                "Replace or remove what is broken, or set data.broken=skip to leave it out."
            )
        files = "1 file" if len(broken) == 1 else f"{len(broken):,} files"
        report_warning(f"{files} left out that cannot be read as pictures: {told}")
        kept = [
            [pair for pair in zip(part.files, part.labels, strict=True) if pair[0] not in broken]
            for part in parts
        ]
        lost = set(parts[0].labels) - {label for _, label in kept[0]}
        if lost:
            raise InputError(
                f"no file of the class {names[min(lost)]!r} in {folder} can be read as a picture, "
                f"so it could not be learnt: {told}. Replace the files, or remove the class."
            )
        return [
            Labelled(tuple(file for file, _ in part), tuple(label for _, label in part))
            for part in kept
        ]

    def _of_arrays(self, found: ImageArrays, path: Path) -> Dataset:
        """Bring arrays, those that train, validate and test, to rows of bytes."""
        parts = [
            channels_last(to_bytes(images, name), name)
            for images, name in zip(found.images, found.image_names, strict=True)
        ]
        labels = [
            labels_of(each, len(part), name)
            for each, part, name in zip(found.labels, parts, found.label_names, strict=True)
        ]
        if not len(parts[0]):
            raise InputError(
                f"{path} holds no pictures to train on: {found.image_names[0]} is empty."
            )
        names, classes = classes_of(labels, found.label_names[0])
        sizes = Counter(part.shape[1:3] for part in parts if len(part))
        if self.size is None and len(sizes) > 1:
            told = " and ".join(f"{height} x {width}" for height, width in sizes)
            raise InputError(
                f"the pictures in {path} have the sizes {told} (height x width), and a network "
                f"reads one. Set data.size={_typed(sizes.most_common(1)[0][0])}."
            )
        height, width = _sides(self.size) or parts[0].shape[1:3]
        coloured = any(part.shape[3] == 3 for part in parts)
        pixels = ImageEncoder(height, width, self._channels(coloured))
        _check_room(sum(map(len, parts)), pixels)
        counts = [len(part) for part in parts]
        rows = [rows_of(part, pixels.height, pixels.width, pixels.channels) for part in parts]
        stacked = rows[0] if len(rows) == 1 else np.concatenate(rows)
        return _dataset(path, pixels, stacked, classes, names, counts)


def _dataset(
    path: Path,
    pixels: ImageEncoder,
    rows: Bytes,
    labels: "np.ndarray[tuple[int], np.dtype[np.int64]]",
    names: tuple[str, ...],
    counts: Sequence[int],
) -> Dataset:
    train, validation, test = (*counts, 0, 0)[:3]
    name = path.resolve().name.partition(".")[0] or "images"
    return Dataset(
        name,
        classification_task(len(names)),
        torch.from_numpy(rows),
        torch.from_numpy(labels),
        pixels.names,
        names,
        pixels.shape,
        encoder=pixels,
        part_sizes=(train, validation, test) if validation or test else None,
    )


def _looks(files: Sequence[Path]) -> tuple[dict[Path, Look], dict[Path, str]]:
    looks: dict[Path, Look] = {}
    broken: dict[Path, str] = {}
    with quiet_pillow():
        for file in files:
            try:
                looks[file] = inspect_image(file)
            except BrokenPictureError as error:
                broken[file] = str(error)
    return looks, broken


def _unequal(looks: dict[Path, Look], sizes: Counter[tuple[int, int]], folder: Path) -> str:
    common, number = sizes.most_common(1)[0]
    other = next(file for file, look in looks.items() if (look.height, look.width) != common)
    strange = looks[other]
    usual = number > len(looks) / 2 and max(common) <= 128
    size = _typed(common if usual else (32, 32))
    return (
        f"the {len(looks):,} pictures in {folder} have {len(sizes)} sizes, and a network reads "
        f"one: {number:,} {'has' if number == 1 else 'have'} {common[0]} x {common[1]} (height x "
        f"width), but {other} has {strange.height} x {strange.width}. Set data.size={size}, "
        "or another (height, width), and all are brought to it."
    )


def _typed(sides: tuple[int, ...]) -> str:
    """Return a size as it is typed."""
    height, width = sides
    return str(height) if height == width else f"[{height},{width}]"


def _sides(size: object) -> tuple[int, int] | None:
    """Return (height, width) of a size that was asked for."""
    if size is None:
        return None
    sides = (size, size) if not isinstance(size, Sequence) else tuple(size)
    if isinstance(size, str) or len(sides) != 2:
        raise InputError(
            f"data.size must be one number for a square, or two: [height,width]; got {size!r}."
        )
    height, width = (
        check_whole_number("data.size", side, least=1, most=_LARGEST_SIDE) for side in sides
    )
    return height, width


def _check_room(pictures: int, pixels: ImageEncoder) -> None:
    """Raise an InputError where the pictures do not fit into this machine's memory."""
    there, needed = get_total_memory(), pictures * pixels.inputs
    if there is not None and needed > there:
        raise InputError(
            f"{pictures:,} pictures of {pixels.height} x {pixels.width} need "
            f"{needed / 1e9:,.0f} GB of memory; this machine has {there / 1e9:,.0f} GB. Set "
            "data.size=64 or another size, and all are brought to it."
        )
