"""Paths of a configuration are found from any folder, and known again however they are spelled."""

import pytest

from brainnet.data.datasets import IMAGES, TABLE, is_same_path, resolve_paths


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("kind", "key"),
    [*((TABLE, key) for key in ("path", "validation_path", "test_path")), (IMAGES, "labels")],
)
def test_paths_become_whole_and_all_else_stays(folder, kind, key):
    data = {"_target_": kind, "target": "rows.csv", "columns": None, key: "rows.csv"}
    assert resolve_paths(data) == data | {key: str(folder / "rows.csv")}


def test_keys_of_other_classes_are_no_files():
    data = {"_target_": "mine.Rows", "path": "rows.csv"}
    assert resolve_paths(data) == data


def test_links_and_detours_lead_to_the_same_file(folder):
    (folder / "rows.csv").touch()
    (folder / "other.csv").touch()
    (folder / "link.csv").symlink_to("rows.csv")
    assert resolve_paths({"_target_": TABLE, "path": "link.csv"})["path"] == str(
        folder / "link.csv"
    )
    for spelled in ("./rows.csv", "link.csv", f"../{folder.name}/rows.csv", folder / "rows.csv"):
        assert is_same_path("rows.csv", spelled)
    assert not is_same_path("rows.csv", "other.csv")
    assert not is_same_path("gone.csv", "rows.csv")
    assert is_same_path(None, None)
