import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from brainnet.observation.background_writer import WAITING, BackgroundWriter
from brainnet.observation.reading import Reading, ReadingWithHistograms
from brainnet.observation.recording import Recording, read_recording
from brainnet.observation.tensorboard import TensorBoardWriter


class Unread:
    """A look whose numbers arrive when they are let."""

    def __init__(self, step, arrived=None, error=None):
        self.step, self.arrived, self.error = step, arrived, error

    def look(self):
        if self.arrived is not None:
            self.arrived.wait(200)
        if self.error is not None:
            raise self.error
        return ReadingWithHistograms(Reading(step=self.step, epoch=0, learning_rate=0.1), {})


class Full:
    """A disk without room."""

    def add_event(self, event):
        raise OSError(28, "No space left on device")

    def flush(self):
        raise OSError(28, "No space left on device")

    close = flush


def test_nothing_is_lost_and_all_is_in_order(tmp_path):
    readings = []
    recorder = BackgroundWriter(readings, Recording(tmp_path), TensorBoardWriter(tmp_path))
    for step in range(3 * WAITING):
        recorder.look(Unread(step))
        recorder.scalars({"loss/validation": 0.5}, step)
    recorder.close()
    recorder.close()
    assert [reading.step for reading in readings] == list(range(3 * WAITING))
    assert read_recording(tmp_path) == readings
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0}).Reload()
    assert len(events.Scalars("learning_rate")) == 3 * WAITING
    assert len(events.Scalars("loss/validation")) == 3 * WAITING


def test_the_training_waits_only_where_too_much_is_waiting():
    arrived, readings = threading.Event(), []
    recorder = BackgroundWriter(readings)
    for step in range(WAITING):
        recorder.look(Unread(step, arrived))  # returns at once
    assert readings == []
    arrived.set()
    recorder.wait()
    assert len(readings) == WAITING
    recorder.close()


def test_whoever_waits_waits_for_no_rest(tmp_path, monkeypatch):
    monkeypatch.setattr("brainnet.observation.background_writer.REST", 1000.0)
    recorder = BackgroundWriter([], Recording(tmp_path))
    for step in range(3):
        recorder.look(Unread(step))
        recorder.wait()
        assert len(read_recording(tmp_path)) == step + 1
    for step in range(3, 3 * WAITING):  # too many to rest
        recorder.look(Unread(step))
    recorder.close()
    assert len(read_recording(tmp_path)) == 3 * WAITING


def test_a_look_that_nobody_waits_for_is_recorded_after_a_rest(tmp_path, monkeypatch):
    monkeypatch.setattr("brainnet.observation.background_writer.REST", 0.01)
    recorder = BackgroundWriter([], Recording(tmp_path))
    for step in range(2):
        recorder.look(Unread(step))
        until = time.monotonic() + 100
        while len(read_recording(tmp_path)) <= step:
            assert time.monotonic() < until
            time.sleep(0.01)
    recorder.close()


def test_a_disk_without_room_is_said_once_for_each_file_and_readings_go_on(tmp_path, monkeypatch):
    said, readings = [], []
    recording = Recording(tmp_path)
    recorder = BackgroundWriter(
        readings, recording, TensorBoardWriter(tmp_path, sink=Full()), said=said.append
    )
    recorder.look(Unread(0))
    recorder.wait()
    monkeypatch.setattr(recording, "add", lambda _: Full().add_event(None))
    for step in range(1, 4):
        recorder.look(Unread(step))
    recorder.close()
    assert [reading.step for reading in readings] == [0, 1, 2, 3]
    assert [reading.step for reading in read_recording(tmp_path)] == [0]
    assert len(said) == 2
    assert "TensorBoard" in said[0]
    assert "readings.bin can no longer be written" in said[1]
    assert "No space left" in said[1]
    Recording(tmp_path).close()  # nobody holds it


def test_one_look_that_cannot_be_read_is_said_and_the_next_one_comes():
    said, readings = [], []
    recorder = BackgroundWriter(readings, said=said.append)
    recorder.look(Unread(0, error=ArithmeticError("out of luck")))
    recorder.look(Unread(1))
    recorder.close()
    assert [reading.step for reading in readings] == [1]
    assert "ArithmeticError: out of luck" in said[0]


def test_whoever_is_told_may_fail_and_nobody_waits_in_vain(tmp_path):
    def said(message):
        raise RuntimeError("no ears")

    recorder = BackgroundWriter([], Recording(tmp_path), said=said)
    recorder.look(Unread(0, error=ArithmeticError("out of luck")))
    recorder.look(Unread(1))
    recorder.wait()
    recorder.close()
    assert [reading.step for reading in read_recording(tmp_path)] == [1]
    Recording(tmp_path).close()  # nobody holds it


def test_looks_that_come_while_somebody_closes_are_recorded_or_dropped_but_never_waited_for():
    for _ in range(20):
        readings = []
        recorder = BackgroundWriter(readings)
        begun = threading.Barrier(4)

        def looking(recorder=recorder, begun=begun):
            begun.wait()
            for step in range(20):
                recorder.look(Unread(step))
                recorder.wait()

        threads = [threading.Thread(target=looking) for _ in range(3)]
        for thread in threads:
            thread.start()
        begun.wait()
        recorder.close()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()


PROGRAM = """
import sys
sys.path.insert(0, {here!r})
from test_recorder import Recorder, Recording, Unread
recorder = Recorder([], Recording({folder!r}))
for step in range(50):
    recorder.look(Unread(step))
{ending}
"""


@pytest.mark.parametrize("ending", ["", "raise KeyboardInterrupt", "sys.exit(143)"])
def test_a_program_that_ends_without_a_word_loses_nothing(tmp_path, ending):
    program = PROGRAM.format(
        here=str(Path(__file__).parent),
        folder=str(tmp_path),
        ending=ending,
    )
    subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert [reading.step for reading in read_recording(tmp_path)] == list(range(50))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_nothing_to_wait_for(tmp_path):
    recorder = BackgroundWriter([], Recording(tmp_path))
    recorder.look(Unread(0))
    recorder.wait()
    child = os.fork()
    if child == 0:
        recorder.close()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    recorder.look(Unread(1))
    recorder.close()
    assert len(read_recording(tmp_path)) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_that_goes_on_drops_what_it_sees_and_says_so_once(tmp_path):
    said = []
    recorder = BackgroundWriter([], Recording(tmp_path), said=said.append)
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # rather than wait for ever
        for step in range(2 * WAITING):
            recorder.look(Unread(step))
        recorder.wait()
        os._exit(len(said))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    recorder.close()
    assert read_recording(tmp_path) == []


def test_what_comes_after_the_end_is_dropped(tmp_path):
    recorder = BackgroundWriter([], Recording(tmp_path))
    recorder.close()
    for step in range(2 * WAITING):
        recorder.scalars({"loss/validation": 0.5}, step)
    assert read_recording(tmp_path) == []
