import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from brainnet.observation.background_writer import _QUEUE_SIZE, BackgroundWriter
from brainnet.observation.reading import Reading, ReadingWithHistograms
from brainnet.observation.recording import Recording, read_recording
from brainnet.observation.tensorboard import TensorBoardWriter


class FakePending:
    """A reading whose statistics arrive when the event is set."""

    def __init__(self, step, arrived=None, error=None):
        self.step, self.arrived, self.error = step, arrived, error

    def resolve(self):
        if self.arrived is not None:
            self.arrived.wait(200)
        if self.error is not None:
            raise self.error
        return ReadingWithHistograms(Reading(step=self.step, epoch=0, learning_rate=0.1), {})


class Full:
    """A file on a full disk."""

    def add_event(self, event):
        raise OSError(28, "No space left on device")

    def flush(self):
        raise OSError(28, "No space left on device")

    close = flush


def test_all_readings_are_written_in_order(tmp_path):
    readings = []
    background = BackgroundWriter(readings, Recording(tmp_path), TensorBoardWriter(tmp_path))
    for step in range(3 * _QUEUE_SIZE):
        background.add_reading(FakePending(step))
        background.write(
            lambda writer, step=step: writer.add_scalars({"loss/validation": 0.5}, step)
        )
    background.close()
    background.close()
    assert [reading.step for reading in readings] == list(range(3 * _QUEUE_SIZE))
    assert read_recording(tmp_path) == readings
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0}).Reload()
    assert len(events.Scalars("learning_rate")) == 3 * _QUEUE_SIZE
    assert len(events.Scalars("loss/validation")) == 3 * _QUEUE_SIZE


def test_adding_a_reading_does_not_wait():
    arrived, readings = threading.Event(), []
    background = BackgroundWriter(readings)
    for step in range(_QUEUE_SIZE):
        background.add_reading(FakePending(step, arrived))  # returns at once
    assert readings == []
    arrived.set()
    background.wait()
    assert len(readings) == _QUEUE_SIZE
    background.close()


def test_wait_does_not_wait_for_the_delay(tmp_path, monkeypatch):
    monkeypatch.setattr("brainnet.observation.background_writer._DELAY_SECONDS", 1000.0)
    background = BackgroundWriter([], Recording(tmp_path))
    for step in range(3):
        background.add_reading(FakePending(step))
        background.wait()
        assert len(read_recording(tmp_path)) == step + 1
    for step in range(3, 3 * _QUEUE_SIZE):  # too many to rest
        background.add_reading(FakePending(step))
    background.close()
    assert len(read_recording(tmp_path)) == 3 * _QUEUE_SIZE


def test_readings_are_recorded_after_the_delay(tmp_path, monkeypatch):
    monkeypatch.setattr("brainnet.observation.background_writer._DELAY_SECONDS", 0.01)
    background = BackgroundWriter([], Recording(tmp_path))
    for step in range(2):
        background.add_reading(FakePending(step))
        until = time.monotonic() + 100
        while len(read_recording(tmp_path)) <= step:
            assert time.monotonic() < until
            time.sleep(0.01)
    background.close()


def test_a_full_disk_is_reported_once_per_file_and_readings_are_kept(tmp_path, monkeypatch):
    messages, readings = [], []
    recording = Recording(tmp_path)
    background = BackgroundWriter(
        readings, recording, TensorBoardWriter(tmp_path, file=Full()), report=messages.append
    )
    background.add_reading(FakePending(0))
    background.wait()
    monkeypatch.setattr(recording, "add", lambda _: Full().add_event(None))
    for step in range(1, 4):
        background.add_reading(FakePending(step))
    background.close()
    assert [reading.step for reading in readings] == [0, 1, 2, 3]
    assert [reading.step for reading in read_recording(tmp_path)] == [0]
    assert len(messages) == 2
    assert "TensorBoard" in messages[0]
    assert "readings.bin stopped" in messages[1]
    assert "No space left" in messages[1]
    Recording(tmp_path).close()  # it is not locked


def test_a_reading_that_fails_is_reported_and_the_next_one_is_kept():
    messages, readings = [], []
    background = BackgroundWriter(readings, report=messages.append)
    background.add_reading(FakePending(0, error=ArithmeticError("out of luck")))
    background.add_reading(FakePending(1))
    background.close()
    assert [reading.step for reading in readings] == [1]
    assert "ArithmeticError: out of luck" in messages[0]


def test_a_failing_report_does_not_block_the_thread(tmp_path):
    def fail(message):
        raise RuntimeError("no report")

    background = BackgroundWriter([], Recording(tmp_path), report=fail)
    background.add_reading(FakePending(0, error=ArithmeticError("out of luck")))
    background.add_reading(FakePending(1))
    background.wait()
    background.close()
    assert [reading.step for reading in read_recording(tmp_path)] == [1]
    Recording(tmp_path).close()  # it is not locked


def test_readings_added_during_close_never_block():
    for _ in range(20):
        readings = []
        background = BackgroundWriter(readings)
        begun = threading.Barrier(4)

        def add_readings(background=background, begun=begun):
            begun.wait()
            for step in range(20):
                background.add_reading(FakePending(step))
                background.wait()

        threads = [threading.Thread(target=add_readings) for _ in range(3)]
        for thread in threads:
            thread.start()
        begun.wait()
        background.close()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()


PROGRAM = """
import sys
sys.path.insert(0, {here!r})
from test_background_writer import BackgroundWriter, FakePending, Recording
background = BackgroundWriter([], Recording({folder!r}))
for step in range(50):
    background.add_reading(FakePending(step))
{ending}
"""


@pytest.mark.parametrize("ending", ["", "raise KeyboardInterrupt", "sys.exit(143)"])
def test_a_program_that_ends_without_close_loses_no_readings(tmp_path, ending):
    program = PROGRAM.format(
        here=str(Path(__file__).parent),
        folder=str(tmp_path),
        ending=ending,
    )
    subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert [reading.step for reading in read_recording(tmp_path)] == list(range(50))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_close_returns_at_once_in_a_forked_process(tmp_path):
    background = BackgroundWriter([], Recording(tmp_path))
    background.add_reading(FakePending(0))
    background.wait()
    child = os.fork()
    if child == 0:
        background.close()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    background.add_reading(FakePending(1))
    background.close()
    assert len(read_recording(tmp_path)) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_drops_readings(tmp_path):
    background = BackgroundWriter([], Recording(tmp_path))
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # rather than wait for ever
        for step in range(2 * _QUEUE_SIZE):
            background.add_reading(FakePending(step))
        background.wait()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    background.close()
    assert read_recording(tmp_path) == []


def test_tasks_after_close_are_dropped(tmp_path):
    background = BackgroundWriter([], Recording(tmp_path))
    background.close()
    for step in range(2 * _QUEUE_SIZE):
        background.write(
            lambda writer, step=step: writer.add_scalars({"loss/validation": 0.5}, step)
        )
    assert read_recording(tmp_path) == []
