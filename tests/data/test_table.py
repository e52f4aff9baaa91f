"""A table becomes a data set: what is asked for is done, what is not there is named."""

import logging

import numpy as np
import pandas as pd
import pytest
import torch

from brainnet.data.datamodule import DataModule
from brainnet.data.table import Table
from brainnet.errors import InputError

COLOURS = ("red", "green", "blue")


@pytest.fixture
def fruit(tmp_path):
    """A file of 60 rows: weight, colour, price, kind."""
    rows = pd.DataFrame(
        {
            "weight": np.arange(60) % 7 + 0.5,
            "colour": [COLOURS[row % 3] for row in range(60)],
            "price": np.arange(60) * 1.25,
            "kind": ["apple" if row % 2 else "pear" for row in range(60)],
        }
    )
    file = tmp_path / "fruit.csv"
    rows.to_csv(file, index=False)
    return file


def with_rows(file, *lines):
    """The file with more lines."""
    longer = file.with_name("longer.csv")
    longer.write_text(file.read_text() + "".join(f"{line}\n" for line in lines))
    return longer


def test_a_file_becomes_a_data_set(fruit):
    found = Table(fruit, "kind").load(seed=0)
    assert (found.name, found.task, found.class_names) == ("fruit", "binary", ("apple", "pear"))
    assert found.input_names == ("weight", "colour=blue", "colour=green", "colour=red", "price")
    assert found.inputs[1].tolist() == [1.5, 0, 1, 0, 1.25]
    assert found.targets[:3].tolist() == [1, 0, 1]
    assert found.encoder.raw_names == ("weight", "colour", "price")
    assert found.part_sizes is None


def test_numbers_are_predicted_and_keep_their_name(fruit):
    found = Table(str(fruit), ["price", "weight"]).load(seed=0)
    assert (found.task, found.target_names) == ("regression", ("price", "weight"))
    assert found.targets[2].tolist() == [2.5, 2.5]


def test_columns_are_chosen_and_dropped(fruit):
    assert Table(fruit, "kind", columns=["price"]).load(0).input_names == ("price",)
    assert Table(fruit, "kind", drop=["colour", "price"]).load(0).input_names == ("weight",)
    assert Table(fruit, "kind", drop="colour").load(0).input_names == ("weight", "price")


def test_a_column_may_be_words_though_it_looks_like_numbers(fruit):
    found = Table(fruit, "kind", columns=["weight"], categories=["weight"]).load(0)
    assert found.input_names == tuple(f"weight={place}.5" for place in range(7))


def test_the_file_is_read_as_a_whole_whatever_its_parts(fruit, monkeypatch):
    whole = Table(fruit, "kind").load(0)
    monkeypatch.setattr("brainnet.data.table_files._CHUNK_ROWS", 7)
    monkeypatch.setattr("brainnet.data.table._HEAD_ROWS", 10)
    parts = Table(fruit, "kind").load(0)
    assert torch.equal(whole.inputs, parts.inputs)
    assert torch.equal(whole.targets, parts.targets)
    assert whole.encoder == parts.encoder


def test_missing_cells_are_refused_left_out_or_filled(fruit, caplog):
    file = with_rows(fruit, ",red,1.0,apple", "2.5,,1.0,pear", "1.5,red,NA,apple")
    with pytest.raises(InputError, match=r"'weight' has empty cells \(and so have price\): row 61"):
        Table(file, "kind").load(0)
    with caplog.at_level(logging.WARNING):
        left = Table(file, "kind", missing="drop").load(0)
    assert len(left) == 60
    assert "3 rows" in caplog.text
    filled = Table(file, "kind", missing="impute").load(0)
    assert len(filled) == 63
    assert filled.inputs[60:].isnan().any(dim=1).tolist() == [True, False, True]
    assert filled.encoder.imputes
    assert "colour=(missing)" in filled.input_names
    inputs, _ = DataModule(Table(file, "kind", missing="impute")).take("train")
    assert inputs.isfinite().all()


def test_a_missing_answer_is_never_filled_in(fruit):
    file = with_rows(fruit, "2.5,red,1.0,")
    with pytest.raises(InputError, match="the target 'kind' has empty cells: row 61"):
        Table(file, "kind").load(0)
    for missing in ("drop", "impute"):
        assert len(Table(file, "kind", missing=missing).load(0)) == 60


def test_other_files_validate_and_test(fruit, tmp_path):
    validation, test = tmp_path / "v.csv", tmp_path / "t.csv"
    validation.write_text("kind,price,colour,weight\napple,1,pink,2\npear,2,red,3\n")
    test.write_text("weight;colour;price;kind\n1,5;blue;2,5;pear\n")
    found = Table(fruit, "kind", validation_path=validation, test_path=test).load(0)
    assert found.part_sizes == (60, 2, 1)
    assert found.inputs[60:].tolist() == [[2, 0, 0, 0, 1], [3, 0, 0, 1, 2], [1.5, 1, 0, 0, 2.5]]
    assert found.targets[60:].tolist() == [0, 1, 1]
    data = DataModule(Table(fruit, "kind", validation_path=validation, test_path=test))
    assert [len(data.row_indices(part)) for part in ("train", "validation", "test")] == [60, 2, 1]


def test_other_files_are_held_to_the_same_columns_and_classes(fruit, tmp_path):
    other = tmp_path / "other.csv"
    for content, said in (
        ("weight,price,kind\n1,2,apple\n", r"in .*other\.csv there is no column 'colour'"),
        ("weight,colour,price,kind\n1,red,2,plum\n", r"other\.csv: .*classes apple, pear"),
        ("weight,colour,price,kind\ntall,red,2,apple\n", r"other\.csv: .*row 1 \('tall'\)"),
        ("weight,colour,price,kind\n,red,2,apple\n", r"other\.csv: the column 'weight' has empty"),
    ):
        other.write_text(content)
        with pytest.raises(InputError, match=said):
            Table(fruit, "kind", test_path=other).load(0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, r"data\.target must be given.*There are weight, colour, price, kind"),
        ({"target": "knd"}, r"there is no column 'knd'\. Did you mean kind\?"),
        ({"target": "Price"}, r"Did you mean price\?"),
        ({"target": ["price", "price"]}, "names the column 'price' twice"),
        ({"target": "kind", "columns": ["wieght"]}, r"Did you mean weight\?"),
        ({"target": "kind", "columns": ["kind", "price"]}, "in data.columns and in data.target"),
        ({"target": "kind", "drop": ["colr"]}, r"data\.drop.*Did you mean colour\?"),
        ({"target": "kind", "categories": ["colr"]}, r"data\.categories.*Did you mean colour\?"),
        ({"target": "kind", "columns": "price", "drop": "price"}, "leaves no column to learn from"),
        ({"target": "kind", "columns": []}, "data.columns is empty, which leaves no column"),
        ({"target": "kind", "missing": "dorp"}, r"Did you mean drop\?"),
        ({"target": "kind", "task": "regresion"}, r"Did you mean regression\?"),
    ],
)
def test_what_is_asked_for_must_be_there(fruit, options, said):
    with pytest.raises(InputError, match=said):
        Table(fruit, **options).load(0)


def test_arrays_are_named_by_number(tmp_path):
    np.save(tmp_path / "rows.npy", np.column_stack([np.arange(12) / 7, np.arange(12) % 3]))
    found = Table(tmp_path / "rows.npy", 1).load(0)
    assert (found.input_names, found.class_names) == (("0",), ("0", "1", "2"))
    np.savez(tmp_path / "rows.npz", x=np.eye(12), y=np.arange(12) % 2 == 0)
    found = Table(tmp_path / "rows.npz", "y").load(0)
    assert (len(found.input_names), found.class_names) == (12, ("False", "True"))


def test_a_sorted_file_of_whole_numbers_is_a_regression(tmp_path):
    file = tmp_path / "sorted.csv"
    file.write_text("x,y\n" + "".join(f"{row * 37 % 11}.5,{row // 400}\n" for row in range(12_000)))
    found = Table(file, "y").load(0)
    assert found.task == "regression"
    assert found.targets[:, 0].tolist() == [float(row // 400) for row in range(12_000)]


@pytest.mark.parametrize("codes", [["01234", "00999", "10115"], ["01234", "00999", "NA", ""]])
def test_codes_with_leading_zeros_are_words_from_the_file_to_the_answer(codes, tmp_path, caplog):
    file = tmp_path / "rows.csv"
    lines = [f"{codes[row % len(codes)]},{row}.5,{row},{'ab'[row % 2]}" for row in range(40)]
    file.write_text("\n".join(["zip,size,nr,kind", *lines]))
    found = Table(file, "kind").load(0)
    assert found.encoder.columns[0].kind == "category"
    assert {"zip=01234", "zip=00999", "size"} <= set(found.input_names)
    assert "'zip' has digits that begin with 0, such as 01234" in caplog.text
    frame = pd.DataFrame({"zip": [1234, 999], "size": 1.5, "nr": 3})  # as pandas reads a file
    place = found.input_names.index("zip=01234")
    typed = found.encoder.apply(frame)
    assert typed[:, place].tolist() == [1, 0]
    written = found.encoder.apply(frame.assign(zip=["01234", "00999"]))
    assert (written == typed).all()


def test_a_test_by_the_rows_that_are_trained_on_is_told(tmp_path, caplog):
    file = tmp_path / "rows.csv"
    file.write_text("x,y\n" + "".join(f"{row},{row % 2}\n" for row in range(20)))
    Table(file, "y", test_path=tmp_path / ".." / tmp_path.name / "rows.csv").load(seed=0)
    assert "data.test_path is the file that is trained on" in caplog.text
