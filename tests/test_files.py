"""Files: unique folders, locks and atomic writes."""

import errno
import os
import subprocess
import sys
import threading

import pytest

from brainnet.errors import InputError
from brainnet.files import (
    acquire_lock,
    clear_folder,
    create_unique_folder,
    open_atomic,
    release_lock,
    remove_empty_folders,
    remove_if_unused,
    write_atomic,
)


def test_each_of_several_threads_gets_its_own_folder(tmp_path):
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


def test_created_folders_are_returned(tmp_path):
    path, created = create_unique_folder(tmp_path / "a" / "b", "inner")
    assert created == [path, tmp_path / "a"]
    assert create_unique_folder(tmp_path / "a" / "b", "inner")[1] == [tmp_path / "a" / "b_2"]


def test_only_empty_folders_are_removed(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    remove_empty_folders([tmp_path / "empty", tmp_path / "missing", tmp_path])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_clear_folder_does_not_follow_links(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("")
    inside = tmp_path / "inside"
    (inside / "deep").mkdir(parents=True)
    (inside / "deep" / "file").write_text("")
    (inside / "link").symlink_to(tmp_path / "outside")
    clear_folder(inside)
    assert list(inside.iterdir()) == []
    assert (tmp_path / "outside" / "file").exists()


def test_unused_folders_are_removed(tmp_path):
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


@pytest.fixture
def handles(tmp_path):
    """One file, opened twice."""
    path = tmp_path / "locked"
    path.write_bytes(b"content")
    with path.open("r+b") as first, path.open("r+b") as second:
        yield first, second


def test_lock_is_exclusive_until_released(handles):
    first, second = handles
    acquire_lock(first)
    with pytest.raises(BlockingIOError):
        acquire_lock(second)
    release_lock(first)
    acquire_lock(second)
    with pytest.raises(BlockingIOError):
        acquire_lock(first)
    release_lock(second)


def test_lock_ends_with_its_process(tmp_path):
    path = tmp_path / "locked"
    code = (
        "import os, sys; from brainnet.files import acquire_lock; "
        "file = open(sys.argv[1], 'wb'); acquire_lock(file); print('ready', flush=True); "
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        with path.open("r+b") as file:
            with pytest.raises(BlockingIOError):
                acquire_lock(file)
            process.kill()
            process.wait()
            acquire_lock(file)
            release_lock(file)


@pytest.mark.skipif(sys.platform == "win32", reason="flock exists on POSIX only")
def test_file_systems_without_locks_lock_nothing(handles, monkeypatch):
    def fail(file, operation):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", fail)
    for file in handles:
        acquire_lock(file)
    for file in handles:
        release_lock(file)


def test_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "predictions.csv"
    with open_atomic(path) as file:
        file.write(b"1")
        assert not path.exists()
    assert path.read_bytes() == b"1"
    assert list(tmp_path.iterdir()) == [path]


def write_and_raise(path, error):
    with open_atomic(path) as file:
        file.write(b"1")
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no"), SystemExit(143)])
def test_errors_leave_the_old_file(tmp_path, error):
    path = tmp_path / "predictions.csv"
    path.write_bytes(b"before")
    with pytest.raises(type(error)):
        write_and_raise(path, error)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "missing" / "a.csv", "")


def test_target_of_a_link_is_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    file, link = tmp_path / "real" / "a.csv", tmp_path / "link.csv"
    file.write_text("before")
    link.symlink_to(file)
    write_atomic(link, "after")
    assert link.is_symlink()
    assert file.read_text() == "after"
    assert list(file.parent.iterdir()) == [file]


def test_pipes_are_written_directly(tmp_path):
    pipe, received = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    write_atomic(pipe, "content")
    reader.join(100)
    assert received == [b"content"]
    assert pipe.is_fifo()
