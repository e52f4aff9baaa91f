import os
import threading
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from brainnet.observation.tensorboard import (
    EventFileWriter,
    TensorBoardWriter,
    create_summary_writer,
)


def read(folder):
    return EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()


def test_several_threads_write_into_one_file(tmp_path):
    file = EventFileWriter(tmp_path)

    def write(name):
        with TensorBoardWriter(tmp_path, sink=file) as writer:
            for step in range(200):
                writer.scalars({name: float(step)}, step)

    threads = [threading.Thread(target=write, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.close()
    events = read(tmp_path)
    for name in ("a", "b", "c"):
        assert [point.step for point in events.Scalars(name)] == list(range(200))


def test_half_an_event_is_taken_back_so_that_later_ones_can_be_read(tmp_path, monkeypatch):
    file = EventFileWriter(tmp_path)
    writer = TensorBoardWriter(tmp_path, sink=file)
    writer.scalars({"a": 1.0}, 0)

    class Full:
        """A disk with room for ten bytes more."""

        def __init__(self, inner):
            self.inner, self.room = inner, 10

        def write(self, content):
            if not self.room:
                raise OSError(28, "No space left on device")
            written = self.inner.write(content[: self.room])
            self.room = 0
            return written

        def __getattr__(self, name):
            return getattr(self.inner, name)

    inner = file._file
    monkeypatch.setattr(file, "_file", Full(inner))
    with pytest.raises(OSError, match="No space"):
        writer.scalars({"a": 2.0}, 1)
    monkeypatch.setattr(file, "_file", inner)
    writer.scalars({"a": 3.0}, 2)
    file.close()
    assert [(point.step, point.value) for point in read(tmp_path).Scalars("a")] == [(0, 1), (2, 3)]


def test_others_write_into_it_by_the_means_they_know(tmp_path):
    file = EventFileWriter(tmp_path)
    with create_summary_writer(file) as writer:
        writer.add_scalar("theirs", 0.5, 3)
    TensorBoardWriter(tmp_path, sink=file).scalars(
        {"ours": 1.0}, 4
    )  # closing theirs has not closed it
    writer.add_scalar("theirs", 0.25, 5)
    file.close()
    (path,) = Path(tmp_path).glob("events.out.tfevents.*")
    assert [event.step for event in EventFileLoader(str(path)).Load()] == [0, 3, 4, 5]
    events = read(tmp_path)
    assert [point.value for point in events.Scalars("theirs")] == [0.5, 0.25]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_half_an_event_is_taken_back_whatever_comes_between(tmp_path, monkeypatch, error):
    file = EventFileWriter(tmp_path)
    writer = TensorBoardWriter(tmp_path, sink=file)
    inner = file._file

    class Interrupted:
        parts = 0

        def write(self, content):
            self.parts += 1
            if self.parts > 1:
                raise error
            return inner.write(content[:10])

        def __getattr__(self, name):
            return getattr(inner, name)

    monkeypatch.setattr(file, "_file", Interrupted())
    with pytest.raises(type(error)):
        writer.scalars({"a": 2.0}, 1)
    monkeypatch.setattr(file, "_file", inner)
    writer.scalars({"a": 3.0}, 2)
    file.close()
    assert [(point.step, point.value) for point in read(tmp_path).Scalars("a")] == [(2, 3)]


def test_after_its_end_it_says_so_as_a_file_does(tmp_path):
    file = EventFileWriter(tmp_path)
    file.close()
    file.close()
    with pytest.raises(OSError, match=r"closed.*tfevents"):
        TensorBoardWriter(tmp_path, sink=file).scalars({"a": 1.0}, 1)


def test_its_end_has_all_on_disk_and_no_file_is_written_over(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.fstat(number).st_size))
    file = EventFileWriter(tmp_path)
    (path,) = tmp_path.iterdir()
    monkeypatch.setattr(EventFileWriter, "_number", iter([int(path.name.split(".")[-2])] * 2))
    monkeypatch.setattr("time.time", lambda: float(path.name.split(".")[3]))
    with pytest.raises(FileExistsError):
        EventFileWriter(tmp_path)
    file.close()
    assert synced == [path.stat().st_size]


def test_files_of_one_second_are_read_in_the_order_they_were_made(tmp_path, monkeypatch):
    monkeypatch.setattr(EventFileWriter, "_number", iter(range(8, 12)))
    monkeypatch.setattr("time.time", lambda: 1.0e9)
    for step in range(4):
        with TensorBoardWriter(tmp_path) as writer:
            writer.goes_on_from(step)
            writer.scalars({"a": float(step)}, step)
    assert [point.step for point in read(tmp_path).Scalars("a")] == [0, 1, 2, 3]
