"""Rows of a file come part by part, as many as fit, under the names that the run learnt."""

import pytest

from brainnet.data.preprocessing import TableEncoder
from brainnet.data.table_files import open_table
from brainnet.inference.inputs import rows_at_once, rows_of_table
from brainnet.learning.predictions import BATCH_ROWS


@pytest.mark.parametrize(
    ("columns", "rows"),
    [(1, 8 * BATCH_ROWS), (64, 8 * BATCH_ROWS), (300, BATCH_ROWS), (10**5, 41), (10**9, 1)],
)
def test_parts_are_whole_blocks_that_fit_into_memory(columns, rows):
    assert rows_at_once(columns) == rows


def test_rows_are_called_as_learnt_and_what_is_kept_stays_as_written(tmp_path):
    (tmp_path / "rows.csv").write_text("7,1.50,007\n8,2.50,008\n")
    file = open_table(tmp_path / "rows.csv", header=False)
    own, parts = rows_of_table(TableEncoder.from_names(["age", "size"]), file, keep=["2"])
    ((rows, beside),) = parts
    assert own.decimal == "."
    assert rows.to_dict("list") == {"age": [7, 8], "size": [1.5, 2.5]}
    assert beside["2"].tolist() == ["007", "008"]
