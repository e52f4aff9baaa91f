"""A point and a comma mean in every file what they meant in the one that was learnt from."""

import re

import numpy as np
import pandas as pd
import pytest
import torch

from brainnet import fit, load
from brainnet.data.cells import parse_numbers
from brainnet.data.column_types import check_number_format
from brainnet.data.preprocessing import TableEncoder
from brainnet.data.table import Table
from brainnet.data.table_files import open_table
from brainnet.errors import InputError
from brainnet.inference.evaluate import labelled
from brainnet.inference.predict import read_table_batches
from brainnet.structure.network import Network

ROWS = 60


@pytest.fixture
def german(tmp_path):
    """Rows with decimal commas, and thousands in groups by points."""
    lines = [
        f"{row % 7},25;{1 + row % 9}.{row:03}{',50' * (row % 7 == 0)};{'ab'[row % 2]}"
        for row in range(ROWS)
    ]
    file = tmp_path / "german.csv"
    file.write_text("\n".join(["x;big;y", *lines]))
    return file


def read(columns, file, keep=()):
    """The inputs that a run makes of a file for its answers."""
    parts = list(read_table_batches(columns, open_table(file), keep=keep))
    return np.concatenate([columns.apply(rows) for _, rows in parts]), parts


def test_another_file_is_read_by_the_signs_that_were_learnt(german, tmp_path):
    found = Table(german, "y").load(0)
    assert found.encoder.decimal == ","
    assert found.inputs[1, 1] == 2001
    other = tmp_path / "other.csv"
    other.write_text("x;big\n1;5.108\n2;7.375\n")
    assert read(found.encoder, other)[0].tolist() == [[1, 5108], [2, 7375]]
    held = Table(german, "y", validation_path=_with_answers(other)).load(0)
    assert held.inputs[-2:, 1].tolist() == [5108, 7375]


def _with_answers(file):
    lines = file.read_text().splitlines()
    answered = file.with_name("answered.csv")
    answered.write_text(f"{lines[0]};y\n{lines[1]};a\n{lines[2]};b\n")
    return answered


def test_a_column_that_is_kept_is_read_as_without_keeping(german):
    columns = Table(german, "y").load(0).encoder
    alone, _ = read(columns, german)
    beside, parts = read(columns, german, keep=["big"])
    assert (alone == beside).all()
    assert parts[0][0]["big"][:2].tolist() == ["1.000,50", "2.001"]


def test_groups_far_down_a_file_are_read_as_those_at_its_start(tmp_path):
    file = tmp_path / "late.csv"
    rows = [f"{row % 7},5;{row % 11};{'ab'[row % 2]}" for row in range(3000)]
    rows += ["1,5;3.361,50;a", "1,5;5.108;b"]
    file.write_text("\n".join(["x;big;y", *rows]))
    assert Table(file, "y").load(0).inputs[-2:, 1].tolist() == [3361.5, 5108]


def test_a_file_that_is_surely_written_otherwise_is_read_its_own_way(german, tmp_path, caplog):
    columns = Table(german, "y").load(0).encoder
    other = tmp_path / "points.csv"
    other.write_text("x;big\n1.25;5108.5\n2.5;7.375\n")
    assert read(columns, other)[0].tolist() == [[1.25, 5108.5], [2.5, 7.375]]
    assert "writes decimals with a point" in caplog.text


def test_what_was_learnt_of_signs_is_stored():
    columns = TableEncoder.numbers(["x"])
    stored = TableEncoder(columns.columns, decimal=",", groups=".")
    assert TableEncoder.from_dict(stored.to_dict()) == stored
    assert check_number_format(columns, None) == (columns, None)


@pytest.mark.parametrize(
    ("text", "decimal", "number"),
    [
        ("1.234", ",", 1234),
        ("1.234", ".", 1.234),
        ("1,234", ".", 1234),
        ("1,234", ",", 1.234),
        ("-1.234,5", ",", -1234.5),
        ("1,5e3", ",", 1500),
        ("1.5", ",", None),
        ("1,5", ".", None),
        ("1,5", "", 1.5),
        ("$1,200.50", ".", 1200.5),
    ],
)
def test_a_known_decimal_sign_decides(text, decimal, number):
    values, wrong = parse_numbers(pd.Series([text], dtype=object), decimal)
    assert wrong[0] == (number is None)
    assert number is None or values[0] == number


def test_a_column_of_the_other_sign_keeps_its_own(tmp_path):
    file = tmp_path / "mixed.csv"
    rows = [
        f"{row},25;{row},5;{1 + row % 9}.{row:03};1.{row % 10};{'ab'[row % 2]}"
        for row in range(ROWS)
    ]
    file.write_text("\n".join(["x;z;big;lat;y", *rows]))
    found = Table(file, "y").load(0)
    assert found.inputs[11].tolist() == pytest.approx([11.25, 11.5, 3011, 1.1])
    assert (read(found.encoder, file)[0] == found.inputs.numpy()).all()


def test_missing_words_of_another_file_are_dropped_too(german, tmp_path):
    rows = [f"{row}.5,{('red', 'blue')[row % 2]},{'ab'[row // 2 % 2]}" for row in range(40)]
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    first.write_text("\n".join(["x,colour,y", *rows]))
    second.write_text("x,colour,y\n1.5,red,a\n2.5,,b\n3.5,blue,a\n")
    found = Table(first, "y", missing="drop", test_path=second).load(0)
    assert found.part_sizes == (40, 0, 2)
    with pytest.raises(InputError, match="colour"):
        Table(first, "y", columns=["colour", "z"]).load(0)


@pytest.mark.parametrize(
    ("cells", "separator", "said"),
    [
        (["5.108", "1.234", "12"], ",", "5.108 in {}.*read as 5.108, .*, not as 5108. .* 5108 in"),
        (["5,108", "-1,234", "12"], ";", "5,108 in {}.*read as 5.108, .*, not as 5108. .* 5108 in"),
        (["5.108", "0.234"], ",", None),
        (["5.108", "1.5"], ",", None),
        (["5108", "1234"], ",", None),
    ],
)
def test_numbers_that_could_be_thousands_are_noted_once(cells, separator, said, tmp_path, caplog):
    file = tmp_path / "doubt.csv"
    lines = [f"{cells[row % len(cells)]}{separator}{'ab'[row % 2]}" for row in range(30)]
    file.write_text("\n".join([f"x{separator}y", *lines]))
    found = Table(file, "y").load(0)
    expected = [float(cell.replace(",", ".")) for cell in cells]
    assert found.inputs[: len(cells), 0].tolist() == pytest.approx(expected)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == (said is not None)
    assert said is None or re.search(said.format(re.escape(str(file))), told[0])


def test_a_sign_that_was_learnt_is_no_longer_doubted(tmp_path, caplog):
    for name, x in (("one.csv", "1.5"), ("other.csv", "5.108")):
        (tmp_path / name).write_text(
            "x,y\n" + "".join(f"{x},{'ab'[row % 2]}\n2,a\n" for row in range(20))
        )
    found = Table(tmp_path / "one.csv", "y", validation_path=tmp_path / "other.csv").load(0)
    assert found.inputs[-2, 0] == pytest.approx(5.108)
    assert caplog.records == []


def priced(path, separator, decimal):
    """Rows whose prices all have three decimals, of two kinds."""
    frame = pd.DataFrame({"price": 100.128 + np.arange(ROWS) * 7.004, "size": 1.125})
    frame["size"] += np.arange(ROWS) % 7
    frame["kind"] = np.where(frame["price"] > frame["price"].median(), "dear", "cheap")
    frame.to_csv(path, sep=separator, decimal=decimal, float_format="%.3f", index=False)
    return frame


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    """A run that learnt from decimal points, and the same rows with commas and semicolons."""
    folder = tmp_path_factory.mktemp("points")
    priced(folder / "first.csv", ",", ".")
    with (folder / "first.csv").open("a") as file:
        file.write("150.5,2.5,cheap\n")  # which shows that the point is the decimal sign
    frame = priced(folder / "other.csv", ";", ",")
    data = Table(folder / "first.csv", "kind")
    run = fit(Network([2, 4, 1]), data, folder=folder / "run", epochs=1, progress=False)
    return load(run.folder), folder / "other.csv", frame


def test_decimal_commas_between_semicolons_are_no_thousands_to_predict(points, caplog):
    trained, other, frame = points
    found, _ = read(trained.encoder, other)
    assert found == pytest.approx(frame[["price", "size"]].to_numpy(), abs=1e-3)
    assert "other.csv writes decimals with a comma" in caplog.text


def test_decimal_commas_between_semicolons_are_no_thousands_to_judge_by(points):
    trained, other, frame = points
    (inputs, _), *_ = labelled(trained, open_table(other), ["kind"], "refuse")
    said = frame[["price", "size"]].round(3).to_numpy(np.float32)
    assert torch.equal(inputs, trained.scaling.apply(torch.from_numpy(said)))


def test_decimal_commas_between_semicolons_are_no_thousands_to_explain(points):
    trained, other, frame = points
    told = trained.account().row_of_file(other, 3)
    assert [each.value for each in told.columns] == pytest.approx(
        frame.loc[3, ["price", "size"]].tolist(), abs=1e-3
    )
    assert told.reasons.answer.right == "cheap"


def test_commas_that_stood_between_thousands_still_do(tmp_path):
    first, other = tmp_path / "first.csv", tmp_path / "other.csv"
    rows = "".join(f"1,{row:03}\t{row}.5\t{'ab'[row % 2]}\n" for row in range(100, 140))
    first.write_text(f"big\tx\ty\n{rows}")
    other.write_text("big\tx\n1,234\t1\n5,678\t2\n")
    found = Table(first, "y").load(0)
    assert found.inputs[0].tolist() == [1100, 100.5]
    assert read(found.encoder, other)[0].tolist() == [[1234, 1], [5678, 2]]
