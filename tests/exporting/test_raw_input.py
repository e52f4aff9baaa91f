"""Raw input: the calendar of pandas and the columns of the data, by tensors alone."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from brainnet.data.cells import date_numbers as by_pandas
from brainnet.data.columns import Column, Columns
from brainnet.exporting.raw_input import NOT_A_TIME, Prepared, date_numbers, raw_inputs


def test_the_calendar_is_that_of_pandas() -> None:
    random = np.random.default_rng(0)
    seconds = random.integers(-2 * 10**10, 2 * 10**10, 20_000)
    edges = np.array(
        ["1900-02-28T23:59:59", "1900-03-01", "2000-02-29", "2000-12-31", "2023-12-31T12:30:15"],
        dtype="datetime64[s]",
    )
    seconds = np.concatenate([seconds, edges.astype("int64")])
    moments = pd.Series(pd.to_datetime(seconds, unit="s", utc=True))
    ours = date_numbers(torch.from_numpy(seconds), hours=True)
    for mine, theirs in zip(ours, by_pandas(moments, hours=True), strict=True):
        assert np.array_equal(mine.numpy(), theirs)


def test_a_date_that_is_missing_is_no_number() -> None:
    missing = np.array(["NaT", "1970-01-01"], dtype="datetime64[s]").astype("int64")
    assert missing[0] == NOT_A_TIME
    for part in date_numbers(torch.from_numpy(missing), hours=False):
        assert part.isnan().tolist() == [True, False]


def test_prepares_what_columns_prepare(mixed: Any) -> None:
    rows = mixed.rows(100)
    fed = mixed.fed(rows)
    given = []
    for raw in raw_inputs(mixed.columns):
        cells = fed[raw.name]
        if raw.kind == "category":
            codes = {word: 1 + place for place, word in enumerate(raw.values)}
            cells = np.array([codes.get(cell, 0) for cell in cells])
        elif raw.kind == "boolean":
            cells = np.array([{"no": 0.0, "yes": 1.0}.get(cell.lower(), np.nan) for cell in cells])
        given.append(torch.tensor(cells, dtype=raw.dtype))
    found = Prepared(mixed.columns)(*given)
    np.testing.assert_array_equal(found.numpy(), mixed.columns.apply(rows))


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ((Column("a"), Column("b")), ["rows"]),
        ((Column("a"), Column("b", "boolean", ("no", "yes"))), ["a", "b"]),
    ],
)
def test_numbers_alone_come_as_one_table(columns: tuple[Column, ...], names: list[str]) -> None:
    assert [raw.name for raw in raw_inputs(Columns(columns))] == names
