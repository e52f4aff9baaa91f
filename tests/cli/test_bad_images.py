"""Invalid images end with exit code 2 and one clear message, and no file is written."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from brainnet.cli.main import main


@pytest.fixture
def reject(capsys):
    """Train on a path, check that it was rejected without files, and return the message."""

    def train(path, *words):
        before = {file: file.stat().st_size for file in Path.cwd().rglob("*")}
        code = main(["train", "data=images", f"data.path={path}", *words])
        out, err = capsys.readouterr()
        assert code == 2, err
        assert err.startswith("brainnet: error: ")
        assert "Traceback" not in err
        assert len(err.splitlines()) <= 3
        assert out == ""
        assert {file: file.stat().st_size for file in Path.cwd().rglob("*")} == before
        return err

    return train


def save_image(path, size=(4, 4), mode="L", color=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color if color is not None else 200).save(path)


@pytest.fixture
def pets():
    """A folder of two classes with eight gray images each."""
    for name in ("cats", "dogs"):
        for number in range(8):
            save_image(Path("pets") / name / f"{number}.png", color=number + 40 * (name == "cats"))
    return Path("pets")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"not an image at all", "it is not an image"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "not a readable image"),
    ],
)
def test_broken_image_is_named(pets, reject, content, message):
    (pets / "dogs" / "x.png").write_bytes(content)
    error = reject(pets)
    assert "pets/dogs/x.png" in error
    assert message in error
    assert "data.broken=skip" in error


def test_truncated_image_is_named(pets, reject):
    whole = pets / "cats" / "3.png"
    noise = np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)
    Image.fromarray(noise).resize((4, 4)).save(whole)
    Image.fromarray(noise).save(pets / "long.png")
    truncated = (pets / "long.png").read_bytes()[:400]
    (pets / "long.png").unlink()
    (pets / "cats" / "cut.png").write_bytes(truncated)
    assert "pets/cats/cut.png (image file is truncated" in reject(pets, "data.size=4")


def test_broken_images_can_be_skipped(pets, capsys, caplog):
    (pets / "dogs" / "x.png").write_bytes(b"nothing")
    (pets / "dogs" / "notes.txt").write_text("of dogs")
    words = ["data.broken=skip", "trainer.max_epochs=1", "observe=off", "trainer=cpu"]
    assert main(["train", "data=images", f"data.path={pets}", *words]) == 0
    assert "skipped 2 unreadable images: " in caplog.text
    assert "pets/dogs/notes.txt (it is not an image)" in caplog.text


def test_class_with_only_broken_images_is_rejected(pets, reject):
    for path in (pets / "dogs").iterdir():
        path.write_bytes(b"nothing")
    assert "no training image of the class 'dogs' can be read" in reject(pets, "data.broken=skip")


def test_unequal_sizes_suggest_a_size(pets, reject):
    save_image(pets / "dogs" / "wide.png", (6, 4))
    error = reject(pets)
    assert "7.png has 4 x 4 (height x width) and " in error
    assert "pets/dogs/wide.png 4 x 6" in error
    assert "Set data.size=32," in error


def test_empty_class_folder_is_rejected(pets, reject):
    (pets / "birds").mkdir()
    assert "pets/birds is empty" in reject(pets)


def test_single_class_is_rejected(pets, reject):
    for path in (pets / "dogs").iterdir():
        path.unlink()
    (pets / "dogs").rmdir()
    assert "it contains cats." in reject(pets)


def test_images_without_class_folders_are_rejected(pets, reject):
    assert "it contains no folder." in reject(pets / "cats")


def test_untrained_test_class_is_rejected(pets, reject):
    Path("parted").mkdir()
    pets.rename("parted/train")
    for name in ("cats", "dog"):
        save_image(Path("parted/test") / name / "1.png")
    error = reject("parted")
    assert "parted/test has a class 'dog'" in error
    assert "Did you mean dogs?" in error


def test_class_with_one_image_is_rejected(pets, reject):
    save_image(pets / "birds" / "1.png")
    assert "class 'birds' (1 row)" in reject(pets)


def test_missing_path_gets_a_suggestion(pets, reject):
    assert "pet: there is no such folder or file. Did you mean pets?" in reject("pet")


def test_empty_folder_is_rejected(reject):
    Path("nothing").mkdir()
    assert "it contains no folder." in reject("nothing")


def test_other_file_is_rejected(reject):
    Path("rows.csv").write_text("a,b\n1,2\n")
    assert "choose data=table" in reject("rows.csv")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("data.size=0", "data.size must be an integer >= 1"),
        ("data.size=[1,2,3]", "data.size must be"),
        ("data.size=99999", "data.size must be a whole number from 1 to 16384"),
        ("data.colors=grey", "data.colors must be auto|gray|rgb"),
        ("data.broken=ignore", "data.broken must be error|skip"),
    ],
)
def test_invalid_options_are_rejected(pets, reject, words, message):
    assert message in reject(pets, words)
