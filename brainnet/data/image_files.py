"""Image files: read class folders, IDX and NumPy files, and encode images as rows of bytes."""

import gzip
import math
import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from brainnet.data.preprocessing import sort_labels
from brainnet.data.table_files import load_arrays
from brainnet.data.validation import join_names
from brainnet.errors import InputError, did_you_mean, format_override

if TYPE_CHECKING:
    from PIL import Image

Bytes = NDArray[np.uint8]

# Names of the folders and files of each part; MNIST's test files begin with "t10k".
_PART_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "t10k"),
}

_IMAGE_NAMES = ("images", "image", "x", "pictures", "data", "inputs", "arr_0")
_LABEL_NAMES = ("labels", "label", "y", "targets", "target", "classes", "arr_1")

# Files that operating systems create; names that begin with a dot are hidden, too.
_SYSTEM_FILES = {"thumbs.db", "desktop.ini", "__macosx"}

# Deflate compresses by at most this factor.
_MAX_COMPRESSION = 1032
_FILES_PER_TASK = 32
_EXIF_ORIENTATION = 0x0112


class BrokenImageError(Exception):
    """A file that cannot be read as an image; the message is the reason."""


@dataclass(frozen=True, slots=True)
class LabeledFile:
    """An image file with its class, as an index, and the part of the data that it belongs to."""

    path: Path
    label: int
    part: str


@dataclass(frozen=True, slots=True)
class LabeledArrays:
    """Images and labels of one part as stored, with their names for messages."""

    images: NDArray[Any]
    labels: NDArray[Any]
    image_name: str
    label_name: str


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Size of an image after rotation by its EXIF orientation, and whether it has colors."""

    height: int
    width: int
    has_colors: bool


def find_labeled_files(folder: Path) -> tuple[tuple[str, ...], list[LabeledFile]]:
    """Find the classes and the files of a folder that contains a folder for each class.

    The folder may instead contain the folders `train` and `test` (and `validation`), with a
    folder for each class in each of them.

    Returns:
        The class names, and the files: those of the training part first, then validation and test.

    Raises:
        InputError: fewer than two class folders, an empty one, or a class that is not trained on.
    """
    parts = _find_part_folders(folder)
    names = tuple(sort_labels(path.name for path in _list_subfolders(parts["train"])))
    if len(names) < 2:
        count = sum(path.is_file() for path in _list_visible(parts["train"]))
        content = f"only one class folder, {names[0]}" if names else f"{count} files and no folder"
        raise InputError(
            f"{folder} must contain two or more class folders with images; it contains {content}. "
            "Move the images of each class into a folder with the name of the class."
        )
    files = []
    for part, part_folder in parts.items():
        class_folders = {path.name: path for path in _list_subfolders(part_folder)}
        for name in class_folders:
            if name not in names:
                raise InputError(
                    f"{part_folder} has a class {name!r} without training images. The classes are "
                    f"{join_names(names)}.{did_you_mean(name, names)}"
                )
        # By class, as rows are stored; a validation part may lack a class.
        for label, name in enumerate(names):
            paths = list(list_image_files(class_folders[name])) if name in class_folders else []
            if name in class_folders and not paths:
                raise InputError(f"the class folder {class_folders[name]} is empty. Remove it.")
            files += [LabeledFile(path, label, part) for path in paths]
    return names, files


def _find_part_folders(folder: Path) -> dict[str, Path]:
    """Return the folder of each part; without such folders, all files are for training."""
    folders = {path.name.lower(): path for path in _list_subfolders(folder)}
    parts = {
        part: folders[name]
        for part, names in _PART_NAMES.items()
        for name in names
        if name in folders
    }
    # A class may be named "train", too; then the folder contains images and no folders.
    is_split = "train" in parts and bool(_list_subfolders(parts["train"]))
    return parts if is_split and len(parts) == len(folders) else {"train": folder}


def _list_visible(folder: Path) -> list[Path]:
    """List the content of a folder by name, without hidden files."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror or error}.") from error
    return [
        path for path in paths if path.name[0] != "." and path.name.lower() not in _SYSTEM_FILES
    ]


def _list_subfolders(folder: Path) -> list[Path]:
    return [path for path in _list_visible(folder) if path.is_dir()]


def list_image_files(folder: Path, parents: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield all files in a folder and its subfolders, by name.

    Args:
        folder: the folder; links are followed.
        parents: the resolved folders above it, to detect links that form a cycle.
    """
    parents = (*parents, folder.resolve())
    for path in _list_visible(folder):
        if path.is_dir():
            target = path.resolve()
            if not any(parent.is_relative_to(target) for parent in parents):
                yield from list_image_files(path, parents)
        # Broken links are listed and reported; pipes and devices are not listed.
        elif path.is_file() or path.is_symlink():
            yield path


def read_header(path: Path) -> ImageHeader:
    """Read size and colors of an image file without decoding it.

    Raises:
        BrokenImageError: the file is not a readable image.
    """
    with _open_image(path) as image:
        width, height = image.size
        if _read_orientation(image) >= 5:  # rotated by 90 degrees
            width, height = height, width
        # A palette of grays, as in many GIF files, is no color image.
        if image.mode == "P":
            palette = np.array(image.getpalette() or [0, 0, 0]).reshape(-1, 3)
            has_colors = bool((palette != palette[:, :1]).any())
        else:
            has_colors = image.mode not in ("1", "L", "LA", "La") and image.mode[:2] != "I;"
        return ImageHeader(height, width, has_colors)


def decode_image(path: Path, height: int, width: int, channels: int) -> Bytes:
    """Decode an image file and resize it, (channels, height, width).

    The EXIF orientation is applied, transparent pixels become white, and 16-bit values keep their
    upper 8 bits. Resizing may change the aspect ratio.

    Raises:
        BrokenImageError: the file is damaged or has an unsupported pixel format.
    """
    from PIL import Image, ImageOps

    with _open_image(path) as image:
        # JPEG files are decoded at a fraction of their size if that is large enough.
        image.draft(None, (2 * max(height, width), 2 * max(height, width)))
        image.load()
        if _read_orientation(image) > 1:
            image = ImageOps.exif_transpose(image)
        if image.mode in ("I", "F"):
            raise BrokenImageError("32-bit pixels are not supported; save 8 or 16 bits per channel")
        if image.mode.startswith("I;"):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
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


def _read_orientation(image: "Image.Image") -> int:
    """Return the EXIF orientation; 1 (upright) if there is none."""
    # For a PNG without EXIF data before its pixels, Pillow would decode all pixels to find some.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    # Damaged metadata of a valid image raises one of many classes.
    except Exception:
        return 1


@contextmanager
def _open_image(path: Path) -> Iterator["Image.Image"]:
    """Open an image file; all errors of Pillow become a BrokenImageError."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            yield image
    except BrokenImageError:
        raise
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
    """Read an IDX file of bytes, compressed if its name ends in `.gz`.

    Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits".

    Raises:
        InputError: the file is not an IDX file of bytes, or is damaged.
    """
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            head = file.read(4)
            if len(head) < 4 or head[:3] != b"\0\0\x08" or not 1 <= head[3] <= 4:
                raise InputError(
                    f"{path} must be an IDX file of bytes, which begins with 00 00 08 and the "
                    f"number of dimensions; it begins with {head.hex(' ') or 'nothing'}."
                )
            sizes = np.frombuffer(file.read(4 * head[3]), ">u4").tolist()
            count = math.prod(sizes)
            # Never more than the file can contain: memory is allocated before anything is read.
            content = file.read(min(count + 1, _MAX_COMPRESSION * path.stat().st_size))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be read: {error}. Download or copy it again.") from error
    if len(content) != count:
        raise InputError(
            f"{path} must contain {' x '.join(map(str, sizes))} bytes; it contains "
            f"{'more' if len(content) > count else f'{len(content):,}'}. Download it again."
        )
    # A copy, because PyTorch needs a writable array.
    return np.frombuffer(bytearray(content), np.uint8).reshape(sizes)


def find_arrays(path: Path, labels: Path | None) -> dict[str, LabeledArrays] | None:
    """Read the arrays of IDX files or of an `.npz` file, by part.

    Args:
        path: a folder, or a file of images.
        labels: the IDX file of labels; by default, found by its name.

    Returns:
        The arrays of `train` and, if they exist, of `validation` and `test`; None for a folder
        without IDX files.

    Raises:
        InputError: the file has another format or is damaged, or labels are missing.
    """
    if path.is_dir():
        files = [file for file in _list_visible(path) if file.is_file() and is_idx(file)]
        return _read_idx_folder(files, path) if files else None
    if is_idx(path):
        return {"train": _read_idx_pair(path, labels or _find_labels(path))}
    if path.suffix.lower() != ".npz":
        raise InputError(
            f"data.path={path} must be a folder of class folders, an IDX file (…-ubyte or "
            "…-ubyte.gz) or an .npz file. For the rows of a table choose data=table."
        )
    arrays = load_arrays(path)
    assert isinstance(arrays, dict), "an .npz file contains arrays by name"
    parts = {part: _find_pair(arrays, names) for part, names in _PART_NAMES.items()}
    if parts["train"] is None:
        parts = {"train": _find_pair(arrays, ())}
    if parts["train"] is None:
        raise InputError(
            f"{path} must contain the arrays images and labels, or x_train, y_train, x_test and "
            f"y_test; it contains {join_names(list(arrays)) or 'none'}."
        )
    return {
        part: LabeledArrays(arrays[x], arrays[y], f"{x} of {path}", f"{y} of {path}")
        for part, (x, y) in ((part, pair) for part, pair in parts.items() if pair is not None)
    }


def _find_pair(names: Iterable[str], prefixes: Sequence[str]) -> tuple[str, str] | None:
    images, labels = (_find_name(names, words, prefixes) for words in (_IMAGE_NAMES, _LABEL_NAMES))
    return None if images is None or labels is None else (images, labels)


def _find_name(names: Iterable[str], words: Sequence[str], prefixes: Sequence[str]) -> str | None:
    """Find the array named as one of the words, with one of the prefixes before or after it."""
    by_lower_case = {name.lower(): name for name in names}
    wanted = [name for p in prefixes for w in words for name in (f"{p}_{w}", f"{w}_{p}")]
    return next((by_lower_case[w] for w in wanted or words if w in by_lower_case), None)


def find_image_array(names: Sequence[str]) -> str | None:
    """Choose the array of an `.npz` file that contains the images to predict.

    Example:
        >>> find_image_array(["y_test", "x_test", "x_train"])
        'x_test'
    """
    for prefixes in ((), _PART_NAMES["test"], _PART_NAMES["train"]):
        name = _find_name(names, _IMAGE_NAMES, prefixes)
        if name is not None:
            return name
    return None


def _read_idx_folder(files: Sequence[Path], folder: Path) -> dict[str, LabeledArrays]:
    images = [file for file in files if "labels" not in file.name.lower()]
    parts = {}
    for part, prefixes in _PART_NAMES.items():
        matches = [file for file in images if file.name.lower().startswith(prefixes)]
        if len(matches) > 1:
            raise InputError(
                f"{folder} contains several files of {part} images: "
                f"{join_names([file.name for file in matches])}. Remove all but one, or choose a "
                f"file: {format_override('data.path', str(matches[0]))}."
            )
        if matches:
            parts[part] = _read_idx_pair(matches[0], _find_labels(matches[0]))
    if "train" not in parts:
        raise InputError(
            f"{folder} must contain IDX files whose names begin with train-images and "
            f"train-labels; it contains {join_names([file.name for file in files])}."
        )
    return parts


def _find_labels(images: Path) -> Path:
    """Find the file of labels next to a file of images, by MNIST's naming."""
    name = images.name.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1")
    stem = name.removesuffix(".gz")
    for candidate in (name, stem, f"{stem}.gz"):
        if candidate != images.name and images.with_name(candidate).is_file():
            return images.with_name(candidate)
    raise InputError(
        f"the labels of {images} are missing. Add the file {images.with_name(name)}, or set "
        "data.labels=FILE."
    )


def _read_idx_pair(images: Path, labels: Path) -> LabeledArrays:
    arrays = LabeledArrays(read_idx(images), read_idx(labels), str(images), str(labels))
    if arrays.images.ndim not in (3, 4) or arrays.labels.ndim != 1:
        raise InputError(
            f"{images} must have 3 or 4 dimensions and {labels} 1; they have "
            f"{arrays.images.ndim} and {arrays.labels.ndim}. Are the files exchanged?"
        )
    return arrays


def to_bytes(values: NDArray[Any], name: str, *, has_fractions: bool | None = None) -> Bytes:
    """Convert images to bytes: bytes stay, fractions from 0 to 1 become 0 to 255.

    Args:
        values: the images.
        name: their name in messages.
        has_fractions: whether the values are fractions; by default, see `are_fractions`.

    Raises:
        InputError: the values are not numbers, or out of range.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind not in "biuf":
        raise InputError(f"{name} must be numbers from 0 to 255; got {values.dtype}.")
    # Masks: True is white.
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    # Also true for NaN.
    if not (low >= 0 and high <= 255):
        raise InputError(
            f"{name} must be bytes from 0 to 255, or fractions from 0 to 1; got numbers from "
            f"{low:g} to {high:g}. Use unscaled images: brainnet scales its inputs itself."
        )
    if has_fractions is None:
        has_fractions = are_fractions(values)
    scaled: Bytes = np.rint(values * 255 if has_fractions else values).astype(np.uint8)
    return scaled


def are_fractions(values: NDArray[Any]) -> bool:
    """Whether images are fractions from 0 to 1: floating-point numbers of at most 1."""
    return values.dtype.kind == "f" and (not values.size or bool(values.max() <= 1))


def to_channels_last(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Reshape images to (images, height, width, channels) with 1 or 3 channels.

    Raises:
        InputError: the shape is not one of images.
    """
    shape = values.shape
    if len(shape) == 3:
        return values[..., None]
    if len(shape) == 4 and shape[3] in (1, 3):
        return values
    # PyTorch's order.
    if len(shape) == 4 and shape[1] in (1, 3):
        return values.transpose(0, 2, 3, 1)
    raise InputError(
        f"{name} must have the shape (images, height, width), or (images, height, width, 3) for "
        f"colors; got {shape}. Other channels, such as transparency, are not supported."
    )


def resize_images(values: Bytes, height: int, width: int, channels: int) -> Bytes:
    """Resize images (images, height, width, channels) to rows (images, inputs)."""
    if values.shape[1:] == (height, width, channels):
        rows = (len(values), channels * height * width)
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2)).reshape(rows)
    from PIL import Image

    resized = np.empty((len(values), channels * height * width), np.uint8)
    for row, pixels in enumerate(values):
        pixels = pixels[..., 0] if pixels.shape[2] == 1 else pixels
        image = Image.fromarray(np.ascontiguousarray(pixels))
        resized[row] = _resize(image, height, width, channels).reshape(-1)
    return resized


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
        return tuple(
            f"{color}row {row} column {column}"
            for color in colors
            for row in range(self.height)
            for column in range(self.width)
        )

    @property
    def embeddings(self) -> Mapping[int, int]:
        """Empty, as in `TableEncoder`: no input is a category."""
        return {}

    @property
    def imputes(self) -> bool:
        """False, as in `TableEncoder`: no input can be missing."""
        return False

    def apply(self, rows: Any) -> Bytes:
        """Encode images, uint8 (rows, inputs).

        Args:
            rows: one path or several, of image files; or an array or a tensor: (images, height,
                width), (images, height, width, channels), (images, channels, height, width), a
                single image, or encoded rows (images, inputs).

        Raises:
            InputError: a file cannot be read, or an array does not contain images.
        """
        if isinstance(rows, str | Path):
            rows = [rows]
        if isinstance(rows, Sequence) and rows and all(isinstance(row, str | Path) for row in rows):
            images, broken = self.read_files([Path(row) for row in rows])
            if broken:
                index, reason = next(iter(broken.items()))
                raise InputError(f"{rows[index]} cannot be read as an image: {reason}.")
            return images
        values = _to_array(rows)
        if values.ndim == 2 and values.shape[1] == self.inputs and values.shape != self.shape:
            return to_bytes(values, "images")
        size = (self.height, self.width)
        # One image, unless its shape is that of gray images or of encoded rows.
        color_shapes = ((3, *size), (*size, 3)) if self.channels == 3 else ()
        if values.shape in (size, *color_shapes):
            values = values[None]
        if values.ndim == 2:
            raise InputError(
                f"the network was trained on images of {self.height} x {self.width} (height x "
                f"width), so a row must have {self.inputs} numbers; got {values.shape[1]}."
            )
        images = to_channels_last(to_bytes(values, "images"), "images")
        return resize_images(images, self.height, self.width, self.channels)

    def read_files(self, paths: Sequence[Path]) -> tuple[Bytes, dict[int, str]]:
        """Decode image files in several threads.

        Returns:
            The rows, and the reasons for files that cannot be read, by index; their rows are 0.
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
        sizes = {"height": self.height, "width": self.width, "channels": self.channels}
        return {"kind": "pixels", **sizes}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Restore an encoder from the result of `to_dict`."""
        return cls(stored["height"], stored["width"], stored["channels"])


def _to_array(rows: Any) -> NDArray[Any]:
    try:
        values = np.asarray(rows.detach().cpu() if hasattr(rows, "detach") else rows)
    except ValueError as error:
        raise InputError(
            f"images must be files, or an array of images of one size: {error}."
        ) from error
    if values.dtype.kind not in "biuf":
        raise InputError(f"images must be files, or arrays of numbers; got {type(rows).__name__}.")
    return values
