"""The command `brainnet`: help, version, and start-up without torch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from brainnet import __version__
from brainnet.cli.main import main
from brainnet.config.schema import KEYS


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_the_commands(capsys, words):
    assert main(words) == 0
    out = capsys.readouterr().out
    assert all(
        f"brainnet {command}" in out for command in ("train", "evaluate", "explain", "kernels")
    )


@pytest.mark.parametrize("command", ["evaluate", "kernels"])
def test_missing_argument_is_reported_with_the_usage(capsys, command):
    assert main([command]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 2
    assert f"Usage: brainnet {command}" in err


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"brainnet {__version__}\n"


def test_help_of_train_lists_every_group_and_key(capsys):
    assert main(["train", "--help"]) == 0
    out = capsys.readouterr().out
    assert "moons" in out
    assert "experiment" in out
    paths = [key.path for key in KEYS if not key.path.endswith("_target_")]
    assert [path for path in paths if path not in out] == []


def test_help_of_evaluate(capsys):
    assert main(["evaluate", "--help"]) == 0
    assert "RUN" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["train", "--help"],
        ["predict", "--help"],
        ["kernels", "--help"],
        ["explain", "weights"],
    ],
)
def test_help_and_explain_import_no_heavy_library(words):
    code = (
        "import sys; from brainnet.cli.main import main; "
        f"assert main({words!r}) == 0; "
        "heavy = {'torch', 'lightning', 'hydra', 'numpy', 'sklearn'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_import_path_is_restored(tmp_path, monkeypatch, capsys):
    before = list(sys.path)
    (tmp_path / "beside.py").write_text("import sys\nPATH = list(sys.path)\n")
    assert main(["train", "network=custom", "network._target_=beside.Net"]) == 2
    assert "has no Net" in capsys.readouterr().err
    assert str(tmp_path) in sys.modules.pop("beside").PATH
    assert sys.path == before
