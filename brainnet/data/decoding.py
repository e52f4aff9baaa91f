"""Decoding: picture files as Pillow reads them, each brought to one size and one set of colours."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

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


def look_at(path: Path) -> Look:
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


def decoded(path: Path, height: int, width: int, channels: int) -> Bytes:
    """Return a picture file as bytes of this size, (channels, height, width).

    It stands as its camera held it, its whole is stretched to the size, what is transparent is
    seen on white, and colours become grey by their brightness.

    Raises:
        BrokenPictureError: it cannot be read to its end.
    """
    with _opened(path) as image:
        # A JPEG is decoded at half or a quarter of its size where that is enough.
        image.draft(None, (2 * max(height, width), 2 * max(height, width)))
        return fitted(image, height, width, channels)


def fitted(image: "Image.Image", height: int, width: int, channels: int) -> Bytes:
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
