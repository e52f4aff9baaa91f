import json
import math
import subprocess
import sys

import pytest

from brainnet.errors import InputError
from brainnet.observation.reading import LayerReading, Reading
from brainnet.observation.recording import (
    _HEADER,
    READINGS_FILE,
    Recording,
    _iterate_records,
    measure_length_before,
    open_recording,
    read_recording,
)


def reading(step, *places):
    layers = tuple(LayerReading(place, silent=0.25, blame=step / 7) for place in places)
    return Reading(step=step, epoch=1, loss=0.1 * step, gradient_norm=math.pi, layers=layers)


def test_readings_are_read_back_unchanged(tmp_path):
    given = [
        reading(0, "hidden_1", "output"),
        Reading(step=2**40, epoch=3),
        reading(5, "hidden_1", "a name, ünusual"),
        Reading(step=6, epoch=0, loss=math.inf, learning_rate=1e-310),
    ]
    recording = Recording(tmp_path)
    for each in given:
        recording.add(each)
    assert read_recording(tmp_path) == given
    recording.close()
    assert read_recording(tmp_path) == given
    assert isinstance(read_recording(tmp_path)[0].step, int)


def test_records_are_json_without_nan_and_infinity(tmp_path):
    def fail(constant):
        raise AssertionError(f"{constant} is not JSON")

    recording = Recording(tmp_path)
    layer = LayerReading("nan", weights_norm=-math.inf, blame=math.nan)
    recording.add(Reading(step=0, epoch=0, loss=math.nan, layers=(layer,)))
    recording.close()
    json.loads(read(recording.path)[0], parse_constant=fail)
    (found,) = read_recording(tmp_path)
    assert math.isnan(found.loss)
    assert math.isnan(found.layers[0].blame)
    assert (found.layers[0].name, found.layers[0].weights_norm) == ("nan", -math.inf)
    assert found.gradient_norm is found.layers[0].silent is None


def test_a_recording_starts_empty_or_continues_from_a_step(tmp_path):
    recording = Recording(tmp_path)
    recording.add(reading(0, "a"))
    length = recording.path.stat().st_size
    recording.add(reading(10, "a"))
    recording.close()
    assert measure_length_before(tmp_path, step=10) == length
    assert (
        measure_length_before(tmp_path, step=0)
        == measure_length_before(tmp_path / "none", step=9)
        == 0
    )
    again = Recording(tmp_path, length=length)
    again.add(reading(7, "a"))
    again.close()
    assert [found.step for found in read_recording(tmp_path)] == [0, 7]
    Recording(tmp_path).close()
    assert read_recording(tmp_path) == []


def test_recordings_of_other_versions_are_read(tmp_path):
    recording = Recording(tmp_path)
    layer = {"name": "a", "silent": 0.25, "new": 1.0}
    recording._add_record(json.dumps({"step": 3, "epoch": 0, "new": 1, "layers": [layer]}).encode())
    recording.close()
    (found,) = read_recording(tmp_path)
    assert (found.step, found.gradient_norm, found.layers[0].silent) == (3, None, 0.25)


def test_the_file_latest_is_followed(tmp_path):
    recording = Recording(tmp_path / "digits" / "now")
    recording.add(reading(3, "a"))
    recording.close()
    (tmp_path / "latest").write_text("digits/now\n")
    assert [found.step for found in read_recording(tmp_path / "latest")] == [3]


def test_a_folder_without_recording_is_rejected(tmp_path):
    with pytest.raises(InputError, match=READINGS_FILE):
        read_recording(tmp_path)


def test_reading_a_recording_imports_no_torch():
    program = (
        "import sys, brainnet.observation.recording\n"
        "print(sorted({'torch', 'tensorboard', 'lightning', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_new_training_keeps_earlier_recordings_and_reuses_empty_ones(tmp_path):
    open_recording(tmp_path / "mine").close()
    for name in ("mine", "mine_2", "mine_3"):
        recording = open_recording(tmp_path / "mine")
        assert recording.path.parent.name == name
        recording.add(Reading(step=0, epoch=0))
        with pytest.raises(InputError, match="another training"):
            open_recording(recording.path.parent)
        recording.close()
    open_recording(tmp_path / "mine_2", first_step=1).close()
    assert len(read_recording(tmp_path / "mine_2")) == 1


def read(path):
    return [record for record, _ in _iterate_records(path.read_bytes())][1:]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "deep"


def test_records_are_readable_at_once_and_can_be_continued(folder):
    recording = Recording(folder)
    recording._add_record(b"one")
    recording._add_record(b"")
    assert read(recording.path) == [b"one", b""]
    recording.close()
    recording = Recording(folder, length=math.inf)
    recording._add_record(b"three")
    assert recording.length == recording.path.stat().st_size
    recording.close()
    assert read(recording.path) == [b"one", b"", b"three"]


def write(folder, *records):
    recording = Recording(folder)
    for record in records:
        recording._add_record(record)
    recording.close()
    return recording.path


def test_an_incomplete_last_record_is_ignored_and_overwritten(folder):
    complete = len(write(folder, b"whole").read_bytes())
    path = write(folder, b"whole", b"second")
    content = path.read_bytes()
    for length in range(complete, len(content)):
        path.write_bytes(content[:length])
        assert read(path) == [b"whole"]
    recording = Recording(folder, length=math.inf)
    recording._add_record(b"again")
    recording.close()
    assert read(path) == [b"whole", b"again"]


@pytest.mark.parametrize("length", range(len(_HEADER) + 1))
def test_a_file_with_an_incomplete_header_starts_empty(folder, length):
    folder.mkdir()
    (folder / READINGS_FILE).write_bytes(_HEADER[:length])
    recording = Recording(folder, length=math.inf)
    recording._add_record(b"first")
    recording.close()
    assert read(recording.path) == [b"first"]


def test_reading_stops_at_a_damaged_record(folder):
    path = write(folder, b"first", b"second")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert read(path) == [b"first"]


def test_records_beyond_the_length_are_dropped(folder):
    length = len(write(folder, b"kept").read_bytes())
    path = write(folder, b"kept", b"dropped")
    for beyond in (0, 1, 10):
        recording = Recording(folder, length=length + beyond)
        assert recording.length == length
        recording._add_record(b"new")
        recording.close()
        assert read(path) == [b"kept", b"new"]
    Recording(folder, length=0).close()
    assert read(path) == []


def test_files_of_other_formats_are_rejected_and_not_changed(folder):
    folder.mkdir()
    path = folder / READINGS_FILE
    path.write_bytes(b"their own numbers")
    with pytest.raises(InputError, match="not a recording"):
        Recording(folder)
    assert path.read_bytes() == b"their own numbers"


def test_a_second_writer_is_rejected_until_the_first_closes(folder):
    recording = Recording(folder)
    with pytest.raises(InputError, match="another training"):
        Recording(folder)
    program = f"""
from brainnet.observation.recording import Recording
Recording({str(folder)!r})
"""
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert "another training" in process.stderr
    recording.close()
    Recording(folder).close()


def test_a_full_disk_leaves_complete_records(folder, monkeypatch):
    recording = Recording(folder)
    recording._add_record(b"whole")
    disk = recording._file

    class Full:
        def write(self, content):
            if len(content) > 3:
                return disk.write(content[:3])
            raise OSError(28, "No space left on device")

        def __getattr__(self, name):
            return getattr(disk, name)

    monkeypatch.setattr(recording, "_file", Full())
    with pytest.raises(OSError, match="No space"):
        recording._add_record(b"too much")
    monkeypatch.undo()
    assert read(recording.path) == [b"whole"]
    recording._add_record(b"there is room again")
    assert read(recording.path) == [b"whole", b"there is room again"]
    recording.close()
