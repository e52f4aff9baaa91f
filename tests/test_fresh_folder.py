import threading

import pytest

from brainnet.errors import InputError
from brainnet.files import (
    clear_folder,
    create_unique_folder,
    remove_empty_folders,
    remove_if_unused,
)


def test_only_one_of_several_at_once_gets_a_folder(tmp_path):
    for attempt in range(20):
        planned = tmp_path / str(attempt) / "run"
        planned.mkdir(parents=True)
        barrier, names = threading.Barrier(4), []

        def claim(planned=planned, barrier=barrier, names=names):
            barrier.wait()
            names.append(create_unique_folder(planned, "checkpoints")[0].name)

        threads = [threading.Thread(target=claim) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(names) == ["run", "run_2", "run_3", "run_4"]


def test_tells_what_was_made(tmp_path):
    path, made = create_unique_folder(tmp_path / "a" / "b", "inner")
    assert made == [path, tmp_path / "a"]
    assert create_unique_folder(tmp_path / "a" / "b", "inner")[1] == [tmp_path / "a" / "b_2"]


def test_a_folder_with_something_in_it_is_left(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    remove_empty_folders([tmp_path / "empty", tmp_path / "gone", tmp_path])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_clear_stays_in_its_folder(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("")
    inside = tmp_path / "inside"
    (inside / "deep").mkdir(parents=True)
    (inside / "deep" / "file").write_text("")
    (inside / "link").symlink_to(tmp_path / "outside")
    clear_folder(inside)
    assert list(inside.iterdir()) == []
    assert (tmp_path / "outside" / "file").exists()


def test_left_untouched_removes_what_stayed_empty(tmp_path):
    with remove_if_unused(tmp_path / "a" / "b"):
        pass
    assert list(tmp_path.iterdir()) == []
    with remove_if_unused(tmp_path / "a" / "b"):
        (tmp_path / "a" / "file").write_text("")
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "file"]
    with (
        pytest.raises(InputError, match="cannot write to"),
        remove_if_unused(tmp_path / "a/file/b"),
    ):
        pass
