import errno
import sys

import pytest

from brainnet.files import acquire_lock, release_lock


@pytest.fixture
def files(tmp_path):
    """One file, opened twice."""
    path = tmp_path / "held"
    path.write_bytes(b"content")
    with path.open("r+b") as first, path.open("r+b") as second:
        yield first, second


def test_one_holds_it_until_it_lets_go(files):
    first, second = files
    acquire_lock(first)
    with pytest.raises(BlockingIOError):
        acquire_lock(second)
    release_lock(first)
    acquire_lock(second)
    with pytest.raises(BlockingIOError):
        acquire_lock(first)
    release_lock(second)


def test_it_can_be_read_while_it_is_held(files, tmp_path):
    acquire_lock(files[0])
    assert (tmp_path / "held").read_bytes() == b"content"
    release_lock(files[0])


@pytest.mark.skipif(sys.platform == "win32", reason="flock is of other systems")
def test_where_no_locks_are_known_nobody_is_kept_out(files, monkeypatch):
    def unknown(file, operation):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", unknown)
    for file in files:
        acquire_lock(file)
    for file in files:
        release_lock(file)
