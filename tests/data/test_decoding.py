"""Whether a picture file becomes the bytes that an eye would see."""

import numpy as np
import pytest
from PIL import Image

from brainnet.data.image_files import (
    BrokenPictureError,
    Look,
    decode_image,
    inspect_image,
    quiet_pillow,
)

LYING = np.array([[0, 50, 100], [150, 200, 250]], np.uint8)


def saved(path, image, **options):
    image.save(path, **options)
    return path


def grey(path, height=2, width=3):
    return decode_image(path, height, width, 1)[0].tolist()


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "gif", "pgm"])
def test_bytes_of_a_grey_picture_are_its_own(tmp_path, ending):
    path = saved(tmp_path / f"x.{ending}", Image.fromarray(LYING))
    assert grey(path) == LYING.tolist()
    assert inspect_image(path) == Look(2, 3, coloured=False)


def test_a_camera_held_upright_is_turned(tmp_path):
    notes = Image.Exif()
    notes[0x0112] = 6
    path = saved(tmp_path / "x.png", Image.fromarray(LYING), exif=notes)
    assert inspect_image(path) == Look(3, 2, coloured=False)
    assert grey(path, 3, 2) == np.rot90(LYING, -1).tolist()


def test_damaged_notes_do_not_matter(tmp_path):
    path = saved(tmp_path / "x.jpg", Image.fromarray(LYING), exif=b"Exif\0\0MM and rubbish")
    with quiet_pillow():
        assert inspect_image(path) == Look(2, 3, coloured=False)
        assert np.abs(np.array(grey(path)) - LYING).max() < 40


def test_what_is_transparent_is_seen_on_white(tmp_path):
    values = np.zeros((2, 3, 4), np.uint8)
    values[0, 0] = (10, 20, 30, 255)
    path = saved(tmp_path / "x.png", Image.fromarray(values))
    assert decode_image(path, 2, 3, 3)[:, 0, 0].tolist() == [10, 20, 30]
    assert decode_image(path, 2, 3, 3)[:, 1, 1].tolist() == [255, 255, 255]
    palette = Image.fromarray(LYING).convert("P")
    path = saved(tmp_path / "p.png", palette, transparency=bytes([0] * 256))
    with quiet_pillow():
        assert grey(path) == [[255] * 3] * 2


def test_sixteen_bits_become_eight(tmp_path):
    path = saved(tmp_path / "x.png", Image.fromarray(LYING.astype(np.uint16) * 256))
    assert grey(path) == LYING.tolist()
    assert not inspect_image(path).coloured


def test_a_palette_of_greys_has_no_colours(tmp_path):
    assert not inspect_image(saved(tmp_path / "x.gif", Image.fromarray(LYING))).coloured
    red = Image.new("RGB", (3, 2), (255, 0, 0))
    assert inspect_image(saved(tmp_path / "y.gif", red.convert("P"))).coloured
    assert inspect_image(saved(tmp_path / "y.jpg", red.convert("CMYK"))).coloured


def test_the_whole_is_stretched_to_the_size(tmp_path):
    values = np.repeat(np.array([[0, 255]], np.uint8), 8, axis=0).repeat(8, axis=1)
    found = decode_image(saved(tmp_path / "x.png", Image.fromarray(values)), 2, 4, 1)[0]
    assert found[0].tolist() == found[1].tolist()
    assert found[0, 0] < 10
    assert found[0, 3] > 245


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "it is empty"), (b"GIF89a", None), (b"hello", "it is no picture")]
)
def test_no_picture(tmp_path, content, said):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(BrokenPictureError, match=said):
        inspect_image(tmp_path / "x.png")


def test_a_picture_of_decimal_numbers_is_refused(tmp_path):
    path = saved(tmp_path / "x.tif", Image.fromarray(LYING.astype(np.float32) / 7))
    with pytest.raises(BrokenPictureError, match="decimal point"):
        decode_image(path, 2, 3, 1)


def test_a_head_that_lies_about_its_size_is_not_believed(tmp_path):
    (tmp_path / "x.pgm").write_bytes(b"P5 60000 60000 255 ")
    with quiet_pillow(), pytest.raises(BrokenPictureError, match="pixels"):
        inspect_image(tmp_path / "x.pgm")
    (tmp_path / "y.pgm").write_bytes(b"P5 10000 10000 255 ")
    with quiet_pillow():
        assert inspect_image(tmp_path / "y.pgm").height == 10000  # more than Pillow is silent about
        with pytest.raises(BrokenPictureError):
            decode_image(tmp_path / "y.pgm", 2, 2, 1)
