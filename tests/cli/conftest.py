"""A temporary directory for every test of the command line, and a small trained run."""

import json
import os
import shutil
from pathlib import Path

import pytest

from brainnet.cli.main import main

SMALL = ("data=iris", "network.hidden=[4]", "trainer.max_epochs=2", "trainer=cpu")


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A small run, trained once; tests work on copies."""
    folder = tmp_path_factory.mktemp("trained")
    here = Path.cwd()
    os.chdir(folder)
    try:
        assert main(["train", *SMALL]) == 0
    finally:
        os.chdir(here)
    return folder / "runs"


@pytest.fixture
def run(trained, empty_folder):
    """The directory of a copy of the small run."""
    shutil.copytree(trained, empty_folder / "runs")
    name = (empty_folder / "runs" / "latest").read_text().strip()
    return Path("runs") / name


@pytest.fixture
def summary():
    """Reads the summary of a run."""
    return lambda folder: json.loads((Path(folder) / "summary.json").read_text())


@pytest.fixture
def experiment(empty_folder):
    """Writes an experiment of another person, for `--config-dir mine experiment=NAME`."""

    def write(content, name="evil", group="experiment"):
        folder = empty_folder / "mine" / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.yaml").write_text(f"# @package _global_\n{content}")

    return write
