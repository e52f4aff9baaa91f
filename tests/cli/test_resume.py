"""Going on with a run from the command line, by whatever words."""

import os
from pathlib import Path

import pytest
import yaml

from brainnet.cli.main import main
from brainnet.training.run_directory import lock_run

NET = ("network.hidden=[3]", "trainer=cpu", "observe=off")
TABLE = ("data=table", "data.path=rows.csv", "data.target=bought", "data.missing=impute")


@pytest.fixture
def of_a_table():
    lines = [f"{number % 7},{number % 3},{'yes' if number % 2 else 'no'}" for number in range(40)]
    Path("rows.csv").write_text("\n".join(["age,cook,bought", *lines]) + "\n")
    assert main(["train", *TABLE, *NET, "optimizer=sgd", "trainer.max_epochs=1"]) == 0


@pytest.mark.parametrize(
    "words",
    [
        [*TABLE, *NET, "optimizer=sgd"],
        ["data=table"],
        ["data.target=bought"],
        ["data.path=./rows.csv", "data.missing=impute"],
        ["optimizer=sgd", "optimizer.lr=0.1"],
    ],
)
def test_the_line_of_the_run_may_be_typed_again(of_a_table, words, summary):
    assert main(["train", "resume=latest", "trainer.max_epochs=2", *words]) == 0
    run = Path("runs") / Path("runs/latest").read_text().strip()
    assert summary(run)["epochs"] == 2


@pytest.mark.parametrize("word", ["data.target=cook", "data.missing=drop", "data=images"])
def test_other_data_are_refused_as_such(of_a_table, capsys, word):
    assert main(["train", "resume=latest", "trainer.max_epochs=2", word]) == 2
    said = capsys.readouterr().err
    assert "resume goes on with the same network on the same data" in said
    assert word in said


def test_a_run_in_training_is_left_alone_and_can_be_read(capsys, run, monkeypatch):
    def read(*_):
        raise AssertionError("it is said before any rows are read")

    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with lock_run(run):
        with monkeypatch.context() as patched:
            patched.setattr("brainnet.cli.train.parts_of", read)
            assert main(["train", f"resume={run}", "trainer.max_epochs=3"]) == 2
        said = capsys.readouterr().err
        assert f"{run} is being trained by another command (process {os.getpid()}" in said
        assert main(["evaluate", str(run)]) == 0
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert main(["train", f"resume={run}", "trainer.max_epochs=3"]) == 0


def test_a_run_writes_elsewhere_only_where_that_is_typed(capsys, tmp_path):
    target = "+callbacks.mine._target_=lightning.pytorch.callbacks.ModelCheckpoint"
    there = tmp_path / "elsewhere"
    words = ["data=xor", *NET, target, f"+callbacks.mine.dirpath={there}"]
    assert main(["train", *words, "trainer.max_epochs=1"]) == 0
    assert list(there.iterdir())
    for file in there.iterdir():
        file.unlink()
    assert main(["train", "resume=latest", "trainer.max_epochs=2"]) == 2
    said = capsys.readouterr().err
    assert f"type it again: +callbacks.mine.dirpath={there}" in said
    assert not list(there.iterdir())
    typed = f"+callbacks.mine.dirpath={there}"
    assert main(["train", "resume=latest", "trainer.max_epochs=2", typed]) == 0
    assert list(there.iterdir())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("observe.folder", "/tmp/elsewhere"),
        ("observe.folder", "elsewhere"),
        ("trainer.default_root_dir", "~/elsewhere"),
        ("callbacks.mine.dirpath", "file:///tmp/elsewhere"),
        ("callbacks.mine.places", ["../elsewhere"]),
    ],
)
def test_a_run_that_leads_elsewhere_is_refused(capsys, run, key, value):
    config = yaml.safe_load((run / "config.yaml").read_text())
    *branches, last = key.split(".")
    node = config
    for branch in branches:
        node = node.setdefault(branch, {})
    node[last] = value
    if "mine" in key:
        node["_target_"] = "lightning.pytorch.callbacks.ModelCheckpoint"
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["train", f"resume={run}", "trainer.max_epochs=9"]) == 2
    assert f"leads outside of the run, {key}=" in capsys.readouterr().err
