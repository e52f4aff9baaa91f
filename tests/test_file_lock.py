import errno
import sys

import pytest

from brainnet.file_lock import hold, let_go


@pytest.fixture
def files(tmp_path):
    """One file, opened twice."""
    path = tmp_path / "held"
    path.write_bytes(b"content")
    with path.open("r+b") as first, path.open("r+b") as second:
        yield first, second


def test_one_holds_it_until_it_lets_go(files):
    first, second = files
    hold(first)
    with pytest.raises(BlockingIOError):
        hold(second)
    let_go(first)
    hold(second)
    with pytest.raises(BlockingIOError):
        hold(first)
    let_go(second)


def test_it_can_be_read_while_it_is_held(files, tmp_path):
    hold(files[0])
    assert (tmp_path / "held").read_bytes() == b"content"
    let_go(files[0])


@pytest.mark.skipif(sys.platform == "win32", reason="flock is of other systems")
def test_where_no_locks_are_known_nobody_is_kept_out(files, monkeypatch):
    def unknown(file, operation):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", unknown)
    for file in files:
        hold(file)
    for file in files:
        let_go(file)
