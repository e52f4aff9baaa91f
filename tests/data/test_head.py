"""The first rows hold numbers where these are beyond doubt, and texts elsewhere."""

import pytest

from brainnet.data.column_types import ColumnInference
from brainnet.data.table_files import head_of, open_table

TABLE = {
    "float": ["1.5", "2.25", "NA"],
    "whole": ["1", "2", "3"],
    "code": ["0123", "0456", "0789"],
    "empty": ["", "", ""],
    "none": ["NA", "NA", "NA"],
    "truth": ["True", "True", "True"],
    "word": ["red", "NA", "blue"],
    "price": ["$5", "$7", "$9"],
    "day": ["2024-03-25", "2024-03-26", "2024-03-27"],
    "answer": ["1", "2", "1"],
}


def written(path, table, separator=","):
    lines = [separator.join(row) for row in (table, *zip(*table.values(), strict=True))]
    path.write_text("\n".join([*lines, ""]))
    return open_table(path)


def test_numbers_are_read_as_such_and_all_else_as_texts(tmp_path):
    file = written(tmp_path / "rows.csv", TABLE)
    head = head_of(file, 10, list(TABLE), words=["answer"])
    assert list(head.columns) == list(TABLE)
    assert [name for name in TABLE if head[name].dtype.kind in "iuf"] == ["float"]
    assert head["code"].tolist() == ["0123", "0456", "0789"]
    assert head["answer"].tolist() == ["1", "2", "1"]
    plain = {name: cells for name, cells in TABLE.items() if name != "code"}
    head = head_of(written(tmp_path / "plain.csv", plain), 10, list(plain), words=["answer"])
    assert [name for name in plain if head[name].dtype.kind in "iuf"] == ["float", "whole"]


@pytest.mark.parametrize(
    ("cells", "separator"),
    [
        (["1.234", "2.345", "3.456"], ","),  # no cell shows what the point is
        (["1,234.5", "2,345.5", "3,456.5"], ";"),  # pandas would take 1,2,3 for a number too
    ],
)
def test_numbers_in_doubt_stay_texts(cells, separator, tmp_path):
    file = written(tmp_path / "rows.csv", {"x": cells, "y": ["a", "b", "c"]}, separator)
    assert head_of(file, 10, ["x", "y"])["x"].tolist() == cells


def test_columns_are_found_the_same_by_numbers_and_by_texts(tmp_path):
    file = written(tmp_path / "rows.csv", {name: cells * 10 for name, cells in TABLE.items()})
    names, found = list(TABLE), []
    for head in (head_of(file, 30, names), next(file.chunks(30, text=names))):
        survey = ColumnInference(head, names, chosen=True, signs=(".", ""))
        found.append((survey.draft.columns, survey._counting))
    assert found[0] == found[1]
