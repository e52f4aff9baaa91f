import subprocess

import torch

from brainnet.training.provenance import commit_of, kernels, versions


def test_versions_are_those_in_use():
    found = versions()
    assert torch.__version__.startswith(found["torch"].partition("+")[0])
    assert {"brainnet", "python", "lightning"} <= set(found)


def test_each_op_tells_its_path():
    told = kernels()["threshold_ramp"]["cpu"]
    assert told["path"] in ("native", "reference")
    assert told["reason"]


def test_a_commit_is_told_and_whether_it_was_changed(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True)

    assert commit_of(tmp_path) is None
    git("init", "-q")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-q", "-m", "one")
    commit = commit_of(tmp_path)
    assert len(commit) == 40
    (tmp_path / "file").write_text("two")
    assert commit_of(tmp_path) == f"{commit}+"
