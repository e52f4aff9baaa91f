"""Parts of a file: as many rows as fit; answers come in order."""

import pytest

from brainnet.answering.prediction import check_kept, rows_at_once, write_predictions
from brainnet.errors import InputError
from brainnet.training.answers import ROWS_AT_ONCE


@pytest.mark.parametrize(
    ("columns", "rows"),
    [(1, 8 * ROWS_AT_ONCE), (64, 8 * ROWS_AT_ONCE), (300, ROWS_AT_ONCE), (10**5, 41), (10**9, 1)],
)
def test_parts_are_whole_blocks_that_fit_into_memory(columns, rows):
    assert rows_at_once(columns) == rows


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
