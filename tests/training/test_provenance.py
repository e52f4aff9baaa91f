import os
import subprocess

import pytest
import torch

from brainnet.training.run_directory import commit_of, kernels, versions


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """No settings of whoever runs this, no project around the folder, and time enough for git."""
    for variable in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: run(*a, **{**k, "timeout": 100}))


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", folder, *identity, *arguments], check=True)


def test_versions_are_those_in_use():
    found = versions()
    assert torch.__version__.startswith(found["torch"].partition("+")[0])
    assert {"brainnet", "python", "lightning"} <= set(found)


def test_each_op_tells_its_path():
    told = kernels()["threshold_ramp"]["cpu"]
    assert told["path"] in ("native", "reference")
    assert told["reason"]


def test_a_commit_is_told_and_whether_it_was_changed(tmp_path):
    assert commit_of(tmp_path) is None
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "one")
    commit = commit_of(tmp_path)
    assert len(commit) == 40
    (tmp_path / "file").write_text("two")
    assert commit_of(tmp_path) == f"{commit}+"


def test_asking_for_a_commit_runs_nothing_that_the_project_names_and_locks_nothing(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "one")
    program = tmp_path / "monitor"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    git(tmp_path, "config", "core.fsmonitor", str(program))
    os.utime(tmp_path / "file", (0, 0))  # git would now refresh its index, given the lock
    index = (tmp_path / ".git" / "index").read_bytes()
    assert len(commit_of(tmp_path)) == 40
    assert not (tmp_path / "ran").exists()
    assert (tmp_path / ".git" / "index").read_bytes() == index
