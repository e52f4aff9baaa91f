"""Image files: read class folders and IDX files, and encode images as rows of bytes."""

import gzip
import itertools
import math
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from brainnet.data.preprocessing import sort_labels
from brainnet.data.validation import join_names
from brainnet.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from PIL import Image

Bytes = NDArray[np.uint8]
LabeledArrays = tuple[Bytes, Bytes]
"""Images (images, height, width) and labels (images,)."""

# Part of the data in each of these folders.
_PART_FOLDERS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
# How the names of MNIST's files begin.
_IDX_PREFIXES = {"train": ("train",), "test": ("t10k", "test")}
# Files that operating systems create; names that begin with a dot are hidden, too.
_SYSTEM_FILES = {"thumbs.db", "desktop.ini", "__macosx"}
_GRAY_MODES = ("1", "L", "LA")
_FILES_PER_TASK = 32
_EXIF_ORIENTATION = 0x0112
# Formats of photos. Pillow itself turns TIFF files, and would decode a PNG file to find the value.
_ORIENTED_FORMATS = ("JPEG", "MPO", "WEBP")


class BrokenImageError(Exception):
    """A file that cannot be read as an image; the message is the reason."""


class LabeledFile(NamedTuple):
    """An image file with its class, as an index, and the part of the data that it belongs to."""

    path: Path
    label: int
    part: str


def find_labeled_files(folder: Path) -> tuple[tuple[str, ...], list[LabeledFile]]:
    """Return class names and files of a folder with a folder for each class, or for each part."""
    parts = {_PART_FOLDERS.get(path.name.lower()): path for path in _list_folders(folder)}
    # A class may be named "train", too.
    if "train" not in parts or None in parts:
        parts = {"train": folder}
    names = tuple(sort_labels(path.name for path in _list_folders(parts["train"])))
    if len(names) < 2:
        raise InputError(
            f"{parts['train']} must contain two or more class folders with images; it contains "
            f"{names[0] if names else 'no folder'}. Move the images of each class into a folder "
            "with the name of the class."
        )
    files = []
    for part in [name for name in ("train", "validation", "test") if name in parts]:
        folders = {path.name: path for path in _list_folders(parts[part])}
        for name in sorted(folders.keys() - set(names)):
            raise InputError(
                f"{parts[part]} has a class {name!r} without training images. The classes are "
                f"{join_names(names)}.{did_you_mean(name, names)}"
            )
        for label, name in enumerate(names):
            paths = list_image_files(folders[name]) if name in folders else []
            if name in folders and not paths:
                raise InputError(f"the class folder {folders[name]} is empty. Remove it.")
            files += [LabeledFile(path, label, part) for path in paths]
    return names, files


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in _SYSTEM_FILES


def _list_visible(folder: Path) -> list[Path]:
    """List the content of a folder by name, without hidden files."""
    try:
        return [path for path in sorted(folder.iterdir()) if _is_visible(path.name)]
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror or error}.") from error


def _list_folders(folder: Path) -> list[Path]:
    return [path for path in _list_visible(folder) if path.is_dir()]


def list_image_files(folder: Path) -> list[Path]:
    """Return all files in a folder and its subfolders, by name; links to folders are skipped."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if all(map(_is_visible, path.relative_to(folder).parts))
        # Broken links are listed, and reported as broken images; pipes and devices are not.
        and (path.is_file() or (path.is_symlink() and not path.is_dir()))
    ]


def read_header(path: Path) -> tuple[tuple[int, int], bool]:
    """Return (height, width) of an image file, and whether it has colors, without decoding it."""
    with _open_image(path) as image:
        width, height = image.size
        # From 5, the image is turned by 90 degrees.
        if image.format in _ORIENTED_FORMATS and image.getexif().get(_EXIF_ORIENTATION, 1) >= 5:
            width, height = height, width
        return (height, width), image.mode not in _GRAY_MODES


def decode_image(path: Path, height: int, width: int, channels: int) -> Bytes:
    """Decode, turn and resize an image file, (channels, height, width); transparency is white."""
    from PIL import Image, ImageOps

    with _open_image(path) as image:
        # JPEG files are decoded at a fraction of their size if that is large enough.
        image.draft(None, (2 * max(height, width), 2 * max(height, width)))
        image.load()
        if image.format in _ORIENTED_FORMATS:
            ImageOps.exif_transpose(image, in_place=True)
        if image.mode[0] in "IF":
            raise BrokenImageError("its pixels have more than 8 bits per channel; save it with 8")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, (255, 255, 255, 255))
            image = Image.alpha_composite(white, image)
        return _resize(image, height, width, channels)


def _resize(image: "Image.Image", height: int, width: int, channels: int) -> Bytes:
    from PIL import Image

    image = image.convert("L" if channels == 1 else "RGB")
    # Bilinear resampling of Pillow averages over all pixels when it reduces an image.
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)


@contextmanager
def _open_image(path: Path) -> Iterator["Image.Image"]:
    """Open an image file; all errors of Pillow become a BrokenImageError."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            yield image
    except UnidentifiedImageError as error:
        is_empty = path.stat().st_size == 0
        raise BrokenImageError("it is empty" if is_empty else "it is not an image") from error
    # Decoders raise many classes for damaged files.
    except Exception as error:
        raise BrokenImageError(str(error) or type(error).__name__) from error


def is_idx(path: Path) -> bool:
    """Whether a file name is that of an IDX file, such as MNIST's `…-ubyte` and `…-ubyte.gz`."""
    return path.name.lower().removesuffix(".gz").endswith(("ubyte", ".idx"))


def read_idx(path: Path) -> Bytes:
    """Read an IDX file of bytes, MNIST's format, compressed if its name ends in `.gz`."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            # Not `bytes`, because PyTorch needs a writable array.
            content = bytearray(file.read())
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}. Download or copy it again.") from error
    start = 4 + 4 * content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    if not 4 < start <= len(content):
        raise InputError(
            f"{path} must be an IDX file of bytes, which begins with 00 00 08 and the number of "
            f"dimensions; it begins with {content[:4].hex(' ') or 'nothing'}."
        )
    sizes = np.frombuffer(content[4:start], ">u4").tolist()
    if len(content) - start != math.prod(sizes):
        raise InputError(
            f"{path} must contain {' x '.join(map(str, sizes))} bytes; it contains "
            f"{len(content) - start:,}. Download it again."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(sizes)


def read_labeled_arrays(path: Path, labels: Path | None) -> dict[str, LabeledArrays] | None:
    """Read images and labels of each part from IDX files; None for a folder without any."""
    if not path.is_dir() and not is_idx(path):
        raise InputError(
            f"data.path={path} must be a folder of class folders, or an IDX file (…-ubyte or "
            "…-ubyte.gz). For the rows of a table choose data=table."
        )
    if not path.is_dir():
        return {"train": _read_labeled_images(path, labels or _find_labels(path))}
    files = [file for file in _list_visible(path) if file.is_file() and is_idx(file)]
    parts: dict[str, LabeledArrays] = {}
    for part, prefixes in _IDX_PREFIXES.items():
        for file in files:
            # The first of several: a file is often next to its compressed original.
            if "images" in file.name and file.name.startswith(prefixes) and part not in parts:
                parts[part] = _read_labeled_images(file, _find_labels(file))
    if files and "train" not in parts:
        raise InputError(
            f"{path} must contain IDX files whose names begin with train-images and "
            f"train-labels; it contains {join_names([file.name for file in files])}."
        )
    return parts or None


def _read_labeled_images(path: Path, labels_path: Path) -> LabeledArrays:
    images, labels = read_idx(path), read_idx(labels_path)
    if images.ndim != 3 or labels.shape != images.shape[:1] or not images.size:
        raise InputError(
            f"{path} must contain images, (images, height, width), and {labels_path} a label for "
            f"each, (images,); they contain {images.shape} and {labels.shape}."
        )
    return images, labels


def choose_image_array(names: Sequence[str]) -> str | None:
    """Return which array of an `.npz` file contains the images to predict."""
    return next((name for name in ("images", "x_test", "x_train") if name in names), None)


def _find_labels(images: Path) -> Path:
    """Find the file of labels next to a file of images, by MNIST's naming."""
    name = images.name.replace("images", "labels").replace("idx3", "idx1")
    for candidate in (name, name.removesuffix(".gz"), f"{name}.gz"):
        if candidate != images.name and images.with_name(candidate).is_file():
            return images.with_name(candidate)
    raise InputError(
        f"the labels of {images} are missing. Add the file {images.with_name(name)}, or set "
        "data.labels=FILE."
    )


def _to_bytes(values: NDArray[Any]) -> Bytes:
    """Convert images to bytes: whole numbers stay, fractions from 0 to 1 become 0 to 255."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind not in "iuf":
        raise InputError(f"images must be numbers from 0 to 255; got {values.dtype}.")
    most = 1 if values.dtype.kind == "f" else 255
    # Also true for NaN.
    if values.size and not (values.min() >= 0 and values.max() <= most):
        raise InputError(
            "images must be whole numbers from 0 to 255, or fractions from 0 to 1; got "
            f"{values.dtype} from {values.min():g} to {values.max():g}. Use unscaled images, and "
            'convert pixels from 0 to 255 with .astype("uint8").'
        )
    scaled: Bytes = np.rint(values * 255 if most == 1 else values).astype(np.uint8)
    return scaled


def _to_channels_last(values: Bytes) -> Bytes:
    """Reshape images to (images, height, width, channels) with 1 or 3 channels."""
    if values.ndim == 3:
        return values[..., None]
    if values.ndim == 4 and values.shape[3] in (1, 3):
        return values
    # PyTorch's order.
    if values.ndim == 4 and values.shape[1] == 3:
        return values.transpose(0, 2, 3, 1)
    raise InputError(
        "images must have the shape (images, height, width), or (images, height, width, 3) for "
        f"colors; got {values.shape}. Other channels, such as transparency, are not supported."
    )


@dataclass(frozen=True, slots=True)
class ImageEncoder:
    """Encodes images of any size as rows of bytes of one size and number of channels.

    A row contains channel by channel (red, green, blue), each line by line from the top left.

    Example:
        >>> ImageEncoder(height=2, width=2).names
        ('row 0 column 0', 'row 0 column 1', 'row 1 column 0', 'row 1 column 1')
        >>> ImageEncoder(height=2, width=2).apply(np.array([[[0, 255], [7, 0]]], np.uint8)).tolist()
        [[0, 255, 7, 0]]
    """

    height: int
    width: int
    channels: int = 1

    # As in `TableEncoder`: no pixel is a category or missing.
    embeddings: ClassVar[Mapping[int, int]] = {}
    imputes: ClassVar[bool] = False

    @property
    def shape(self) -> tuple[int, int] | tuple[int, int, int]:
        """(height, width) of gray images, (channels, height, width) of color images."""
        size = (self.height, self.width)
        return size if self.channels == 1 else (self.channels, *size)

    @property
    def inputs(self) -> int:
        """Number of inputs per image."""
        return self.channels * self.height * self.width

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs."""
        colors = ("red ", "green ", "blue ") if self.channels == 3 else ("",)
        pixels = itertools.product(colors, range(self.height), range(self.width))
        return tuple(f"{color}row {row} column {column}" for color, row, column in pixels)

    def apply(self, rows: Any) -> Bytes:
        """Encode images as rows of bytes (rows, inputs).

        They are paths, or an array: (images, height, width), (images, height, width, 3), (images,
        3, height, width), one image of the training size, or encoded rows (images, inputs).
        """
        if isinstance(rows, str | Path):
            rows = [rows]
        if isinstance(rows, Sequence) and rows and all(isinstance(row, str | Path) for row in rows):
            images, broken = self.read_files([Path(row) for row in rows])
            for index, reason in broken.items():
                raise InputError(f"{rows[index]} cannot be read as an image: {reason}.")
            return images
        try:
            values = np.asarray(rows.detach().cpu() if hasattr(rows, "detach") else rows)
        except ValueError as error:
            raise InputError(f"images must have the same size: {error}.") from error
        size = (self.height, self.width)
        # One image.
        if values.shape == size or (
            self.channels == 3 and values.shape in ((3, *size), (*size, 3))
        ):
            values = values[None]
        images = _to_bytes(values)
        if images.ndim != 2:
            return self.resize(_to_channels_last(images))
        if images.shape[1] != self.inputs:
            raise InputError(
                f"the network was trained on images of {self.height} x {self.width} (height x "
                f"width), so a row must have {self.inputs} numbers; got {images.shape[1]}."
            )
        return images

    def resize(self, images: Bytes) -> Bytes:
        """Resize images (images, height, width, channels) to rows (images, inputs)."""
        from PIL import Image

        rows = np.empty((len(images), self.inputs), np.uint8)
        if images.shape[1:] == (self.height, self.width, self.channels):
            rows[:] = images.transpose(0, 3, 1, 2).reshape(rows.shape)
            return rows
        for row, pixels in zip(rows, images, strict=True):
            pixels = pixels[..., 0] if pixels.shape[2] == 1 else pixels
            image = Image.fromarray(np.ascontiguousarray(pixels))
            row[:] = _resize(image, self.height, self.width, self.channels).reshape(-1)
        return rows

    def read_files(self, paths: Sequence[Path]) -> tuple[Bytes, dict[int, str]]:
        """Decode image files in several threads.

        Returns the rows, and the reasons why files cannot be read, by index; their rows are 0.
        """
        rows = np.zeros((len(paths), self.inputs), np.uint8)
        broken: dict[int, str] = {}

        def read(start: int) -> None:
            for index in range(start, min(start + _FILES_PER_TASK, len(paths))):
                try:
                    image = decode_image(paths[index], self.height, self.width, self.channels)
                    rows[index] = image.reshape(-1)
                except BrokenImageError as error:
                    broken[index] = str(error)

        # Pillow releases Python's lock while it decodes. It warns of large images and bad metadata.
        with warnings.catch_warnings(action="ignore"), ThreadPoolExecutor() as pool:
            list(pool.map(read, range(0, len(paths), _FILES_PER_TASK)))
        return rows, dict(sorted(broken.items()))

    def to_dict(self) -> dict[str, Any]:
        """Return the encoder as plain data for a checkpoint."""
        return {"kind": "pixels", **asdict(self)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Restore an encoder from the result of `to_dict`."""
        return cls(stored["height"], stored["width"], stored["channels"])
