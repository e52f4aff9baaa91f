import json
import math
import os
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from brainnet.errors import InputError
from brainnet.files import write_atomic
from brainnet.training.run_directory import Run, RunDirectory, find_run, to_plain

NOON = datetime(2026, 1, 31, 12, 0, 0)


def finished(folder: RunDirectory) -> RunDirectory:
    claimed = folder.claim()
    claimed.write_summary({"state": "finished"})
    return claimed


def test_a_plan_makes_nothing(tmp_path):
    folder = RunDirectory.plan(tmp_path / "runs", "digits", NOON)
    assert folder.path == tmp_path / "runs" / "digits" / "2026-01-31_12-00-00"
    assert list(tmp_path.iterdir()) == []


def test_a_taken_folder_gets_a_number(tmp_path):
    names = [finished(RunDirectory.plan(tmp_path, "digits", NOON)).path.name for _ in range(3)]
    assert names == ["2026-01-31_12-00-00", "2026-01-31_12-00-00_2", "2026-01-31_12-00-00_3"]


def test_an_empty_folder_is_taken_as_it_is(tmp_path):
    (tmp_path / "mine").mkdir()
    assert RunDirectory(tmp_path / "mine").claim().path == tmp_path / "mine"


def test_latest_names_the_newest(tmp_path):
    for _ in range(2):
        finished(RunDirectory.plan(tmp_path, "digits", NOON))
    assert (tmp_path / "latest").read_text() == "digits/2026-01-31_12-00-00_2\n"
    assert find_run("latest", tmp_path).folder.path.name == "2026-01-31_12-00-00_2"


def test_a_folder_of_ones_own_leaves_latest_alone(tmp_path):
    finished(RunDirectory(tmp_path / "mine"))
    assert not (tmp_path / "latest").exists()


def test_a_relative_runs_folder_is_named_from_inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finished(RunDirectory(tmp_path / "runs" / "digits" / "now", runs=Path("runs")))
    assert (tmp_path / "runs" / "latest").read_text() == "digits/now\n"


def test_a_folder_that_cannot_be_written_is_said_in_words(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"must be writable.*paths\.runs=FOLDER"):
        RunDirectory.plan(tmp_path / "file", "digits").claim()


def test_config_comes_back_as_it_was(tmp_path):
    folder = RunDirectory(tmp_path)
    config = {"name": "größe", "network": {"hidden": [64, 32]}, "lr": 0.003, "resume": None}
    folder.write_config(config)
    assert folder.read_config() == config
    assert list(folder.read_config()) == ["name", "network", "lr", "resume"]


def test_summary_is_json_whatever_the_metrics(tmp_path):
    folder = RunDirectory(tmp_path)
    folder.write_summary({"metrics": {"loss/test": math.nan, "r2/test": np.float32(0.5)}})
    assert json.loads((tmp_path / "summary.json").read_text()) == {
        "metrics": {"loss/test": None, "r2/test": 0.5}
    }


def test_a_failed_write_leaves_the_old_content_and_no_rest(tmp_path):
    path = tmp_path / "summary.json"
    write_atomic(path, "old")
    with pytest.raises(TypeError):
        write_atomic(path, 3)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [None, "", "{", "[1]", "\xff"])
def test_a_damaged_summary_is_said_in_words(tmp_path, content):
    if content is not None:
        (tmp_path / "summary.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=r"summary\.json cannot be read"):
        RunDirectory(tmp_path).read_summary()


@pytest.mark.parametrize("content", [None, "", "a: [", "- 1", "\xff"])
def test_a_damaged_config_is_said_in_words(tmp_path, content):
    if content is not None:
        (tmp_path / "config.yaml").write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=r"config\.yaml cannot be read"):
        RunDirectory(tmp_path).read_config()


def test_a_run_is_found_by_folder_and_by_checkpoint(tmp_path):
    folder = finished(RunDirectory(tmp_path / "mine"))
    folder.last.write_bytes(b"")
    assert find_run(str(folder.path)) == Run(folder)
    assert find_run(folder.last) == Run(folder, folder.last)
    assert find_run(folder.last).best == folder.last


def test_the_best_checkpoint_is_preferred(tmp_path):
    folder = finished(RunDirectory(tmp_path / "mine"))
    folder.last.write_bytes(b"")
    assert Run(folder).best == folder.last
    folder.best.write_bytes(b"")
    assert (Run(folder).best, Run(folder).last) == (folder.best, folder.last)


def test_what_is_no_run_is_said_in_words(tmp_path):
    with pytest.raises(InputError, match="there is no run"):
        find_run(tmp_path / "nowhere", tmp_path)
    with pytest.raises(InputError, match=r"is no run: it has no summary\.json"):
        find_run(tmp_path, tmp_path)
    with pytest.raises(InputError, match="there is no latest run"):
        find_run("latest", tmp_path)
    folder = finished(RunDirectory.plan(tmp_path, "digits", NOON))
    with pytest.raises(InputError, match=r"has no checkpoint last\.ckpt"):
        _ = Run(folder).last
    with pytest.raises(InputError, match=r"latest \(now .*2026-01-31_12-00-00\)"):
        find_run(tmp_path / "nowhere", tmp_path)


def test_a_slip_of_latest_is_met_with_it(tmp_path):
    with pytest.raises(InputError, match=r"there is no run lastest\. Did you mean latest\?"):
        find_run("lastest", tmp_path)


def test_a_latest_that_is_gone_is_said_in_words(tmp_path):
    (tmp_path / "latest").write_text("digits/gone\n")
    with pytest.raises(InputError, match="is gone"):
        find_run("latest", tmp_path)


def test_plain_leaves_only_what_any_file_can_hold():
    given = {1: (2, Path("a")), "n": np.int64(3), "b": True, "f": np.float32(0.5)}
    assert to_plain(given) == {"1": [2, "a"], "n": 3, "b": True, "f": 0.5}


def test_a_runs_folder_that_is_not_there_is_made_for_latest(tmp_path):
    folder = RunDirectory(tmp_path / "mine", runs=tmp_path / "deep" / "runs").claim()
    assert (tmp_path / "deep" / "runs" / "latest").read_text() == "../../mine\n"
    folder.abandon()
    assert list(tmp_path.iterdir()) == []


def test_a_failed_claim_leaves_nothing(tmp_path):
    (tmp_path / "runs" / "latest").mkdir(parents=True)
    with pytest.raises(InputError, match=r"Is a directory.*latest"):
        RunDirectory.plan(tmp_path / "runs", "digits").claim()
    assert [path.name for path in tmp_path.rglob("*")] == ["runs", "latest"]


def test_an_abandoned_folder_leaves_everything_as_it_was(tmp_path):
    finished(RunDirectory.plan(tmp_path / "runs", "digits", NOON))
    before = sorted(tmp_path.rglob("*")), (tmp_path / "runs" / "latest").read_text()
    claimed = RunDirectory.plan(tmp_path / "runs", "iris", NOON).claim()
    (claimed.path / "metrics.csv").write_text("")
    claimed.abandon()
    claimed.abandon()  # by whoever notices next
    assert (sorted(tmp_path.rglob("*")), (tmp_path / "runs" / "latest").read_text()) == before


def test_an_abandoned_folder_that_the_user_made_stays_theirs(tmp_path):
    (tmp_path / "mine").mkdir()
    RunDirectory(tmp_path / "mine").claim().abandon()
    assert list(tmp_path.rglob("*")) == [tmp_path / "mine"]


def test_abandoning_leaves_latest_to_the_run_claimed_since(tmp_path):
    first = RunDirectory.plan(tmp_path, "digits", NOON).claim()
    RunDirectory.plan(tmp_path, "iris", NOON).claim()
    first.abandon()
    assert (tmp_path / "latest").read_text() == "iris/2026-01-31_12-00-00\n"


def test_a_claimed_folder_is_claimed_once(tmp_path):
    claimed = RunDirectory.plan(tmp_path, "digits", NOON).claim()
    assert claimed.claim() is claimed


def test_a_file_is_as_readable_as_any_other(tmp_path):
    write_atomic(tmp_path / "whole", "")
    (tmp_path / "other").write_text("")
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_the_file_that_names_the_newest_is_followed(tmp_path):
    folder = RunDirectory.plan(tmp_path, "iris").claim()
    folder.write_summary({})
    assert find_run(tmp_path / "latest").folder.path == folder.path


def test_of_a_folder_of_runs_the_newest_is_named(tmp_path):
    for name in ("2026-01-31_12-00-00", "2026-02-01_12-00-00"):
        folder = RunDirectory(tmp_path / "two" / name, tmp_path).claim()
        folder.write_summary({})
        os.utime(folder.path, (1, 1))
    with pytest.raises(InputError, match=r"It holds 2: name .*2026-02-01_12-00-00, the newest"):
        find_run(tmp_path / "two", tmp_path)
