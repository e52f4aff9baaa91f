"""Times of day are hours since midnight, however they are written."""

from datetime import time

import numpy as np
import pandas as pd
import pytest

from brainnet.data.cells import CLOCK, hours
from brainnet.data.preprocessing import ColumnEncoder, TableEncoder
from brainnet.data.table import Table
from brainnet.errors import InputError


@pytest.mark.parametrize(
    ("cell", "hour"),
    [
        ("00:00", 0),
        ("7:05", 7 + 5 / 60),
        ("23:59:59", 23 + 59 / 60 + 59 / 3600),
        (" 14:35:20.5 ", 14 + 35 / 60 + 20.5 / 3600),
        ("12:30 AM", 0.5),
        ("12:30pm", 12.5),
        ("2:30 PM", 14.5),
        (time(14, 30), 14.5),
        ("24:00", None),
        ("14:60", None),
        ("13:00 PM", None),
        ("0:30 AM", None),
        ("14:3", None),
        ("14", None),
        ("noon", None),
    ],
)
def test_a_time_is_the_hours_since_midnight(cell, hour):
    values, wrong = hours(pd.Series([cell], dtype=object))
    assert wrong.tolist() == [hour is None]
    assert values[0] == pytest.approx(np.nan if hour is None else hour, nan_ok=True)


def test_nothing_is_no_strange_time_and_numbers_are_hours_already():
    values, wrong = hours(pd.Series(["", None, "NA", "6:00"], dtype=object))
    assert np.isnan(values).tolist() == [True, True, True, False]
    assert not wrong.any()
    assert hours(pd.Series([6.5, 7.0]))[0].tolist() == [6.5, 7]
    assert [len(part) for part in hours(pd.Series([], dtype=object))] == [0, 0]


@pytest.fixture
def file(tmp_path):
    lines = [f"{row % 24}:{row % 60:02},{'ab'[row % 2]}" for row in range(60)]
    path = tmp_path / "times.csv"
    path.write_text("\n".join(["start,y", *lines]))
    return path


def test_a_column_of_times_is_one_input(file):
    found = Table(file, "y").load(0)
    assert found.input_names == ("start",)
    assert found.inputs[:3, 0].tolist() == pytest.approx([0, 1 + 1 / 60, 2 + 2 / 60])
    columns = TableEncoder.from_dict(found.encoder.to_dict())
    assert columns.columns == (ColumnEncoder("start", form=CLOCK),)
    assert columns.text_names == ("start",)
    for cells in (["14:30"], [time(14, 30)], [14.5]):
        assert columns.apply(pd.DataFrame({"start": cells})).tolist() == [[14.5]]
    with pytest.raises(InputError, match=r"'start' holds times of day, but not in row 1 \('late'"):
        columns.apply(pd.DataFrame({"start": ["late"]}))


def test_a_cell_that_is_no_time_is_refused_and_words_may_be_asked_for(file):
    file.write_text(file.read_text().replace("\n7:07,", "\nseven,"))
    with pytest.raises(InputError, match=r"times of day, but not in row 8 \('seven'\)"):
        Table(file, "y").load(0)
    assert Table(file, "y", categories="start").load(0).encoder.columns[0].kind == "category"


def test_scores_and_spans_stay_words(tmp_path):
    lines = [f"{row % 3}:{row % 2},{30 + row % 9}:10,{'ab'[row % 2]}" for row in range(60)]
    (tmp_path / "words.csv").write_text("\n".join(["score,span,y", *lines]))
    found = Table(tmp_path / "words.csv", "y").load(0).encoder
    assert [column.kind for column in found.columns] == ["category", "category"]
