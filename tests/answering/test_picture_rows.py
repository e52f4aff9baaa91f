"""Pictures to be answered: folders, single files, arrays; what is broken is named."""

import gzip

import numpy as np
import pytest
from PIL import Image

from brainnet.data.image_files import ImageEncoder
from brainnet.errors import InputError
from brainnet.inference.inputs import picture_of, read_image_batches

PIXELS = ImageEncoder(2, 2)


def collected(source):
    parts = list(read_image_batches(PIXELS, source))
    names = [name for kept, _ in parts for name in kept.get("file", [])]
    return names, np.concatenate([rows for _, rows in parts]).tolist()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    Image.new("L", (2, 2), 7).save(tmp_path / "in" / "b.png")
    Image.new("L", (4, 4), 9).save(tmp_path / "in" / "deep" / "a.png")
    return tmp_path / "in"


def test_a_folder_is_read_by_name_at_the_size_of_the_run(folder):
    assert collected(folder) == (["b.png", "deep/a.png"], [[7] * 4, [9] * 4])


def test_a_single_picture_is_a_row(folder):
    assert collected(folder / "b.png") == (["b.png"], [[7] * 4])


def test_arrays_of_pictures_are_read(tmp_path):
    pictures = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    np.save(tmp_path / "a.npy", pictures)
    np.savez(tmp_path / "a.npz", other=np.zeros(3), images=pictures)
    np.savez(tmp_path / "b.npz", labels=np.zeros(3), Image=pictures)
    head = b"\0\0\x08\x03" + np.array([3, 2, 2], ">u4").tobytes()
    with gzip.open(tmp_path / "t10k-images-idx3-ubyte.gz", "wb") as file:
        file.write(head + pictures.tobytes())
    for name in ("a.npy", "a.npz", "b.npz", "t10k-images-idx3-ubyte.gz"):
        assert collected(tmp_path / name) == ([], pictures.reshape(3, 4).tolist())


def test_one_picture_is_that_of_its_number(folder, tmp_path):
    pictures = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    np.save(tmp_path / "a.npy", pictures)
    np.savez(tmp_path / "a.npz", images=pictures / 255)
    (tmp_path / "a-ubyte").write_bytes(
        b"\0\0\x08\x03" + np.array([3, 2, 2], ">u4").tobytes() + pictures.tobytes()
    )
    for name in ("a.npy", "a.npz", "a-ubyte"):
        row, file, number = picture_of(PIXELS, tmp_path / name, 2)
        assert (row.tolist(), file, number) == ([[8, 9, 10, 11]], tmp_path / name, 2)
        with pytest.raises(InputError, match=rf"{name} has pictures 0 to 2; got 3"):
            picture_of(PIXELS, tmp_path / name, 3)
    deep = folder / "deep" / "a.png"
    for source, wanted in ((folder, 1), (deep, None), (deep, 0)):
        row, file, number = picture_of(PIXELS, source, wanted)
        assert (row.tolist(), file, number) == ([[9] * 4], deep, None)
    for wanted, told in ((None, "which of the pictures of"), (2, "0 to 1; got 2"), (-1, "got -1")):
        with pytest.raises(InputError, match=told):
            picture_of(PIXELS, folder, wanted)
    with pytest.raises(InputError, match=r"a\.png has pictures 0 to 0; got 1"):
        picture_of(PIXELS, deep, 1)


def test_one_picture_is_found_in_whichever_part_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr("brainnet.inference.inputs.rows_of_a_pass", lambda cells: 2)
    pictures = np.arange(20, dtype=np.uint8).reshape(5, 2, 2)
    np.save(tmp_path / "a.npy", pictures)
    found = [picture_of(PIXELS, tmp_path / "a.npy", number)[0][0].tolist() for number in range(5)]
    assert found == pictures.reshape(5, 4).tolist()


def test_what_is_no_picture_is_named(folder, tmp_path):
    (folder / "deep" / "broken.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"broken\.png \(it is no picture\) cannot be read"):
        collected(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no files"):
        collected(tmp_path / "empty")
    np.savez(tmp_path / "odd.npz", numbers=np.zeros(3))
    with pytest.raises(InputError, match="holds numbers, and none of them"):
        collected(tmp_path / "odd.npz")
    (tmp_path / "bad.npy").write_bytes(b"rubbish")
    with pytest.raises(InputError, match="cannot be read as an array"):
        collected(tmp_path / "bad.npy")
    np.savez_compressed(tmp_path / "damaged.npz", images=np.zeros((9, 99, 99)))
    content = bytearray((tmp_path / "damaged.npz").read_bytes())
    content[100:160] = b"?" * 60
    (tmp_path / "damaged.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"damaged\.npz cannot be read as an array"):
        collected(tmp_path / "damaged.npz")
    np.save(tmp_path / "none.npy", np.zeros((0, 2, 2), np.uint8))
    with pytest.raises(InputError, match="an array of none"):
        collected(tmp_path / "none.npy")


def test_whether_pictures_are_fractions_is_asked_of_all_of_an_array(tmp_path, monkeypatch):
    monkeypatch.setattr("brainnet.inference.inputs.rows_of_a_pass", lambda cells: 1)
    pictures = np.array([[[0, 1], [1, 0]], [[0, 200], [7, 255]]], np.float32)
    np.save(tmp_path / "a.npy", pictures)
    assert collected(tmp_path / "a.npy")[1] == [[0, 1, 1, 0], [0, 200, 7, 255]]
    np.save(tmp_path / "a.npy", pictures / 255)
    assert collected(tmp_path / "a.npy")[1] == [[0, 1, 1, 0], [0, 200, 7, 255]]


def test_what_is_broken_is_left_out_where_that_is_asked_for(folder, caplog):
    (folder / "a.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"a\.png .* --broken skip"):
        collected(folder)
    parts = list(read_image_batches(PIXELS, folder, skip=True))
    assert [name for kept, _ in parts for name in kept["file"]] == ["b.png", "deep/a.png"]
    assert [row[0] for _, rows in parts for row in rows] == [7, 9]
    assert "a.png" in caplog.text
