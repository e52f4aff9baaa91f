"""`brainnet train` in its own process and working directory."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from brainnet.cli.main import main

ROOT = Path(__file__).parents[2]
SMALL = ("data=iris", "network.hidden=[4]", "trainer=cpu", "trainer.max_epochs=2")
STARTED = []


@pytest.fixture(autouse=True)
def empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    while STARTED:  # processes that a failed test left running
        STARTED.pop().kill()


def start(*words):
    """Run `brainnet WORDS` in its own process."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-m", "brainnet", *words],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    STARTED.append(process)
    return process


def latest(runs="runs"):
    return Path(runs) / (Path(runs) / "latest").read_text().strip()


def summary(run):
    return json.loads((run / "summary.json").read_text())


def test_training_prints_nothing_to_stderr(capsys):
    process = start("train", *SMALL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert err == ""
    assert "accuracy/test" in out
    assert {path.name for path in latest().iterdir()} >= {"config.yaml", "summary.json"}
    assert main(["evaluate", "latest"]) == 0
    assert "accuracy/test" in capsys.readouterr().out


def wait_for(path, seconds=150):
    deadline = time.monotonic() + seconds
    while not any(Path.cwd().glob(path)):
        assert time.monotonic() < deadline, f"no {path}"
        time.sleep(0.1)


@pytest.mark.skipif(os.name == "nt", reason="Windows does not have these signals")
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)],
)
def test_interrupted_run_prints_how_to_resume(number, code):
    process = start("train", *SMALL[:-1], "trainer.max_epochs=100000", "observe=off")
    wait_for("runs/*/*/checkpoints/last.ckpt")
    time.sleep(1)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err
    run = latest()
    assert f"brainnet train resume={run}" in out
    assert summary(run)["state"] == "interrupted"
    epochs = summary(run)["epochs"]
    assert main(["train", f"resume={run}", f"trainer.max_epochs={epochs + 2}"]) == 0
    assert summary(run)["state"] == "finished"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows does not have these signals")
def test_interrupted_sweep_starts_no_further_job():
    words = [*SMALL[:-1], "trainer.max_epochs=100000", "observe=off", "-m", "seed=1,2"]
    process = start("train", *words)
    wait_for("runs/*/*/0/checkpoints/last.ckpt")
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted" in out
    assert "not started" in out
    assert not list(Path("runs").glob("*/*/1"))


@pytest.mark.slow
@pytest.mark.parametrize("mode", [[], ["-m", "seed=1,2"]])
def test_several_processes_train_one_run_in_one_directory(mode):
    words = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    process = start("train", *SMALL[:2], "trainer.max_epochs=2", *words, *mode)
    _, err = process.communicate(timeout=280)
    assert process.returncode == 0, err
    runs = sorted(path.parent for path in Path("runs").rglob("summary.json"))
    assert len(runs) == (2 if mode else 1)
    assert all(summary(run)["state"] == "finished" for run in runs)
    steps = 2 * -(-90 // 64)  # two processes, 32 rows each
    assert [summary(run)["steps"] for run in runs] == [steps] * len(runs)


@pytest.mark.slow
def test_spirals_experiment_learns():
    assert main(["train", "experiment=spirals", "observe=off"]) == 0
    assert summary(latest())["metrics"]["accuracy/test"] >= 0.95
