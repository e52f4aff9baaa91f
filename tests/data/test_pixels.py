"""Whether pictures of any form become the rows that a network learnt from."""

import numpy as np
import pytest
import torch
from PIL import Image

from brainnet.data.dataset import restore_encoder
from brainnet.data.image_files import ImageEncoder
from brainnet.errors import InputError

GREY, COLOURED = ImageEncoder(3, 2), ImageEncoder(3, 2, channels=3)
NUMBERS = np.random.default_rng(0).integers(0, 256, (5, 3, 2, 3), dtype=np.uint8)
ROWS = NUMBERS.transpose(0, 3, 1, 2).reshape(5, -1)


@pytest.mark.parametrize(
    "given",
    [
        NUMBERS,
        NUMBERS.transpose(0, 3, 1, 2),
        ROWS,
        NUMBERS / 255,
        NUMBERS.astype(np.int64),
        torch.from_numpy(NUMBERS),
        NUMBERS.tolist(),
    ],
    ids=["last", "first", "rows", "fractions", "int64", "tensor", "lists"],
)
def test_arrays_in_colour(given):
    found = COLOURED.apply(given)
    assert found.dtype == np.uint8
    assert found.tolist() == ROWS.tolist()


def test_one_picture_is_one_row():
    assert COLOURED.apply(NUMBERS[2]).tolist() == ROWS[2:3].tolist()
    assert COLOURED.apply(NUMBERS[2].transpose(2, 0, 1)).tolist() == ROWS[2:3].tolist()
    assert GREY.apply(NUMBERS[2, ..., 0]).tolist() == [NUMBERS[2, ..., 0].ravel().tolist()]
    assert GREY.apply(NUMBERS[..., 0]).tolist() == NUMBERS[..., 0].reshape(5, 6).tolist()


def test_other_sizes_and_colours_are_brought_to_these():
    grey = np.full((4, 9, 9), 77, np.uint8)
    assert COLOURED.apply(grey).tolist() == [[77] * 18] * 4
    assert GREY.apply(np.full((4, 9, 9, 3), 77, np.uint8)).tolist() == [[77] * 6] * 4


def test_files(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for path, values in zip(paths, NUMBERS, strict=True):
        Image.fromarray(values).save(path)
    assert COLOURED.apply(paths).tolist() == ROWS.tolist()
    assert COLOURED.apply(str(paths[3])).tolist() == ROWS[3:4].tolist()
    paths[1].write_bytes(b"")
    with pytest.raises(InputError, match=r"1\.png cannot be read as a picture: it is empty"):
        COLOURED.apply(paths)
    found, broken = COLOURED.read(paths)
    assert broken == {1: "it is empty"}
    assert found[2:].tolist() == ROWS[2:].tolist()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((2, 7)), "a row must have 6 numbers; got 7"),
        (np.zeros(6), "must have the shape"),
        (np.full((2, 3, 2), -1), "from 0 to 255"),
        ([["a"]], "must be files, or arrays of numbers"),
        ([[1], [2, 3]], "of one size"),
        ({"a": 1}, "got dict"),
    ],
)
def test_what_is_no_picture(given, said):
    with pytest.raises(InputError, match=said):
        GREY.apply(given)


def test_it_is_stored_as_primitives():
    stored = COLOURED.to_dict()
    assert stored == {"kind": "pixels", "height": 3, "width": 2, "channels": 3}
    assert restore_encoder(stored) == COLOURED
    assert COLOURED.shape == (3, 3, 2)
    assert GREY.shape == (3, 2)
    assert len(COLOURED.names) == COLOURED.inputs == 18
