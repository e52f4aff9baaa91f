"""Pictures that cannot be learnt from end with exit code 2 and one clear message about a file."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from brainnet.cli.main import main


@pytest.fixture
def refused(capsys):
    """Train on a path, hold that it was refused without a trace, and return what was said."""

    def train(path, *words):
        before = {each: each.stat().st_size for each in Path.cwd().rglob("*")}
        code = main(["train", "data=images", f"data.path={path}", *words])
        out, err = capsys.readouterr()
        assert code == 2, err
        assert err.startswith("brainnet: error: ")
        assert "Traceback" not in err
        assert len(err.splitlines()) <= 3
        assert out == ""
        assert {each: each.stat().st_size for each in Path.cwd().rglob("*")} == before
        return err

    return train


def picture(path, size=(4, 4), mode="L", colour=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour if colour is not None else 200).save(path)


@pytest.fixture
def pets():
    """A folder of two classes with eight grey pictures each."""
    for name in ("cats", "dogs"):
        for number in range(8):
            picture(Path("pets") / name / f"{number}.png", colour=number + 40 * (name == "cats"))
    return Path("pets")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"no picture at all", "it is no picture"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "cannot be read as a picture"),
    ],
)
def test_a_broken_picture_is_named(pets, refused, content, said):
    (pets / "dogs" / "x.png").write_bytes(content)
    told = refused(pets)
    assert "pets/dogs/x.png" in told
    assert said in told
    assert "data.broken=skip" in told


def test_a_picture_that_ends_too_early_is_named(pets, refused):
    whole = pets / "cats" / "3.png"
    noise = np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)
    Image.fromarray(noise).resize((4, 4)).save(whole)
    Image.fromarray(noise).save(pets / "long.png")
    cut = (pets / "long.png").read_bytes()[:400]
    (pets / "long.png").unlink()
    (pets / "cats" / "cut.png").write_bytes(cut)
    assert "pets/cats/cut.png (image file is truncated" in refused(pets, "data.size=4")


def test_what_is_broken_is_left_out_when_asked_for(pets, capsys, caplog):
    (pets / "dogs" / "x.png").write_bytes(b"nothing")
    (pets / "dogs" / "notes.txt").write_text("of dogs")
    words = ["data.broken=skip", "trainer.max_epochs=1", "observe=off", "trainer=cpu"]
    assert main(["train", "data=images", f"data.path={pets}", *words]) == 0
    assert "2 files left out that cannot be read as pictures: pets/dogs/notes.txt" in caplog.text


def test_a_class_must_not_be_lost_by_leaving_out(pets, refused):
    for path in (pets / "dogs").iterdir():
        path.write_bytes(b"nothing")
    assert "no file of the class 'dogs' in pets can be read" in refused(pets, "data.broken=skip")


def test_unequal_sizes_say_which_size_to_set(pets, refused):
    picture(pets / "dogs" / "wide.png", (6, 4))
    told = refused(pets)
    assert "16 have 4 x 4 (height x width), but pets/dogs/wide.png has 4 x 6" in told
    assert "Set data.size=4," in told


def test_an_empty_class_folder_is_named(pets, refused):
    (pets / "birds").mkdir()
    assert "the class folder pets/birds is empty" in refused(pets)


def test_a_single_class_is_refused(pets, refused):
    for path in (pets / "dogs").iterdir():
        path.unlink()
    (pets / "dogs").rmdir()
    assert "it holds one only, cats" in refused(pets)


def test_pictures_without_class_folders_are_refused(pets, refused):
    assert "it holds 8 files and no folder" in refused(pets / "cats")


def test_a_test_class_that_is_not_trained_on_is_named(pets, refused):
    Path("parted").mkdir()
    pets.rename("parted/train")
    for name in ("cats", "dog"):
        picture(Path("parted/test") / name / "1.png")
    told = refused("parted")
    assert "parted/test has a class 'dog'" in told
    assert "Did you mean dogs?" in told


def test_too_few_pictures_of_a_class_are_counted(pets, refused):
    picture(pets / "birds" / "1.png")
    assert "class 'birds' has 1 row: too few" in refused(pets)


def test_a_path_that_is_not_there_is_met_with_the_nearest(pets, refused):
    assert "data.path=pet: there is no such folder or file. Did you mean pets?" in refused("pet")


def test_an_empty_folder_is_refused(refused):
    Path("nothing").mkdir()
    assert "it holds nothing" in refused("nothing")


def test_another_kind_of_file_is_refused(refused):
    Path("rows.csv").write_text("a,b\n1,2\n")
    assert "choose data=table" in refused("rows.csv")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("data.size=0", "data.size needs a whole number, 1 or more"),
        ("data.size=[1,2,3]", "data.size needs"),
        ("data.size=99999", "data.size must be a whole number from 1 to 16384"),
        ("data.colours=gray", "data.colours needs auto|grey|rgb"),
        ("data.broken=ignore", "data.broken needs refuse|skip"),
    ],
)
def test_options_are_checked(pets, refused, words, said):
    assert said in refused(pets, words)
