"""Plain numbers are encoded many columns at a time, as one by one."""

import numpy as np
import pandas as pd

from brainnet.data.preprocessing import ColumnEncoder, encoded, encoded_rows
from brainnet.data.table_files import rows_at_once


def table():
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(40, 300)), columns=[f"x{i}" for i in range(300)])
    for place in range(0, 300, 7):
        frame[f"x{place}"] = random.integers(-5, 5, 40)
    frame["x3"] = frame["x3"].astype(np.float32)
    frame["x5"] = pd.array(random.integers(0, 9, 40), dtype="Int64")
    frame["x9"] = [f"{number:.3f}" for number in frame["x9"]]
    frame["x11"] = pd.date_range("2024-01-01", periods=40)
    frame.loc[4, "x12"] = np.nan
    kinds = {"x11": ColumnEncoder("x11", "date", form="ISO8601")}
    return frame, [kinds.get(name, ColumnEncoder(name)) for name in frame.columns]


def test_columns_are_encoded_the_same_together_as_alone():
    frame, columns = table()
    asked = []

    def one(column, cells):
        asked.append(column.name)
        return encoded(column, cells)

    found = encoded_rows(columns, frame, one)
    alone = [part for column in columns for part in encoded(column, frame[column.name])]
    assert found.dtype == np.float32
    assert np.array_equal(found, np.stack(alone, axis=1).astype(np.float32), equal_nan=True)
    assert asked == ["x3", "x5", "x9", "x11"]  # one number of 32 bits alone is no block


def test_numbers_are_shown_as_they_were_before_they_are_rounded():
    frame, columns = table()
    shown = {}

    def look(some, values):
        shown.update(zip([column.name for column in some], values.T, strict=True))

    encoded_rows(columns, frame, encoded, look)
    assert len(shown) == 296
    for name, values in shown.items():
        assert np.array_equal(values, frame[name].to_numpy(), equal_nan=True)


def test_parts_of_wide_tables_have_many_rows_and_still_fit():
    assert [rows_at_once(None, columns) for columns in (1, 100, 512, 4096, 5000, 10**7)] == [
        65_536, 5242, 1024, 1024, 838, 1,
    ]  # fmt: skip
    assert rows_at_once(7, 5000) == 7
