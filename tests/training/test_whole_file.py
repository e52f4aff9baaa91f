"""A file appears whole, where it belongs, or not at all."""

import os
import threading

import pytest

from brainnet.files import open_atomic, write_atomic


def test_a_file_appears_once_it_is_whole(tmp_path):
    path = tmp_path / "answers.csv"
    with open_atomic(path) as file:
        file.write(b"1")
        assert not path.exists()
    assert path.read_bytes() == b"1"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError("no"), SystemExit(143)])
def test_nothing_is_left_of_a_file_that_was_not_finished(tmp_path, error):
    path = tmp_path / "answers.csv"
    path.write_bytes(b"before")
    with pytest.raises(BaseException), open_atomic(path) as file:
        file.write(b"1")
        raise error
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with (
        pytest.raises(FileNotFoundError),
        open_atomic(tmp_path / "no" / "a.csv") as file,
    ):
        file.write(b"")


def test_a_link_stays_and_the_file_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    file, link = tmp_path / "real" / "a.csv", tmp_path / "link.csv"
    file.write_text("before")
    link.symlink_to(file)
    write_atomic(link, "after")
    assert link.is_symlink()
    assert file.read_text() == "after"
    assert list(file.parent.iterdir()) == [file]


def test_a_pipe_is_written_to_and_stays(tmp_path):
    pipe, found = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    write_atomic(pipe, "through it")
    reader.join(100)
    assert found == [b"through it"]
    assert pipe.is_fifo()
