import errno
import fcntl
import json
import math
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback

from brainnet.cli.main import main
from brainnet.errors import InputError
from brainnet.training.run_directory import (
    LOCK_FILE,
    Run,
    RunDirectory,
    claim_run,
    collect_provenance,
    find_run,
    lock_run,
    to_plain,
)

NOON = datetime(2026, 1, 31, 12, 0, 0)


def create_run(folder: RunDirectory) -> RunDirectory:
    with claim_run(folder) as claimed:
        claimed.write_summary({"state": "finished"})
        claimed.set_latest()
    return claimed


def test_plan_creates_nothing(tmp_path):
    folder = RunDirectory.plan(tmp_path / "runs", "digits", NOON)
    assert folder.path == tmp_path / "runs" / "digits" / "2026-01-31_12-00-00"
    assert list(tmp_path.iterdir()) == []


def test_existing_directories_get_a_number(tmp_path):
    names = [create_run(RunDirectory.plan(tmp_path, "digits", NOON)).path.name for _ in range(3)]
    assert names == ["2026-01-31_12-00-00", "2026-01-31_12-00-00_2", "2026-01-31_12-00-00_3"]


def test_an_empty_directory_is_used(tmp_path):
    (tmp_path / "mine").mkdir()
    assert create_run(RunDirectory(tmp_path / "mine")).path == tmp_path / "mine"


def test_latest_names_the_newest(tmp_path):
    for _ in range(2):
        create_run(RunDirectory.plan(tmp_path, "digits", NOON))
    assert (tmp_path / "latest").read_text() == "digits/2026-01-31_12-00-00_2\n"
    assert find_run("latest", tmp_path).folder.path.name == "2026-01-31_12-00-00_2"


def test_a_directory_other_process_does_not_change_latest(tmp_path):
    create_run(RunDirectory(tmp_path / "mine"))
    assert not (tmp_path / "latest").exists()


def test_latest_is_relative_to_the_runs_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    create_run(RunDirectory(tmp_path / "runs" / "digits" / "now", runs=Path("runs")))
    assert (tmp_path / "runs" / "latest").read_text() == "digits/now\n"


def test_an_unwritable_directory_is_rejected(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"must be writable.*paths\.runs=FOLDER"):
        create_run(RunDirectory.plan(tmp_path / "file", "digits"))


def test_the_config_is_read_as_written(tmp_path):
    folder = RunDirectory(tmp_path)
    config = {"name": "größe", "network": {"hidden": [64, 32]}, "lr": 0.003, "resume": None}
    folder.write_config(config)
    assert folder.read_config() == config
    assert list(folder.read_config()) == ["name", "network", "lr", "resume"]


def test_non_finite_metrics_become_null(tmp_path):
    folder = RunDirectory(tmp_path)
    folder.write_summary({"metrics": {"loss/test": math.nan, "r2/test": np.float32(0.5)}})
    assert json.loads((tmp_path / "summary.json").read_text()) == {
        "metrics": {"loss/test": None, "r2/test": 0.5}
    }


@pytest.mark.parametrize("content", [None, "", "{", "[1]", "\xff"])
def test_a_damaged_summary_is_rejected(tmp_path, content):
    if content is not None:
        (tmp_path / "summary.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=r"summary\.json cannot be read"):
        RunDirectory(tmp_path).read_summary()


@pytest.mark.parametrize("content", [None, "", "a: [", "- 1", "\xff"])
def test_a_damaged_config_is_rejected(tmp_path, content):
    if content is not None:
        (tmp_path / "config.yaml").write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=r"config\.yaml cannot be read"):
        RunDirectory(tmp_path).read_config()


def test_a_run_is_found_by_folder_and_by_checkpoint(tmp_path):
    folder = create_run(RunDirectory(tmp_path / "mine"))
    folder.last.write_bytes(b"")
    assert find_run(str(folder.path)) == Run(folder)
    assert find_run(folder.last) == Run(folder, folder.last)
    assert find_run(folder.last).best == folder.last


def test_the_best_checkpoint_is_preferred(tmp_path):
    folder = create_run(RunDirectory(tmp_path / "mine"))
    folder.last.write_bytes(b"")
    assert Run(folder).best == folder.last
    folder.best.write_bytes(b"")
    assert (Run(folder).best, Run(folder).last) == (folder.best, folder.last)


def test_other_paths_are_rejected(tmp_path):
    with pytest.raises(InputError, match="there is no run"):
        find_run(tmp_path / "nowhere", tmp_path)
    with pytest.raises(InputError, match=r"is not a run: it has no summary\.json"):
        find_run(tmp_path, tmp_path)
    with pytest.raises(InputError, match="there is no latest run"):
        find_run("latest", tmp_path)
    folder = create_run(RunDirectory.plan(tmp_path, "digits", NOON))
    with pytest.raises(InputError, match=r"has no checkpoint last\.ckpt"):
        _ = Run(folder).last


def test_a_misspelled_latest_is_suggested(tmp_path):
    with pytest.raises(InputError, match=r"there is no run lastest\. Did you mean latest\?"):
        find_run("lastest", tmp_path)


def test_a_removed_latest_run_is_rejected(tmp_path):
    (tmp_path / "latest").write_text("digits/gone\n")
    with pytest.raises(InputError, match="there is no run"):
        find_run("latest", tmp_path)


def test_to_plain_converts_nested_values():
    given = {1: (2, Path("a")), "n": np.int64(3), "b": True, "f": np.float32(0.5)}
    assert to_plain(given) == {"1": [2, "a"], "n": 3, "b": True, "f": 0.5}


def test_the_runs_directory_is_created(tmp_path):
    create_run(RunDirectory(tmp_path / "mine", runs=tmp_path / "deep" / "runs"))
    assert (tmp_path / "deep" / "runs" / "latest").read_text() == "../../mine\n"


def test_a_failed_claim_leaves_nothing(tmp_path, monkeypatch):
    def refuse(path, inner):
        path.mkdir(parents=True)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("brainnet.training.run_directory.create_unique_folder", refuse)
    with pytest.raises(InputError, match="No space left"):
        create_run(RunDirectory.plan(tmp_path / "runs", "digits"))
    assert list(tmp_path.iterdir()) == []


def fail_in(folder):
    with pytest.raises(FileNotFoundError), claim_run(folder) as claimed:
        (claimed.path / "nowhere" / "metrics.csv").write_text("")


def test_an_error_before_the_run_starts_removes_its_directory(tmp_path):
    create_run(RunDirectory.plan(tmp_path / "runs", "digits", NOON))
    before = sorted(tmp_path.rglob("*")), (tmp_path / "runs" / "latest").read_text()
    fail_in(RunDirectory.plan(tmp_path / "runs", "iris", NOON))
    assert (sorted(tmp_path.rglob("*")), (tmp_path / "runs" / "latest").read_text()) == before


def test_an_error_keeps_a_directory_of_the_user(tmp_path):
    (tmp_path / "mine").mkdir()
    fail_in(RunDirectory(tmp_path / "mine"))
    assert list(tmp_path.rglob("*")) == [tmp_path / "mine"]


HOLD_LOCK = """
import sys
from pathlib import Path
from brainnet.training.run_directory import lock_run
with lock_run(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other_process(tmp_path):
    """Another process that holds the lock of the folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_lock_names_its_process(tmp_path, other_process):
    message = (
        rf"is being trained by another command \(process {other_process.pid} on .*\)\. Wait for it"
    )
    with pytest.raises(InputError, match=message), lock_run(tmp_path):
        pass
    other_process.communicate()
    with lock_run(tmp_path):
        assert f"process {os.getpid()} on" in (tmp_path / LOCK_FILE).read_text()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_releases_its_lock(tmp_path, other_process):
    other_process.kill()
    other_process.wait()
    assert (tmp_path / LOCK_FILE).exists()
    with lock_run(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_lock_is_released_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), lock_run(tmp_path):
        raise ZeroDivisionError
    with lock_run(tmp_path):
        pass


def test_a_lock_file_removed_while_opening_is_opened_again(tmp_path, monkeypatch):
    """The previous owner removes the file between opening and locking it."""
    removed, flock = [], fcntl.flock

    def remove_first(file, operation):
        if not removed:
            removed.append((tmp_path / LOCK_FILE).unlink())
        flock(file, operation)

    monkeypatch.setattr("fcntl.flock", remove_first)
    with lock_run(tmp_path):
        assert (tmp_path / LOCK_FILE).exists()
        with pytest.raises(InputError), lock_run(tmp_path):
            pass
    assert removed == [None]


def test_there_is_no_lock_in_a_read_only_directory(tmp_path, monkeypatch):
    def refuse(path, flags, mode=0o777):
        raise OSError(errno.EROFS, "Read-only file system", path)

    monkeypatch.setattr("os.open", refuse)
    with lock_run(tmp_path):
        assert list(tmp_path.iterdir()) == []


class AtStep10(Callback):
    """Runs an action during training."""

    def __init__(self, action):
        self.action = action

    def on_train_batch_end(self, trainer, pl_module, *_):
        if trainer.global_step == 10:
            self.action()


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("resumed", [False, True])
def test_a_run_in_training_can_be_read_but_not_resumed(start, tmp_path, resumed):
    if resumed:
        start(trainer={"max_epochs": 1})
    tried = []

    def another():
        before = contents(tmp_path)
        assert tmp_path / "run" / LOCK_FILE in before
        find_run(tmp_path / "run").folder.read_summary()  # reading is free
        with pytest.raises(InputError, match=f"process {os.getpid()} on"):
            start(resume=tmp_path / "run", trainer={"max_epochs": 9})
        assert contents(tmp_path) == before
        tried.append(True)

    more = {"resume": tmp_path / "run"} if resumed else {}
    start(callbacks=[AtStep10(another)], **more)
    assert tried == [True]
    assert not (tmp_path / "run" / LOCK_FILE).exists()


def test_provenance_has_versions_and_kernels():
    provenance = collect_provenance()
    versions = provenance["versions"]
    assert torch.__version__.startswith(versions["torch"].partition("+")[0])
    assert {"brainnet", "python", "lightning"} <= set(versions)
    kernel = provenance["kernels"]["threshold_ramp"]["cpu"]
    assert kernel["path"] in ("native", "reference")
    assert kernel["reason"]


def test_a_file_in_place_of_the_runs_is_rejected_and_nothing_is_left(tmp_path, capsys):
    (tmp_path / "runs").write_text("a file")
    words = [f"paths.runs={tmp_path / 'runs'}", f"hydra.run.dir={tmp_path / 'run'}"]
    assert main(["train", "data=iris", "trainer.max_epochs=1", *words]) == 2
    assert "the directory of runs must be writable; got File exists" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
