"""Image data sets: class folders and IDX files, and messages about invalid ones."""

import gzip
import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from brainnet.data.image_files import list_image_files
from brainnet.data.images import Images
from brainnet.errors import InputError


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, np.uint8)).save(path)


def create_class_folders(folder, colors=False, count=4):
    """Create images of 3 x 2 whose first pixel identifies them."""
    for label, name in enumerate(("ape", "bee")):
        for number in range(count):
            values = np.zeros((3, 2, 3) if colors else (3, 2))
            values[0, 0] = 10 * label + number
            save(folder / name / f"{number}.png", values)
    return folder


def encode_idx(values, kind=8):
    values = np.asarray(values, np.uint8)
    sizes = struct.pack(f">{values.ndim}I", *values.shape)
    return b"\0\0" + bytes([kind, values.ndim]) + sizes + values.tobytes()


@pytest.fixture
def mnist(here):
    """A folder of IDX files with ten images of two classes."""
    folder = here / "mnist"
    folder.mkdir()
    (folder / "train-images-idx3-ubyte").write_bytes(encode_idx(np.zeros((10, 3, 3))))
    (folder / "train-labels-idx1-ubyte").write_bytes(encode_idx(np.arange(10) % 2))
    return folder


def test_class_folders(here):
    data = Images(create_class_folders(here / "zoo")).load(0)
    assert (data.name, data.task, data.class_names) == ("zoo", "binary", ("ape", "bee"))
    assert (data.image_shape, data.part_sizes) == ((3, 2), None)
    assert data.inputs.dtype == torch.uint8
    assert data.inputs[:, 0].tolist() == [0, 1, 2, 3, 10, 11, 12, 13]
    assert data.targets.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert data.input_names[1] == "row 0 column 1"


def test_color_images_are_stored_by_channel(here):
    for number, name in enumerate(("ape", "bee")):
        values = np.arange(3 * 2 * 3).reshape(3, 2, 3) + number
        save(here / "zoo" / name / "1.png", values)
    data = Images("zoo").load(0)
    assert data.image_shape == (3, 3, 2)
    assert data.inputs[0].reshape(3, 3, 2)[1].tolist() == [[1, 4], [7, 10], [13, 16]]
    assert data.input_names[6] == "green row 0 column 0"
    gray = Images("zoo", colors="gray").load(0)
    assert gray.image_shape == (3, 2)
    assert Images("zoo", size=(2, 5)).load(0).image_shape == (3, 2, 5)


def test_one_color_image_makes_all_images_rgb(here):
    create_class_folders(here / "zoo")
    save(here / "zoo" / "bee" / "z.png", np.full((3, 2, 3), 7))
    data = Images("zoo").load(0)
    assert data.image_shape == (3, 3, 2)
    assert data.inputs[1].reshape(3, -1)[:, 0].tolist() == [1, 1, 1]


def test_part_folders(here):
    create_class_folders(here / "zoo" / "train")
    create_class_folders(here / "zoo" / "val", count=1)
    create_class_folders(here / "zoo" / "test", count=2)
    data = Images("zoo").load(0)
    assert data.part_sizes == (8, 2, 4)
    assert data.targets.tolist() == [0] * 4 + [1] * 4 + [0, 1] + [0, 0, 1, 1]


def test_class_may_be_named_like_a_part(here):
    create_class_folders(here / "zoo")
    (here / "zoo" / "ape").rename(here / "zoo" / "train")
    assert Images("zoo").load(0).class_names == ("bee", "train")


def test_hidden_files_are_ignored(here):
    create_class_folders(here / "zoo")
    (here / "zoo" / ".cache").mkdir()
    (here / "zoo" / "ape" / ".DS_Store").write_bytes(b"1")
    (here / "zoo" / "ape" / "Thumbs.db").write_bytes(b"1")
    (here / "zoo" / "about.txt").write_text("apes and bees")
    assert len(Images("zoo").load(0)) == 8


def test_numeric_classes_are_sorted_by_value(here):
    for number in (10, 9, 2):
        save(here / "zoo" / str(number) / "1.png", [[number]])
    assert Images("zoo").load(0).class_names == ("2", "9", "10")
    assert Images("zoo").load(0).inputs.flatten().tolist() == [2, 9, 10]


def test_links_to_parents_are_not_followed(here):
    create_class_folders(here / "zoo")
    (here / "zoo" / "ape" / "up").symlink_to(here / "zoo", target_is_directory=True)
    assert len(Images("zoo").load(0)) == 8


def test_broken_files_are_skipped(here, caplog):
    create_class_folders(here / "zoo")
    (here / "zoo" / "ape" / "1.png").write_bytes(b"nothing")
    whole = (here / "zoo" / "bee" / "2.png").read_bytes()
    (here / "zoo" / "bee" / "2.png").write_bytes(whole[:-30])  # the header is valid
    data = Images("zoo", broken="skip").load(0)
    assert data.inputs[:, 0].tolist() == [0, 2, 3, 10, 11, 13]
    assert data.targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert "zoo/ape/1.png (it is not an image)" in caplog.text
    assert "zoo/bee/2.png" in caplog.text


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_files(mnist, zipped):
    pictures = np.arange(5 * 9).reshape(5, 3, 3)
    ending, pack = (".gz", gzip.compress) if zipped else ("", bytes)
    (mnist / f"t10k-images-idx3-ubyte{ending}").write_bytes(pack(encode_idx(pictures)))
    (mnist / f"t10k-labels-idx1-ubyte{ending}").write_bytes(pack(encode_idx([0, 1, 1, 0, 1])))
    data = Images(mnist).load(0)
    assert data.part_sizes == (10, 0, 5)
    assert data.inputs[10:].tolist() == pictures.reshape(5, 9).tolist()
    assert data.targets[10:].tolist() == [0, 1, 1, 0, 1]
    alone = Images(mnist / f"t10k-images-idx3-ubyte{ending}").load(0)
    assert (len(alone), alone.part_sizes, alone.name) == (5, None, "t10k-images-idx3-ubyte")


def test_compressed_originals_next_to_idx_files_are_ignored(mnist):
    file = mnist / "train-images-idx3-ubyte"
    file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    assert len(Images(mnist).load(0)) == 10


def test_labels_with_another_name(mnist):
    (mnist / "train-labels-idx1-ubyte").rename(mnist / "targets")
    file = mnist / "train-images-idx3-ubyte"
    assert Images(file, labels=mnist / "targets").load(0).targets.sum() == 5


def test_labels_may_be_any_numbers(mnist):
    (mnist / "train-labels-idx1-ubyte").write_bytes(encode_idx(np.arange(10) % 3 * 5 + 1))
    data = Images(mnist).load(0)
    assert data.class_names == ("1", "6", "11")
    assert data.targets[:4].tolist() == [0, 1, 2, 0]


def test_idx_images_are_resized(mnist):
    flat = np.repeat(np.arange(10)[:, None, None], 4, axis=1).repeat(6, axis=2) * 20
    (mnist / "train-images-idx3-ubyte").write_bytes(encode_idx(flat))
    data = Images(mnist, size=(2, 3), colors="rgb").load(0)
    assert data.image_shape == (3, 2, 3)
    assert data.inputs.tolist() == [[20 * row] * 18 for row in range(10)]


def test_images_larger_than_memory_are_rejected(here, monkeypatch):
    create_class_folders(here / "zoo")
    monkeypatch.setattr("brainnet.data.validation.os.sysconf", lambda name: 6)
    with pytest.raises(InputError, match=r"8 images of 3 x 2 need .* GB of memory"):
        Images("zoo").load(0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("images-idx3", b"", "it begins with nothing"),
        ("images-idx3", b"PNG and so on", "it begins with 50 4e 47 20"),
        ("images-idx3", encode_idx(np.zeros((10, 3, 3)), kind=13), "begins with 00 00 0d 03"),
        ("images-idx3", b"\0\0\x08\x03\0\0", "it begins with 00 00 08 03"),
        (
            "images-idx3",
            encode_idx(np.zeros((10, 3, 3)))[:-1],
            "must contain 10 x 3 x 3 bytes; it contains 89",
        ),
        ("images-idx3", encode_idx(np.zeros((10, 3, 3))) + b"1", "it contains 91"),
        ("images-idx3", b"\0\0\x08\x03\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\x01", "it contains 0"),
        ("images-idx3", encode_idx(np.arange(10)), "they contain (10,) and (10,)"),
        ("images-idx3", encode_idx(np.zeros((9, 3, 3))), "they contain (9, 3, 3) and (10,)"),
        ("images-idx3", encode_idx(np.zeros((0, 3, 3))), "they contain (0, 3, 3) and (10,)"),
        ("labels-idx1", encode_idx(np.zeros((10, 3, 3))), "they contain (10, 3, 3) and (10, 3, 3)"),
        ("labels-idx1", encode_idx(np.zeros(10)), "all labels are 0"),
    ],
)
def test_invalid_idx_files_are_rejected(mnist, name, content, message):
    (mnist / f"train-{name}-ubyte").write_bytes(content)
    with pytest.raises(InputError, match=re.escape(message)):
        Images("mnist").load(0)


def test_idx_files_need_their_labels(mnist):
    (mnist / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(InputError, match="train-images-idx3-ubyte are missing"):
        Images(mnist).load(0)


@pytest.mark.parametrize(
    ("shape", "labels", "message"),
    [
        ((2, 2, 3), [0, 1], "train images has 3 x 3 (height x width) and test images 2 x 3."),
        ((2, 3, 3), [1, 2], "has the class '2' without training images"),
    ],
)
def test_other_test_images_are_rejected(mnist, shape, labels, message):
    (mnist / "t10k-images-idx3-ubyte").write_bytes(encode_idx(np.zeros(shape)))
    (mnist / "t10k-labels-idx1-ubyte").write_bytes(encode_idx(labels))
    with pytest.raises(InputError, match=re.escape(message)):
        Images(mnist).load(0)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_and_linked_folders_are_ignored(here):
    for name, other in (("cat", "dog"), ("dog", "cat")):
        (here / "all" / name).mkdir(parents=True)
        Image.new("L", (2, 2), 7).save(here / "all" / name / "a.png")
        (here / "all" / name / "link").symlink_to(Path("..") / other)
    os.mkfifo(here / "all" / "cat" / "pipe")
    paths = [path.relative_to(here).as_posix() for path in list_image_files(here / "all" / "cat")]
    assert paths == ["all/cat/a.png"]


def test_broken_links_are_reported(here):
    create_class_folders(here / "zoo")
    (here / "zoo" / "ape" / "link.png").symlink_to(here / "missing.png")
    with pytest.raises(InputError, match=r"zoo/ape/link\.png \(.*No such file"):
        Images("zoo").load(0)


def test_truncated_gzip_is_rejected(mnist):
    (mnist / "train-images-idx3-ubyte").unlink()
    content = gzip.compress(encode_idx(np.zeros((10, 3, 3))))
    (mnist / "train-images-idx3-ubyte.gz").write_bytes(content[:-9])
    with pytest.raises(InputError, match=r"idx3-ubyte\.gz cannot be read: Compressed file ended"):
        Images(mnist).load(0)
