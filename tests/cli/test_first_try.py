"""What people type first is met with what to type instead."""

import shlex
from pathlib import Path

import pytest

from brainnet.cli.main import main
from brainnet.config.compose import of_option, of_rows

TABLE = "A table is trained on by: brainnet train data=table data.path=house.csv data.target=COLUMN"
PICTURES = "are trained on by: brainnet train data=images data.path=pictures"


@pytest.fixture
def there():
    """A table and a folder of pictures, in the folder that the command is called from."""
    Path("house.csv").write_text("rooms,price\n3,100\n")
    Path("pictures/cat").mkdir(parents=True)


@pytest.mark.parametrize("words", ["house.csv", "data.path=house.csv", "data=house.csv"])
def test_a_table_that_is_named_alone_is_met_with_what_to_type(there, words, capsys):
    assert main(["train", words]) == 2
    assert TABLE in capsys.readouterr().err


@pytest.mark.parametrize("words", ["pictures", "./pictures", "data.path=pictures"])
def test_a_folder_that_is_named_alone_is_one_of_pictures(there, words, capsys):
    assert main(["train", words]) == 2
    assert PICTURES in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("gone.parquet", "data=table"),
        ("gone.csv.gz", "data=table"),
        ("train-images-idx3-ubyte.gz", "data=images"),
        ("my (1).csv", "'data.path=\"my (1).csv\"'"),
        ("notes", None),
        ("a\0b", None),
    ],
)
def test_a_file_is_known_by_its_ending_though_it_is_not_there(word, told):
    found = of_rows(word)
    assert (found is None) if told is None else (told in found)


def test_an_absolute_path_is_named_as_it_was_typed(there, capsys):
    path = Path("house.csv").resolve()
    assert main(["train", str(path)]) == 2
    assert f"data.path={path}" in shlex.split(capsys.readouterr().err)


def test_a_run_is_gone_on_with_and_a_choice_is_named_with_its_group(capsys):
    Path("run").mkdir()
    Path("run/summary.json").write_text("{}")
    for word, told in (("run", "resume=run"), ("moons", "Did you mean data=moons?")):
        assert main(["train", word]) == 2
        assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("train --epochs 5", "trainer.max_epochs=5"),
        ("train --lr 0.1", "optimizer.lr=0.1"),
        ("train --lr=0.1", "optimizer.lr=0.1"),
        ("train -lr 0.1", "optimizer.lr=0.1"),
        ("train data=moons --batch-size", "data.batch_size=..."),
        ("train --data moons", "data=moons"),
        ("train --multirum", "Did you mean --multirun?"),
        ("evaluate --batch-size 4 latest", "data.batch_size=4"),
    ],
)
def test_an_option_that_is_a_key_elsewhere_is_shown_as_one_types_it(words, told, capsys):
    assert main(words.split()) == 2
    assert told in capsys.readouterr().err


def test_an_option_that_nothing_is_like_is_met_with_nothing():
    assert of_option("--zebra", ["--zebra"], ["--help"]) == ""
