"""Picture arrays: pictures that come as numbers, brought to bytes of one size and its colours."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainnet.data.decoding import Bytes, fitted
from brainnet.errors import InputError

_FORMS = "(pictures, height, width) if they are grey, (pictures, height, width, 3) in colour"


def as_bytes(values: NDArray[Any], name: str, *, fractions: bool | None = None) -> Bytes:
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
        fractions = are_fractions(values)
    found: Bytes = np.rint(values * 255 if fractions else values).astype(np.uint8)
    return found


def are_fractions(values: NDArray[Any]) -> bool:
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
        found[row] = fitted(image, height, width, channels).reshape(-1)
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
