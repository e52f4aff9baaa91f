import subprocess
import sys

import pytest

from brainnet.errors import InputError
from brainnet.observation.recording import BEGINNING, RecordFile, read_records


def read(path):
    return [record for record, _ in read_records(path.read_bytes())]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "a.bin"


def test_what_was_added_is_there_at_once_and_goes_on_later(path):
    with RecordFile(path) as file:
        file.add(b"one")
        file.add(b"")
        assert read(path) == [b"one", b""]
    with RecordFile(path) as file:
        file.add(b"three")
        assert file.length == path.stat().st_size
    assert read(path) == [b"one", b"", b"three"]


def test_a_torn_tail_is_ignored_wherever_it_was_torn_and_written_over(path):
    with RecordFile(path) as file:
        file.add(b"whole")
        whole = file.length
        file.add(b"second")
    content = path.read_bytes()
    for length in range(whole, len(content)):
        path.write_bytes(content[:length])
        assert read(path) == [b"whole"]
    with RecordFile(path) as file:
        file.add(b"again")
    assert read(path) == [b"whole", b"again"]


@pytest.mark.parametrize("torn", range(len(BEGINNING) + 1))
def test_a_file_torn_in_its_first_line_begins_anew(path, torn):
    path.parent.mkdir()
    path.write_bytes(BEGINNING[:torn])
    with RecordFile(path) as file:
        file.add(b"first")
    assert read(path) == [b"first"]


def test_a_damaged_record_ends_the_reading(path):
    with RecordFile(path) as file:
        file.add(b"first")
        file.add(b"second")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert read(path) == [b"first"]


def test_what_ends_beyond_a_length_is_dropped_whole(path):
    with RecordFile(path) as file:
        file.add(b"kept")
        length = file.length
        file.add(b"dropped")
    for beyond in (0, 1, 10):
        with RecordFile(path, length=length + beyond) as file:
            assert file.length == length
            file.add(b"new")
        assert read(path) == [b"kept", b"new"]
    RecordFile(path, length=0).close()
    assert read(path) == []


def test_a_file_of_somebody_elses_is_left_as_it_is(path):
    path.parent.mkdir()
    path.write_bytes(b"their own numbers")
    with pytest.raises(InputError, match="something else"):
        RecordFile(path)
    assert path.read_bytes() == b"their own numbers"


def test_a_second_one_is_refused_until_the_first_lets_go(path):
    with RecordFile(path):
        with pytest.raises(InputError, match="another watcher"):
            RecordFile(path)
        program = f"""
from pathlib import Path
from brainnet.observation.recording import RecordFile
RecordFile(Path({str(path)!r}))
"""
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False
        )
        assert "another watcher" in done.stderr
    RecordFile(path).close()


def test_a_full_disk_leaves_what_is_whole(path, monkeypatch):
    file = RecordFile(path)
    file.add(b"whole")
    disk = file._file

    class Full:
        def write(self, content):
            if len(content) > 3:
                return disk.write(content[:3])
            raise OSError(28, "No space left on device")

        def __getattr__(self, name):
            return getattr(disk, name)

    monkeypatch.setattr(file, "_file", Full())
    with pytest.raises(OSError, match="No space"):
        file.add(b"too much")
    monkeypatch.undo()
    assert read(path) == [b"whole"]
    file.add(b"there is room again")
    assert read(path) == [b"whole", b"there is room again"]
    file.close()
