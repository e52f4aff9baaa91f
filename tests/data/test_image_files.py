"""Image files: decoded pixels, and images encoded as rows of one size."""

import numpy as np
import pytest
import torch
from PIL import Image

from brainnet.data.dataset import restore_encoder
from brainnet.data.image_files import (
    BrokenImageError,
    ImageEncoder,
    choose_image_array,
    decode_image,
    read_header,
)
from brainnet.errors import InputError

PIXELS = np.array([[0, 50, 100], [150, 200, 250]], np.uint8)


def save(path, image, **options):
    image.save(path, **options)
    return path


def decode_gray(path, height=2, width=3):
    return decode_image(path, height, width, 1)[0].tolist()


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "pgm"])
def test_gray_images_keep_their_bytes(tmp_path, ending):
    path = save(tmp_path / f"x.{ending}", Image.fromarray(PIXELS))
    assert decode_gray(path) == PIXELS.tolist()
    assert read_header(path) == ((2, 3), False)


@pytest.mark.parametrize("ending", ["jpg", "tif"])
def test_orientation_is_applied(tmp_path, ending):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / f"x.{ending}", Image.fromarray(PIXELS), exif=exif)
    assert read_header(path) == ((3, 2), False)
    decoded = np.array(decode_gray(path, 3, 2))
    assert np.abs(decoded - np.rot90(PIXELS, -1)).max() < 40  # JPEG is lossy


def test_damaged_exif_data_is_ignored(tmp_path):
    path = save(tmp_path / "x.jpg", Image.fromarray(PIXELS), exif=b"Exif\0\0MM and garbage")
    assert read_header(path) == ((2, 3), False)
    assert np.abs(np.array(decode_gray(path)) - PIXELS).max() < 40


def test_transparent_pixels_become_white(tmp_path):
    values = np.zeros((2, 3, 4), np.uint8)
    values[0, 0] = (10, 20, 30, 255)
    path = save(tmp_path / "x.png", Image.fromarray(values))
    assert decode_image(path, 2, 3, 3)[:, 0, 0].tolist() == [10, 20, 30]
    assert decode_image(path, 2, 3, 3)[:, 1, 1].tolist() == [255, 255, 255]
    palette = Image.fromarray(PIXELS).convert("P")
    path = save(tmp_path / "p.png", palette, transparency=bytes([0] * 256))
    assert decode_gray(path) == [[255] * 3] * 2


def test_palettes_and_four_channels_have_colors(tmp_path):
    red = Image.new("RGB", (3, 2), (255, 0, 0))
    assert read_header(save(tmp_path / "y.gif", red.convert("P"))) == ((2, 3), True)
    assert read_header(save(tmp_path / "y.jpg", red.convert("CMYK"))) == ((2, 3), True)


def test_images_are_resized(tmp_path):
    values = np.repeat(np.array([[0, 255]], np.uint8), 8, axis=0).repeat(8, axis=1)
    resized = decode_image(save(tmp_path / "x.png", Image.fromarray(values)), 2, 4, 1)[0]
    assert resized[0].tolist() == resized[1].tolist()
    assert resized[0, 0] < 10
    assert resized[0, 3] > 245


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "it is empty"), (b"GIF89a", None), (b"hello", "it is not an image")],
)
def test_other_files_are_rejected(tmp_path, content, message):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(BrokenImageError, match=message):
        read_header(tmp_path / "x.png")


@pytest.mark.parametrize(
    ("ending", "values"),
    [("tif", PIXELS.astype(np.float32) / 7), ("png", PIXELS.astype(np.uint16) * 256)],
)
def test_more_than_eight_bits_are_rejected(tmp_path, ending, values):
    path = save(tmp_path / f"x.{ending}", Image.fromarray(values))
    with pytest.raises(BrokenImageError, match="more than 8 bits per channel"):
        decode_image(path, 2, 3, 1)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_impossible_sizes_are_rejected(tmp_path):
    (tmp_path / "x.pgm").write_bytes(b"P5 60000 60000 255 ")
    with pytest.raises(BrokenImageError, match="pixels"):
        read_header(tmp_path / "x.pgm")
    (tmp_path / "y.pgm").write_bytes(b"P5 10000 10000 255 ")
    assert read_header(tmp_path / "y.pgm")[0] == (10000, 10000)  # more than Pillow is silent about
    with pytest.raises(BrokenImageError):
        decode_image(tmp_path / "y.pgm", 2, 2, 1)


GRAY, COLOR = ImageEncoder(3, 2), ImageEncoder(3, 2, channels=3)
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 3, 2, 3), dtype=np.uint8)
ROWS = IMAGES.transpose(0, 3, 1, 2).reshape(5, -1)


@pytest.mark.parametrize(
    "values",
    [
        IMAGES,
        IMAGES.transpose(0, 3, 1, 2),
        ROWS,
        IMAGES / 255,
        IMAGES.astype(np.int64),
        torch.from_numpy(IMAGES),
        IMAGES.tolist(),
    ],
    ids=["last", "first", "rows", "fractions", "int64", "tensor", "lists"],
)
def test_color_arrays(values):
    rows = COLOR.apply(values)
    assert rows.dtype == np.uint8
    assert rows.tolist() == ROWS.tolist()


def test_single_image_is_one_row():
    assert COLOR.apply(IMAGES[2]).tolist() == ROWS[2:3].tolist()
    assert COLOR.apply(IMAGES[2].transpose(2, 0, 1)).tolist() == ROWS[2:3].tolist()
    assert GRAY.apply(IMAGES[2, ..., 0]).tolist() == [IMAGES[2, ..., 0].ravel().tolist()]
    assert GRAY.apply(IMAGES[..., 0]).tolist() == IMAGES[..., 0].reshape(5, 6).tolist()


def test_other_sizes_and_colors_are_converted():
    gray = np.full((4, 9, 9), 77, np.uint8)
    assert COLOR.apply(gray).tolist() == [[77] * 18] * 4
    assert GRAY.apply(np.full((4, 9, 9, 3), 77, np.uint8)).tolist() == [[77] * 6] * 4


def test_image_paths(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for path, values in zip(paths, IMAGES, strict=True):
        Image.fromarray(values).save(path)
    assert COLOR.apply(paths).tolist() == ROWS.tolist()
    assert COLOR.apply(str(paths[3])).tolist() == ROWS[3:4].tolist()
    paths[1].write_bytes(b"")
    with pytest.raises(InputError, match=r"1\.png cannot be read as an image: it is empty"):
        COLOR.apply(paths)
    rows, broken = COLOR.read_files(paths)
    assert broken == {1: "it is empty"}
    assert rows[2:].tolist() == ROWS[2:].tolist()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 7)), "a row must have 6 numbers; got 7"),
        (np.zeros(6), "must have the shape"),
        (np.full((2, 3, 2), -1), "from 0 to 255"),
        (np.full((2, 3, 2), 1.5), "fractions from 0 to 1; got float64 from 1.5 to 1.5"),
        (np.full((2, 3, 2), np.nan), "got float64 from nan"),
        (np.full((2, 3, 2), 256), "got int64 from 256 to 256"),
        (np.zeros((2, 5, 2, 4)), "Other channels"),
        (np.zeros((2, 5, 2, 5)), "must have the shape"),
        ([["a"]], "must be numbers from 0 to 255"),
        ([[1], [2, 3]], "must have the same size"),
        ({"a": 1}, "got object"),
    ],
)
def test_other_values_are_rejected(values, message):
    with pytest.raises(InputError, match=message):
        GRAY.apply(values)


def test_encoder_is_restored_from_plain_data():
    stored = COLOR.to_dict()
    assert stored == {"kind": "pixels", "height": 3, "width": 2, "channels": 3}
    assert restore_encoder(stored) == COLOR
    assert COLOR.shape == (3, 3, 2)
    assert GRAY.shape == (3, 2)
    assert len(COLOR.names) == COLOR.inputs == 18


def test_image_array_is_chosen_by_name():
    assert choose_image_array(["y_test", "x_test", "x_train"]) == "x_test"
    assert choose_image_array(["labels", "images", "x_train"]) == "images"
    assert choose_image_array(["numbers"]) is None
