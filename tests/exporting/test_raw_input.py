"""Raw input: the calendar of pandas and the columns of the data, by tensors alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from brainnet.data.cells import date_numbers as by_pandas
from brainnet.data.preprocessing import ColumnEncoder, TableEncoder
from brainnet.data.table_files import open_table
from brainnet.inference.export_json import _column
from brainnet.inference.exported_model import NOT_A_TIME, Preprocessing, date_numbers, raw_inputs


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


def by_page(columns: TableEncoder, rows: pd.DataFrame, page: dict[str, Any]) -> np.ndarray:
    """What an exported program makes of rows that are given as the page on exporting says."""
    told = (raw.told() for raw in raw_inputs(columns))
    given = (page["cells_for_torch"](column, rows[column["name"]]) for column in told)
    return Preprocessing(columns)(*given).numpy()


def test_prepares_what_columns_prepare(mixed: Any, page: dict[str, Any]) -> None:
    rows = mixed.rows(100)
    found = by_page(mixed.columns, rows, page)
    np.testing.assert_array_equal(found, mixed.columns.apply(rows))


ODD = TableEncoder(
    (
        ColumnEncoder("size", "category", ("", "1", "2", "2.5")),
        ColumnEncoder("born", "date", form="%d.%m.%Y"),
        ColumnEncoder("met", "date", form="ISO8601", hours=True),
        ColumnEncoder("sold", "boolean", ("false", "true")),
        ColumnEncoder("paid", "boolean", ("no", "yes")),
    ),
    imputes=True,
)


WORDS = ("", "007", "12", "NA", "None")


def odd_rows() -> pd.DataFrame:
    """A float category with gaps, German dates, dates of a time zone, booleans written True."""
    return pd.DataFrame(
        {
            "size": [1.0, 2.0, None, 2.5, 7.0],
            "born": ["26.08.2024", "01.02.1999", None, "31.12.2000", " 05.06.2007 "],
            "met": ["2024-08-26T01:30+02:00", "2024-01-01", "1999-12-31 23:59:58", None, None],
            "sold": [True, False, None, "TRUE", "false "],
            "paid": [True, False, True, False, True],
        }
    )


def test_the_page_gives_odd_columns_as_columns_reads_them(page: dict[str, Any]) -> None:
    rows = odd_rows()
    np.testing.assert_array_equal(by_page(ODD, rows, page), ODD.apply(rows))


def test_the_page_reads_a_file_as_brainnet_reads_it(page: dict[str, Any], tmp_path: Path) -> None:
    file, columns = (
        tmp_path / "odd.csv",
        TableEncoder((*ODD.columns, ColumnEncoder("room", "category", WORDS))),
    )
    sizes, rooms = ["1", " 2", "", "2.5", "7"], [*WORDS[:-1], " None"]
    odd_rows().assign(size=sizes, room=rooms, paid="Yes").to_csv(file, index=False)
    told = [raw.told() for raw in raw_inputs(columns)]
    (frame,) = open_table(file).chunks(text=columns.text_names)
    expected = columns.apply(frame)
    np.testing.assert_array_equal(by_page(columns, page["rows_of"](file, told), page), expected)
    assert expected[:, -len(WORDS) :].sum() == len(frame)  # each room was seen


def test_numpy_reads_odd_columns_as_columns_does(page: dict[str, Any]) -> None:
    rows = odd_rows()
    network = {"inputs": [_column(column) for column in ODD.columns]}
    found = page["numbers_of"](network, rows.astype(object).to_dict("records"))
    np.testing.assert_allclose(found, ODD.apply(rows), rtol=1e-7)


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ((ColumnEncoder("a"), ColumnEncoder("b")), ["rows"]),
        ((ColumnEncoder("a"), ColumnEncoder("b", "boolean", ("no", "yes"))), ["a", "b"]),
    ],
)
def test_numbers_alone_come_as_one_table(
    columns: tuple[ColumnEncoder, ...], names: list[str]
) -> None:
    assert [raw.name for raw in raw_inputs(TableEncoder(columns))] == names
