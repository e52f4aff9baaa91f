"""Who trains a run keeps others out, readers excepted, and nothing of it is left behind."""

import errno
import os
import subprocess
import sys

import pytest
from lightning.pytorch import Callback

from brainnet.errors import InputError
from brainnet.files import acquire_lock
from brainnet.training.run_directory import LOCK, find_run, lock_run

HOLDS = """
import sys
from pathlib import Path
from brainnet.training.run_directory import trained_alone
with trained_alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def elsewhere(tmp_path):
    """Another process that trains in the folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_another_process_is_named_and_waited_for(tmp_path, elsewhere):
    said = rf"is being trained by another command \(process {elsewhere.pid} on .*\): wait for it"
    with pytest.raises(InputError, match=said), lock_run(tmp_path):
        pass
    elsewhere.communicate()
    with lock_run(tmp_path):
        assert f"process {os.getpid()} on" in (tmp_path / LOCK).read_text()
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_was_killed_holds_nobody_up(tmp_path, elsewhere):
    elsewhere.kill()
    elsewhere.wait()
    assert (tmp_path / LOCK).exists()
    with lock_run(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_it_is_given_back_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), lock_run(tmp_path):
        raise ZeroDivisionError
    with lock_run(tmp_path):
        pass


def test_a_file_that_was_removed_meanwhile_is_not_the_one_to_hold(tmp_path, monkeypatch):
    """Between opening it and holding it, who held it before removes it."""
    taken = []

    def slow(file):
        if not taken:
            taken.append((tmp_path / LOCK).unlink())
        acquire_lock(file)

    monkeypatch.setattr("brainnet.training.run_directory.hold", slow)
    with lock_run(tmp_path):
        assert (tmp_path / LOCK).exists()
        with pytest.raises(InputError), lock_run(tmp_path):
            pass
    assert taken == [None]


def test_where_nothing_can_be_written_it_does_without(tmp_path, monkeypatch):
    def refuse(path, flags, mode):
        raise OSError(errno.EROFS, "Read-only file system", path)

    monkeypatch.setattr("os.open", refuse)
    with lock_run(tmp_path):
        assert list(tmp_path.iterdir()) == []


class InTraining(Callback):
    """Does something in the middle of a training."""

    def __init__(self, action):
        self.action = action

    def on_train_batch_end(self, trainer, pl_module, *_):
        if trainer.global_step == 10:
            self.action()


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("resumed", [False, True])
def test_a_run_in_training_is_gone_on_with_by_nobody_else(start, tmp_path, resumed):
    if resumed:
        start(trainer={"max_epochs": 1})
    tried = []

    def another():
        before = contents(tmp_path)
        assert tmp_path / "run" / LOCK in before
        find_run(tmp_path / "run").folder.read_summary()  # reading is free
        with pytest.raises(InputError, match=f"process {os.getpid()} on"):
            start(resume=tmp_path / "run", trainer={"max_epochs": 9})
        assert contents(tmp_path) == before
        tried.append(True)

    more = {"resume": tmp_path / "run"} if resumed else {}
    start(callbacks=[InTraining(another)], **more)
    assert tried == [True]
    assert not (tmp_path / "run" / LOCK).exists()
