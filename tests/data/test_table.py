"""A file becomes a data set: columns, types, missing cells, other files, categories."""

import logging

import numpy as np
import pandas as pd
import pytest
import torch

from brainnet.data.datamodule import DataModule
from brainnet.data.dataset import restore_encoder
from brainnet.data.table import Table
from brainnet.errors import InputError

COLORS = ("red", "green", "blue")


@pytest.fixture
def fruit(tmp_path):
    """A file of 60 rows: weight, color, price, kind."""
    rows = pd.DataFrame(
        {
            "weight": np.arange(60) % 7 + 0.5,
            "color": [COLORS[row % 3] for row in range(60)],
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
    assert found.input_names == ("weight", "color=blue", "color=green", "color=red", "price")
    assert found.inputs[1].tolist() == [1.5, 0, 1, 0, 1.25]
    assert found.targets[:3].tolist() == [1, 0, 1]
    assert found.encoder.raw_names == ("weight", "color", "price")
    assert found.part_sizes is None


def test_numbers_to_predict_keep_their_names(fruit):
    found = Table(str(fruit), ["price", "weight"]).load(seed=0)
    assert (found.task, found.target_names) == ("regression", ("price", "weight"))
    assert found.targets[2].tolist() == [2.5, 2.5]


def test_columns_are_chosen_and_dropped(fruit):
    assert Table(fruit, "kind", columns=["price"]).load(0).input_names == ("price",)
    assert Table(fruit, "kind", drop=["color", "price"]).load(0).input_names == ("weight",)
    assert Table(fruit, "kind", drop="color").load(0).input_names == ("weight", "price")


def test_numbers_can_be_read_as_categories(fruit):
    found = Table(fruit, "kind", columns=["weight"], categories=["weight"]).load(0)
    assert found.input_names == tuple(f"weight={place}.5" for place in range(7))


def test_the_data_do_not_depend_on_the_chunks(fruit, monkeypatch):
    whole = Table(fruit, "kind").load(0)
    monkeypatch.setattr("brainnet.data.table_files._CHUNK_ROWS", 7)
    monkeypatch.setattr("brainnet.data.table_files._MIN_CHUNK_ROWS", 7)
    monkeypatch.setattr("brainnet.data.table._COPY_ROWS", 5)
    monkeypatch.setattr("brainnet.data.table.MAX_HEAD_ROWS", 10)
    parts = Table(fruit, "kind").load(0)
    assert torch.equal(whole.inputs, parts.inputs)
    assert torch.equal(whole.targets, parts.targets)
    assert whole.encoder == parts.encoder


def test_rows_with_missing_cells_are_rejected_dropped_or_imputed(fruit, caplog):
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
    assert "color=(missing)" in filled.input_names
    inputs, _ = DataModule(Table(file, "kind", missing="impute")).take("train")
    assert inputs.isfinite().all()


def test_missing_targets_are_never_imputed(fruit):
    file = with_rows(fruit, "2.5,red,1.0,")
    with pytest.raises(InputError, match="the column 'kind' has empty cells: row 61"):
        Table(file, "kind").load(0)
    for missing in ("drop", "impute"):
        assert len(Table(file, "kind", missing=missing).load(0)) == 60


def test_other_files_can_validate_and_test(fruit, tmp_path):
    validation, test = tmp_path / "v.csv", tmp_path / "t.csv"
    validation.write_text("kind,price,color,weight\napple,1,pink,2\npear,2,red,3\n")
    test.write_text("weight;color;price;kind\n1,5;blue;2,5;pear\n")
    found = Table(fruit, "kind", validation_path=validation, test_path=test).load(0)
    assert found.part_sizes == (60, 2, 1)
    assert found.inputs[60:].tolist() == [[2, 0, 0, 0, 1], [3, 0, 0, 1, 2], [1.5, 1, 0, 0, 2.5]]
    assert found.targets[60:].tolist() == [0, 1, 1]
    data = DataModule(Table(fruit, "kind", validation_path=validation, test_path=test))
    assert [len(data.row_indices(part)) for part in ("train", "validation", "test")] == [60, 2, 1]


def test_other_files_must_have_the_same_columns_and_classes(fruit, tmp_path):
    other = tmp_path / "other.csv"
    for content, said in (
        ("weight,price,kind\n1,2,apple\n", r"in .*other\.csv there is no column 'color'"),
        ("weight,color,price,kind\n1,red,2,plum\n", r"other\.csv: .*classes apple, pear"),
        ("weight,color,price,kind\ntall,red,2,apple\n", r"other\.csv: .*row 1 \('tall'\)"),
        ("weight,color,price,kind\n,red,2,apple\n", r"other\.csv: the column 'weight' has empty"),
    ):
        other.write_text(content)
        with pytest.raises(InputError, match=said):
            Table(fruit, "kind", test_path=other).load(0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, r"data\.target must be given.*columns are weight, color, price, kind"),
        ({"target": "knd"}, r"there is no column 'knd'\. Did you mean kind\?"),
        ({"target": "Price"}, r"Did you mean price\?"),
        ({"target": ["price", "price"]}, r"data\.target names a column twice: price, price"),
        ({"target": "kind", "columns": ["wieght"]}, r"Did you mean weight\?"),
        ({"target": "kind", "columns": ["kind", "price"]}, "in data.columns and in data.target"),
        ({"target": "kind", "drop": ["colr"]}, r"data\.drop.*Did you mean color\?"),
        ({"target": "kind", "categories": ["colr"]}, r"data\.categories.*Did you mean color\?"),
        ({"target": "kind", "columns": "price", "drop": "price"}, "is left to learn from"),
        ({"target": "kind", "columns": []}, "is left to learn from"),
        ({"target": "kind", "missing": "dorp"}, r"Did you mean drop\?"),
        ({"target": "kind", "task": "regresion"}, r"Did you mean regression\?"),
    ],
)
def test_invalid_options_are_rejected(fruit, options, said):
    with pytest.raises(InputError, match=said):
        Table(fruit, **options).load(0)


def test_columns_of_arrays_are_numbered(tmp_path):
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
def test_codes_with_leading_zeros_are_categories(codes, tmp_path, caplog):
    file = tmp_path / "rows.csv"
    lines = [f"{codes[row % len(codes)]},{row}.5,{row},{'ab'[row % 2]}" for row in range(40)]
    file.write_text("\n".join(["zip,size,nr,kind", *lines]))
    found = Table(file, "kind").load(0)
    assert found.encoder.columns[0].kind == "category"
    assert {"zip=01234", "zip=00999", "size"} <= set(found.input_names)
    assert "'zip' has digits that begin with 0, such as 01234" in caplog.text
    frame = pd.DataFrame({"zip": ["01234", "00999"], "size": 1.5, "nr": 3})
    place = found.input_names.index("zip=01234")
    assert found.encoder.transform(frame)[:, place].tolist() == [1, 0]


def test_testing_on_the_training_file_is_reported(tmp_path, caplog):
    file = tmp_path / "rows.csv"
    file.write_text("x,y\n" + "".join(f"{row},{row % 2}\n" for row in range(20)))
    Table(file, "y", test_path=tmp_path / ".." / tmp_path.name / "rows.csv").load(seed=0)
    assert "data.test_path is the training file" in caplog.text


def test_a_format_other_than_plain_csv_is_reported_once(tmp_path, caplog):
    file = tmp_path / "rows.csv"
    file.write_text("x;y\n" + "".join(f"{row},5;{'ab'[row % 2]}\n" for row in range(20)))
    found = Table(file, "y", test_path=file).load(seed=0)
    assert found.inputs[:3, 0].tolist() == [0.5, 1.5, 2.5]
    messages = [
        record.getMessage()
        for record in caplog.records
        if "is read with" in record.msg % record.args
    ]
    assert len(messages) == 1
    assert "rows.csv is read with sep=';', decimal=',', encoding=utf-8 (data.csv" in messages[0]
    assert (
        Table(file, "y", csv={"decimal": "."}, task="classification", categories="x")
        .load(0)
        .input_names[0]
        == "x=0,5"
    )


def write_german(path, rows=60):
    """Rows with decimal commas, and points between groups of three digits."""
    lines = [
        f"{row % 7},25;{1 + row % 9}.{row:03}{',50' * (row % 7 == 0)};{'ab'[row % 2]}"
        for row in range(rows)
    ]
    path.write_text("\n".join(["x;big;y", *lines]))
    return path


def test_ambiguous_numbers_of_other_files_are_read_as_in_training(tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("x;big;y\n1;5.108;a\n2;7.375;b\n")
    german = write_german(tmp_path / "german.csv")
    found = Table(german, "y", validation_path=other).load(0)
    assert (found.encoder.decimal, found.encoder.thousands) == (",", ".")
    assert found.inputs[1].tolist() == [1.25, 2001]
    assert found.inputs[-2:, 1].tolist() == [5108, 7375]


def test_other_files_that_prove_their_decimal_separator_are_read_with_it(tmp_path):
    other = tmp_path / "points.csv"
    other.write_text("x;big;y\n1.25;5108.5;a\n2.5;7.375;b\n")
    found = Table(write_german(tmp_path / "german.csv"), "y", validation_path=other).load(0)
    assert found.inputs[-2:].tolist() == [[1.25, 5108.5], [2.5, 7.375]]


def test_missing_categories_of_other_files_are_dropped_too(tmp_path):
    rows = [f"{row}.5,{('red', 'blue')[row % 2]},{'ab'[row // 2 % 2]}" for row in range(40)]
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    first.write_text("\n".join(["x,color,y", *rows]))
    second.write_text("x,color,y\n1.5,red,a\n2.5,,b\n3.5,blue,a\n")
    found = Table(first, "y", missing="drop", test_path=second).load(0)
    assert found.part_sizes == (40, 0, 2)


def write_rare(folder, others):
    """A table with a category that only a test row has, and the index of that row."""
    random = np.random.default_rng(0)
    words = np.resize([f"w{number}" for number in range(others)], 200).astype(object)
    words[::2] = "w0"
    frame = pd.DataFrame({"size": random.normal(0, 1, 200), "word": words})
    frame["answer"] = np.where(frame["size"] > 0, "yes", "no")
    frame.to_csv(folder / "rows.csv", index=False)
    test = DataModule(Table(folder / "rows.csv", "answer")).row_indices("test")[0].item()
    frame.loc[test, "word"] = "rare"
    frame.to_csv(folder / "rows.csv", index=False)
    return Table(folder / "rows.csv", "answer"), test


@pytest.mark.parametrize("others", [5, 40], ids=["inputs", "codes"])
def test_categories_without_a_training_row_are_unknown(tmp_path, others):
    source, row = write_rare(tmp_path, others)
    plain = source.load(0)
    data = DataModule(source)
    assert data.dataset.input_count == plain.inputs.shape[1]
    word = slice(1, None)
    assert plain.inputs[row, word].any()
    assert not data.dataset.inputs[row, word].any()
    assert "rare" in data.encoder.columns[1].unseen
    train = data.row_indices("train")
    assert torch.equal(data.dataset.inputs[train], plain.inputs[train])
    stored = restore_encoder(data.state_dict()["encoder"])
    assert stored == data.encoder
    rows = pd.DataFrame({"size": [0.0, 0.0], "word": ["rare", "w0"]})
    assert not stored.transform(rows)[0, word].any()
    assert stored.transform(rows)[1, word].any()


def test_rows_of_the_caller_are_not_changed(tmp_path):
    source, row = write_rare(tmp_path, 40)
    dataset = source.load(0)
    before = dataset.inputs.clone()
    assert DataModule(dataset).dataset.inputs[row, 1] == 0
    assert torch.equal(dataset.inputs, before)


def test_data_without_unknown_categories_are_not_copied(tmp_path):
    dataset = write_rare(tmp_path, 3)[0].load(0)
    dataset.inputs[:, 1:] = torch.eye(4).repeat(50, 1)
    assert DataModule(dataset).dataset is dataset


def test_infinite_numbers_are_values_of_a_category(tmp_path):
    file = tmp_path / "a.parquet"
    rows = {"a": [1.0, np.inf, 2.5] * 20, "y": ["p", "q", "q"] * 20}
    pd.DataFrame(rows).to_parquet(file)
    assert Table(file, "y", categories=["a"]).load(0).input_names == ("a=1", "a=2.5", "a=inf")
