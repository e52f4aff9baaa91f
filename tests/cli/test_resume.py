"""Resuming a run from the command line."""

import os
from pathlib import Path

import pytest
import yaml

from brainnet.cli.main import main
from brainnet.training.run_directory import find_run, lock_run

NET = ("network.hidden=[3]", "trainer=cpu", "observe=off")
TABLE = ("data=table", "data.path=rows.csv", "data.target=bought", "data.missing=impute")


@pytest.fixture
def table_run():
    lines = [f"{number % 7},{number % 3},{'yes' if number % 2 else 'no'}" for number in range(40)]
    Path("rows.csv").write_text("\n".join(["age,cook,bought", *lines]) + "\n")
    assert main(["train", *TABLE, *NET, "optimizer=sgd", "trainer.max_epochs=1"]) == 0


@pytest.mark.parametrize(
    "words",
    [
        [*TABLE, *NET, "optimizer=sgd"],
        ["data=table"],
        ["data.path=rows.csv"],
        ["data=table", "data.path=./rows.csv", "data.missing=impute"],
        ["optimizer=sgd", "optimizer.lr=0.1"],
    ],
)
def test_overrides_of_the_run_may_be_repeated(table_run, words, summary):
    assert main(["train", "resume=latest", "trainer.max_epochs=2", *words]) == 0
    run = Path("runs") / Path("runs/latest").read_text().strip()
    assert summary(run)["epochs"] == 2


def test_resumed_run_stays_in_its_folder(run, summary):
    words = [f"resume={run}", "trainer.max_epochs=3", "logger=csv", "hydra.run.dir=elsewhere"]
    assert main(["train", *words]) == 0
    assert summary(run)["epochs"] == 3
    assert (run / "metrics.csv").is_file()
    assert not Path("elsewhere").exists()


def test_latest_is_looked_up_once(table_run, monkeypatch):
    """Another run that starts meanwhile does not change which one is resumed."""
    names = []

    def note(name, runs):
        names.append(name)
        return find_run(name, runs)

    for module in ("brainnet.config.resume", "brainnet.training.fit"):
        monkeypatch.setattr(f"{module}.find_run", note)
    assert main(["train", "resume=latest", "trainer.max_epochs=2"]) == 0
    assert names == ["latest"]


@pytest.mark.parametrize("word", ["data.target=cook", "data.missing=drop", "data.path=cooks.csv"])
@pytest.mark.parametrize("choice", [["data=table"], []])
def test_other_data_are_rejected(table_run, capsys, choice, word):
    assert main(["train", "resume=latest", "trainer.max_epochs=2", *choice, word]) == 2
    message = capsys.readouterr().err
    assert "resume continues with the same network on the same data" in message
    assert word in message


def test_run_in_training_is_not_changed_and_can_be_read(capsys, run, monkeypatch):
    def read(*_):
        raise AssertionError("the rows must not be read")

    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with lock_run(run):
        with monkeypatch.context() as patched:
            patched.setattr("brainnet.cli.train.build_components", read)
            assert main(["train", f"resume={run}", "trainer.max_epochs=3"]) == 2
        message = capsys.readouterr().err
        assert f"{run} is being trained by another command (process {os.getpid()}" in message
        assert main(["evaluate", str(run)]) == 0
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert main(["train", f"resume={run}", "trainer.max_epochs=3"]) == 0


def test_run_writes_outside_only_if_the_path_is_typed(capsys, tmp_path):
    target = "+callbacks.mine._target_=lightning.pytorch.callbacks.ModelCheckpoint"
    there = tmp_path / "elsewhere"
    words = ["data=xor", *NET, target, f"+callbacks.mine.dirpath={there}"]
    assert main(["train", *words, "trainer.max_epochs=1"]) == 0
    assert list(there.iterdir())
    for file in there.iterdir():
        file.unlink()
    assert main(["train", "resume=latest", "trainer.max_epochs=2"]) == 2
    message = capsys.readouterr().err
    assert f"type it again: +callbacks.mine.dirpath={there}" in message
    assert not list(there.iterdir())
    typed = f"+callbacks.mine.dirpath={there}"
    assert main(["train", "resume=latest", "trainer.max_epochs=2", typed]) == 0
    assert list(there.iterdir())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("observe.folder", "/tmp/elsewhere"),
        ("trainer.default_root_dir", "~/elsewhere"),
        ("callbacks.mine.dirpath", "file:///tmp/elsewhere"),
        ("logger.csv.save_dir", "elsewhere"),
        ("callbacks.mine.places", ["../elsewhere"]),
    ],
)
def test_run_with_a_path_outside_is_rejected(capsys, run, key, value):
    config = yaml.safe_load((run / "config.yaml").read_text())
    *branches, last = key.split(".")
    node = config
    for branch in branches:
        node = node.setdefault(branch, {})
    node[last] = value
    if "mine" in key:
        node["_target_"] = "lightning.pytorch.callbacks.ModelCheckpoint"
    if "csv" in key:
        node["_target_"] = "lightning.pytorch.loggers.CSVLogger"
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["train", f"resume={run}", "trainer.max_epochs=9"]) == 2
    assert f"writes outside of the run, {key}=" in capsys.readouterr().err
