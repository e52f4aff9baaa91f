"""Answers come in order, beside columns that are there."""

import pytest

from brainnet.errors import InputError
from brainnet.inference.predict import check_kept, write_predictions


def test_columns_to_keep_are_there_once_and_no_answers():
    check_kept(["id"], ["id", "a"])
    for keep, said in (
        (["Id"], "no column 'Id'"),
        (["id", "id"], "twice"),
        (["prediction"], "an answer has a column of its own"),
        (["probability x"], "an answer has a column of its own"),
    ):
        with pytest.raises(InputError, match=said):
            check_kept(keep, ["id", "prediction", "probability x"])


class Recorder:
    def __init__(self, fails=False):
        self.parts, self.closed, self.fails = [], False, fails

    def write(self, columns):
        if self.fails:
            raise OSError("disk full")
        self.parts.append(columns["a"])

    def close(self):
        self.closed = True


def test_answers_are_written_in_order():
    writer = Recorder()
    parts = [{"a": [number] * (number + 1)} for number in range(20)]
    assert list(write_predictions(iter(parts), writer))[-1] == sum(range(1, 21))
    assert writer.parts == [part["a"] for part in parts]
    assert writer.closed


def test_a_disk_that_is_full_stops_it():
    writer = Recorder(fails=True)
    with pytest.raises(OSError, match="disk full"):
        list(write_predictions(iter([{"a": [1]}] * 5), writer))
    assert writer.closed
