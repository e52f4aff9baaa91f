import math
import subprocess
import sys

import pytest

from brainnet.errors import InputError
from brainnet.observation.reading import LayerReading, Reading
from brainnet.observation.recording import (
    FILE_NAME,
    Recording,
    measure_length_before,
    open_recording,
    read_recording,
)


def reading(step, *places):
    layers = tuple(LayerReading(place, silent=0.25, blame=step / 7) for place in places)
    return Reading(step=step, epoch=1, loss=0.1 * step, gradient_norm=math.pi, layers=layers)


def test_readings_come_back_as_they_were(tmp_path):
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


def test_what_was_no_number_is_told_from_what_was_not_measured(tmp_path):
    recording = Recording(tmp_path)
    recording.add(Reading(step=0, epoch=0, loss=math.nan))
    recording.close()
    (found,) = read_recording(tmp_path)
    assert math.isnan(found.loss)
    assert found.gradient_norm is None


def test_a_recording_starts_anew_or_goes_on_from_a_length_or_a_step(tmp_path):
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


def test_a_version_that_measured_more_or_less_is_still_read(tmp_path, monkeypatch):
    monkeypatch.setattr("brainnet.observation.recording.WHOLE", ("step", "epoch", "loss", "step"))
    recording = Recording(tmp_path)
    recording._file.add(b"?what a later version added")
    recording.add(reading(3, "a"))
    recording.close()
    monkeypatch.undo()
    (found,) = read_recording(tmp_path)
    assert (found.step, found.gradient_norm, found.layers[0].silent) == (3, None, 0.25)


def test_the_newest_run_is_found_by_the_file_that_names_it(tmp_path):
    recording = Recording(tmp_path / "digits" / "now")
    recording.add(reading(3, "a"))
    recording.close()
    (tmp_path / "latest").write_text("digits/now\n")
    assert [found.step for found in read_recording(tmp_path / "latest")] == [3]


def test_a_folder_without_recording_is_told(tmp_path):
    with pytest.raises(InputError, match=FILE_NAME):
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


def test_a_training_that_begins_leaves_earlier_recordings_alone_and_takes_up_empty_ones(tmp_path):
    open_recording(tmp_path / "mine").close()
    for name in ("mine", "mine_2", "mine_3"):
        recording = open_recording(tmp_path / "mine")
        assert recording.path.parent.name == name
        recording.add(Reading(step=0, epoch=0))
        with pytest.raises(InputError, match="another watcher"):
            open_recording(recording.path.parent)
        recording.close()
    open_recording(tmp_path / "mine_2", first_step=1).close()
    assert len(read_recording(tmp_path / "mine_2")) == 1
