"""Image files: read images from class folders, IDX and NumPy files, and encode them as inputs."""

import gzip
import math
import threading
import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from brainnet.data.preprocessing import sort_labels
from brainnet.data.table_files import load_arrays
from brainnet.data.validation import join_names
from brainnet.errors import InputError, did_you_mean, format_override

if TYPE_CHECKING:
    from PIL import Image


PARTS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}

"""What the folders of parts are called, if the pictures lie in such."""

_CLUTTER = {"thumbs.db", "desktop.ini", "__macosx"}


@dataclass(frozen=True, slots=True)
class Labelled:
    """Files with the class of each: its place in a tuple of names."""

    files: tuple[Path, ...]
    labels: tuple[int, ...]


def find_classes(folder: Path) -> tuple[tuple[str, ...], list[Labelled]]:
    """Return the names of the classes, and the files that train, validate and test.

    The parts are folders of class folders, if there are such; else all files train.

    Raises:
        InputError: there are no class folders, or one only, or they differ between the parts.
    """
    parts = part_folders(folder)
    names = _class_names(parts.get("train", folder))
    return names, [
        _labelled(parts[part], names) if part in parts else Labelled((), ()) for part in PARTS
    ]


def part_folders(folder: Path) -> dict[str, Path]:
    """Return the folders of the parts; the whole folder trains where there are none such."""
    folders = {path.name.lower(): path for path in subfolders(folder)}
    found = {
        part: path
        for part, names in PARTS.items()
        for name, path in folders.items()
        if name in names
    }
    # "train" may be a class among others, beside "car"; then it holds pictures, not folders.
    nested = "train" in found and bool(subfolders(found["train"]))
    if not nested or len(found) < len(folders):
        return {"train": folder}
    return found


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder by name, without those that programs hide there."""
    return [path for path in shown(folder) if path.is_dir()]


def shown(folder: Path) -> list[Path]:
    """Return what is in a folder by name, without what programs hide there."""
    try:
        found = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror or error}.") from error
    return [path for path in found if not is_clutter(path)]


def is_clutter(path: Path) -> bool:
    """Whether a program left this file for itself: its name begins with a dot, or is known."""
    return path.name.startswith(".") or path.name.lower() in _CLUTTER


def list_image_files(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield all files in a folder and the folders in it, by name; no pipes and devices.

    Args:
        folder: whose links are followed, but not round and round.
        above: the folders that it lies in, as far as one has come from there, resolved.
    """
    above = (*above, folder.resolve())
    for path in shown(folder):
        if path.is_dir():
            there = path.resolve()
            if not any(each == there or each.is_relative_to(there) for each in above):
                yield from list_image_files(path, above)
        elif path.is_file() or path.is_symlink():  # a link to nothing is told as broken
            yield path


def _class_names(folder: Path) -> tuple[str, ...]:
    names = tuple(sort_labels({path.name for path in subfolders(folder)}))
    if len(names) >= 2:
        return names
    loose = [path.name for path in shown(folder) if path.is_file()]
    if names:
        found = f"one only, {names[0]}, and with one class there is nothing to tell apart"
    else:
        found = f"{len(loose)} files and no folder" if loose else "nothing"
    raise InputError(
        f"{folder} must hold a folder for each class, two or more, with its pictures in it; it "
        f"holds {found}. Sort the pictures into folders that are called like their classes."
    )


def _labelled(folder: Path, names: Sequence[str]) -> Labelled:
    there = [path.name for path in subfolders(folder)]
    for name in there:
        if name not in names:
            raise InputError(
                f"{folder} has a class {name!r} that the pictures to train on do not have: those "
                f"are {join_names(names)}.{did_you_mean(name, names)}"
            )
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        found = list(list_image_files(folder / name)) if name in there else []
        if name in there and not found:
            raise InputError(
                f"the class folder {folder / name} is empty. Put pictures of that class into it, "
                "or remove it."
            )
        files += found
        labels += [label] * len(found)
    return Labelled(tuple(files), tuple(labels))


# Pillow is imported inside each function: a configuration is checked without it.

Bytes = NDArray[np.uint8]

_MOST_PIXELS = 1 << 28  # 16,384 x 16,384

_ORIENTATION, _LYING = 0x0112, (5, 6, 7, 8)

_DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N")

_GREY = ("1", "L", "LA", "La", *_DEEP)

_WHITE = (255, 255, 255, 255)

# The filters of warnings belong to the whole process; two threads must not both set them aside.
_QUIET = threading.Lock()


class BrokenPictureError(Exception):
    """A file that cannot be read as a picture, with the reason."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the head of a picture file tells: its size as it is seen, and whether in colour."""

    height: int
    width: int
    coloured: bool


def inspect_image(path: Path) -> Look:
    """Read the head of a picture file.

    Raises:
        BrokenPictureError: it is empty, no picture, or larger than anybody would train on.
    """
    with _opened(path) as image:
        width, height = image.size
        if width * height > _MOST_PIXELS:
            raise BrokenPictureError(f"its head tells of {width:,} x {height:,} pixels")
        if _orientation(image) in _LYING:
            width, height = height, width
        return Look(height, width, _is_coloured(image))


def decode_image(path: Path, height: int, width: int, channels: int) -> Bytes:
    """Return a picture file as bytes of this size, (channels, height, width).

    It stands as its camera held it, its whole is stretched to the size, what is transparent is
    seen on white, and colours become grey by their brightness.

    Raises:
        BrokenPictureError: it cannot be read to its end.
    """
    with _opened(path) as image:
        # A JPEG is decoded at half or a quarter of its size where that is enough.
        image.draft(None, (2 * max(height, width), 2 * max(height, width)))
        return resize_image(image, height, width, channels)


def resize_image(image: "Image.Image", height: int, width: int, channels: int) -> Bytes:
    """Return a picture in memory as bytes of this size, (channels, height, width)."""
    from PIL import Image, ImageOps

    turned = _orientation(image) > 1
    image.load()
    if turned:
        image = ImageOps.exif_transpose(image)
    image = _plain(image).convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)


def _is_coloured(image: "Image.Image") -> bool:
    if image.mode != "P":
        return image.mode not in _GREY
    palette = np.array(image.getpalette() or [0, 0, 0]).reshape(-1, 3)
    return bool((palette != palette[:, :1]).any())


def _plain(image: "Image.Image") -> "Image.Image":
    """Bring what Pillow cannot convert well to what it can."""
    from PIL import Image

    if image.mode == "F":
        raise BrokenPictureError("its pixels are numbers with a decimal point")
    if image.mode in _DEEP:
        values = np.asarray(image)
        # 16 bits: the upper eight are what an eye sees.
        values = values >> 8 if values.max() > 255 else values
        return Image.fromarray(values.clip(0, 255).astype(np.uint8))
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image)
    return image


def _orientation(image: "Image.Image") -> int:
    """Return how the camera was held; 1, upright, where the file does not tell, or not soundly."""
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # Pillow would decode all of it to look behind the pixels
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # whatever a damaged note in a sound picture leads to
        return 1


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Set aside what Pillow warns of: large sizes, which are checked here, and odd notes."""
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _opened(path: Path) -> Iterator["Image.Image"]:
    """Open a picture file; whatever goes wrong on the way is a broken picture."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            yield image
    except BrokenPictureError:
        raise
    except UnidentifiedImageError as error:
        empty = path.stat().st_size == 0
        raise BrokenPictureError("it is empty" if empty else "it is no picture") from error
    except Image.DecompressionBombError as error:
        raise BrokenPictureError("its head tells of more pixels than anybody has") from error
    except Exception as error:  # whatever a decoder meets in a damaged file
        raise BrokenPictureError(str(error) or type(error).__name__) from error


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


_FORMS = "(pictures, height, width) if they are grey, (pictures, height, width, 3) in colour"


def to_bytes(values: NDArray[Any], name: str, *, fractions: bool | None = None) -> Bytes:
    """Return pictures as bytes: fractions of 0 to 1 become 0 to 255.

    Args:
        values: the pictures.
        name: of them, in messages.
        fractions: whether they are such; None where these are all there are, and tell it.

    Raises:
        InputError: they are no numbers, or lie outside 0 to 1 and 0 to 255.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind not in "biuf":
        raise InputError(f"{name} must be numbers from 0 to 255; got {values.dtype}.")
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if not (low >= 0 and high <= 255):  # NaN is neither
        raise InputError(
            f"{name} must be bytes from 0 to 255, or fractions from 0 to 1; got numbers from "
            f"{low:g} to {high:g}. Undo what scaled them: brainnet scales them by itself."
        )
    if fractions is None:
        fractions = has_fractions(values)
    found: Bytes = np.rint(values * 255 if fractions else values).astype(np.uint8)
    return found


def has_fractions(values: NDArray[Any]) -> bool:
    """Whether pictures are fractions from 0 to 1: floats of which none is larger."""
    return values.dtype.kind == "f" and (not values.size or bool(values.max() <= 1))


def channels_last(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Return pictures as (pictures, height, width, channels), channels 1 or 3.

    Raises:
        InputError: their shape is that of no pictures.
    """
    shape = values.shape
    if len(shape) == 3:
        return values[..., None]
    if len(shape) == 4 and shape[3] in (1, 3):
        return values
    if len(shape) == 4 and shape[1] in (1, 3):
        return values.transpose(0, 2, 3, 1)
    hint = ""
    if len(shape) == 4:
        hint = " A picture has 1 channel or 3: leave out what is no colour, such as transparency."
    raise InputError(f"{name} must have the shape {_FORMS}; got {shape}.{hint}")


def rows_of(values: Bytes, height: int, width: int, channels: int) -> Bytes:
    """Return pictures (pictures, height, width, channels) as rows of this size and its colours."""
    if values.shape[1:] == (height, width, channels):
        flat = (len(values), channels * height * width)
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2)).reshape(flat)
    from PIL import Image

    found = np.empty((len(values), channels * height * width), np.uint8)
    for row, picture in enumerate(values):
        image = Image.fromarray(
            np.ascontiguousarray(picture[..., 0] if picture.shape[2] == 1 else picture)
        )
        found[row] = resize_image(image, height, width, channels).reshape(-1)
    return found


def labels_of(values: NDArray[Any], rows: int, name: str) -> NDArray[Any]:
    """Return labels as (rows,).

    Raises:
        InputError: there is not one for each picture, or they are no whole numbers or words.
    """
    labels = values.reshape(-1) if values.shape[1:] == (1,) else values
    if labels.ndim != 1 or labels.dtype.kind not in "biuUf":
        raise InputError(
            f"{name} must be one number or word for each picture, of shape (pictures,); got "
            f"{values.dtype} of shape {values.shape}."
        )
    if len(labels) != rows:
        raise InputError(f"there are {rows:,} pictures but {len(labels):,} labels in {name}.")
    if labels.dtype.kind == "f" and (labels % 1).any():
        raise InputError(f"{name} must be whole numbers or words; got fractions such as 0.5.")
    return labels.astype(np.int64) if labels.dtype.kind in "bf" else labels


def classes_of(
    parts: Sequence[NDArray[Any]], name: str
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the names of the classes in labels that train, and the class of every picture.

    Args:
        parts: labels that train, validate and test.
        name: what they are called in messages.

    Raises:
        InputError: there is one class only, or one that the pictures to train on do not have.
    """
    known = np.unique(parts[0])
    if len(known) < 2:
        raise InputError(
            f"all {len(parts[0]):,} labels in {name} are {known.tolist()}: with one class there is "
            "nothing to tell apart. Add pictures of another class."
        )
    labels = np.concatenate(parts)
    classes = np.searchsorted(known, labels).clip(0, len(known) - 1)
    strange = labels[known[classes] != labels]
    if len(strange):
        raise InputError(
            f"the pictures to validate and test on have the class {strange[0].item()!r}, which "
            f"those to train on do not have: {', '.join(map(str, known[:10].tolist()))}."
        )
    return tuple(map(str, known.tolist())), classes.astype(np.int64)


_IMAGES = ("images", "image", "x", "pictures", "data", "inputs", "arr_0")

_LABELS = ("labels", "label", "y", "targets", "target", "classes", "arr_1")
# What the parts are called: MNIST's test files are the "ten thousand".
_PREFIXES = {**PARTS, "test": (*PARTS["test"], "t10k")}


@dataclass(frozen=True, slots=True)
class ImageArrays:
    """Pictures that train, validate and test, each with their labels and what both are called."""

    images: tuple[NDArray[Any], ...]
    labels: tuple[NDArray[Any], ...]
    image_names: tuple[str, ...]
    label_names: tuple[str, ...]


def find_arrays(path: Path, labels: Path | None) -> ImageArrays | None:
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


def _of_folder(files: Sequence[Path], folder: Path) -> ImageArrays:
    """Return the pairs of IDX files in a folder."""
    images = [file for file in files if "labels" not in file.name.lower()]
    found: dict[str, Path] = {}
    for part, prefixes in _PREFIXES.items():
        fitting = [file for file in images if file.name.lower().startswith(prefixes)]
        if len(fitting) > 1:
            raise InputError(
                f"{folder} holds {join_names([file.name for file in fitting])}, and each could be the "
                f"pictures to {part} on. Leave one, or name the file: "
                f"{format_override('data.path', str(fitting[0]))}."
            )
        if fitting:
            found[part] = fitting[0]
    if "train" not in found:
        raise InputError(
            f"{folder} must hold IDX files whose names begin with train-images and train-labels; "
            f"it holds {join_names([file.name for file in files])}. Or name a file of pictures itself."
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


def _read(pairs: Iterable[tuple[Path, Path] | None]) -> ImageArrays:
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
    return ImageArrays(tuple(images), tuple(labels), image_names, label_names)


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


def _of_npz(path: Path) -> ImageArrays:
    arrays = load_arrays(path)
    assert isinstance(arrays, dict), "an .npz file contains arrays by name"
    names = _pairs(list(arrays), path)
    return _stacked(names, arrays, path)


def _stacked(
    names: Sequence[tuple[str, str] | None], arrays: Mapping[str, NDArray[Any]], path: Path
) -> ImageArrays:
    train = names[0]
    assert train is not None, "without it there are no pairs"
    told = [pair or train for pair in names]
    return ImageArrays(
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
            f"y_test; it holds {join_names(names) or 'none'}."
        )
    return found


def read_images(names: Sequence[str]) -> str | None:
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


_FILES_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class ImageEncoder:
    """The size and the colours that every picture was brought to, as plain data.

    A picture becomes one row of bytes: channel by channel (red, green, blue), each from its upper
    left corner on, line by line.

    Example:
        >>> Pixels(height=2, width=2).names
        ('row 0 column 0', 'row 0 column 1', 'row 1 column 0', 'row 1 column 1')
        >>> Pixels(height=2, width=2).apply(np.array([[[0, 255], [7, 0]]], np.uint8)).tolist()
        [[0, 255, 7, 0]]
    """

    height: int
    width: int
    channels: int = 1

    @property
    def shape(self) -> tuple[int, int] | tuple[int, int, int]:
        """(height, width) of grey pictures, (channels, height, width) of coloured ones."""
        sides = (self.height, self.width)
        return sides if self.channels == 1 else (self.channels, *sides)

    @property
    def inputs(self) -> int:
        """How many numbers a picture becomes."""
        return self.channels * self.height * self.width

    @property
    def names(self) -> tuple[str, ...]:
        """What the inputs are called."""
        colours = ("red ", "green ", "blue ") if self.channels == 3 else ("",)
        return tuple(
            f"{colour}row {row} column {column}"
            for colour in colours
            for row in range(self.height)
            for column in range(self.width)
        )

    @property
    def embeddings(self) -> Mapping[int, int]:
        """No pixel is the code of a category."""
        return {}

    @property
    def imputes(self) -> bool:
        """No pixel is missing."""
        return False

    def apply(self, rows: Any) -> Bytes:
        """Return pictures as rows of inputs, uint8 (rows, inputs).

        Args:
            rows: a path or several, of picture files; or an array or a tensor: (pictures, height,
                width), (pictures, height, width, channels), (pictures, channels, height, width),
                one picture of these, or (pictures, inputs), rows as they are. Pictures of another
                size or other colours are brought to these; rows are not.

        Raises:
            InputError: a file cannot be read, or an array holds no pictures.
        """
        if isinstance(rows, str | Path):
            rows = [rows]
        if isinstance(rows, Sequence) and rows and all(isinstance(row, str | Path) for row in rows):
            found, broken = self.read([Path(row) for row in rows])
            if broken:
                place, reason = next(iter(broken.items()))
                raise InputError(f"{rows[place]} cannot be read as a picture: {reason}.")
            return found
        return self._of_array(_array(rows))

    def read(self, files: Sequence[Path]) -> tuple[Bytes, dict[int, str]]:
        """Return picture files as rows, and why some, by their place, could not be read.

        The rows of those hold nothing.
        """
        found = np.zeros((len(files), self.inputs), np.uint8)
        broken: dict[int, str] = {}

        def read(start: int) -> None:
            for place in range(start, min(start + _FILES_AT_ONCE, len(files))):
                try:
                    picture = decode_image(files[place], self.height, self.width, self.channels)
                    found[place] = picture.reshape(-1)
                except BrokenPictureError as error:
                    broken[place] = str(error)

        # Pillow decodes without holding up other threads.
        with quiet_pillow(), ThreadPoolExecutor() as pool:
            list(pool.map(read, range(0, len(files), _FILES_AT_ONCE)))
        return found, dict(sorted(broken.items()))

    def to_dict(self) -> dict[str, Any]:
        """Return the sizes as primitives, which any checkpoint can hold."""
        return {
            "kind": "pixels",
            "height": self.height,
            "width": self.width,
            "channels": self.channels,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Return what `to_dict` stored."""
        return cls(stored["height"], stored["width"], stored["channels"])

    def _of_array(self, values: NDArray[Any]) -> Bytes:
        name = "pictures"
        if values.ndim == 2 and values.shape[1] == self.inputs and values.shape != self.shape:
            return to_bytes(values, name)
        if self._is_one(values.shape):
            values = values[None]
        if values.ndim == 2:
            raise InputError(
                f"the network learnt from pictures of {self.height} x {self.width} (height x "
                f"width), so a row must have {self.inputs} numbers; got {values.shape[1]}."
            )
        return rows_of(
            channels_last(to_bytes(values, name), name), self.height, self.width, self.channels
        )

    def _is_one(self, shape: tuple[int, ...]) -> bool:
        """Whether a shape is that of one picture, not of several grey ones or of rows."""
        sides = (self.height, self.width)
        in_colours = self.channels == 3 and shape in ((3, *sides), (*sides, 3))
        return shape == sides or in_colours


def _array(rows: Any) -> NDArray[Any]:
    try:
        found = np.asarray(rows.detach().cpu() if hasattr(rows, "detach") else rows)
    except ValueError as error:
        raise InputError(
            f"pictures must be files, or an array of pictures of one size: {error}."
        ) from error
    if found.dtype.kind not in "biuf":
        raise InputError(
            f"pictures must be files, or arrays of numbers; got {type(rows).__name__}."
        )
    return found
