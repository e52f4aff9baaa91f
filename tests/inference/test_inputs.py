"""Rows in any form, rows of files and images are prepared as the training rows were."""

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from brainnet.data.image_files import ImageEncoder
from brainnet.data.preprocessing import ColumnEncoder, TableEncoder
from brainnet.data.table import Table
from brainnet.data.table_files import open_table
from brainnet.errors import InputError
from brainnet.inference.inputs import (
    as_single_row,
    build_frame,
    choose_table_batch_rows,
    count_unknown_categories,
    encode_rows,
    read_image,
    read_image_batches,
    read_row,
    read_table_batches,
    warn_unknown_categories,
)
from brainnet.learning.predictions import BATCH_ROWS

TABLE = [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    "rows",
    [
        TABLE,
        np.array(TABLE),
        torch.tensor(TABLE, requires_grad=True),
        {"b": [2.0, 4.0], "a": [1.0, 3.0], "more": ["x", "y"]},
        {"b": torch.tensor([2.0, 4.0]), "a": np.array([1.0, 3.0])},
        [{"b": 2.0, "a": 1.0}, {"a": 3.0, "b": 4.0}],
        pd.DataFrame({"more": [0, 0], "b": [2.0, 4.0], "a": [1.0, 3.0]}),
    ],
    ids=["list", "array", "tensor", "columns", "mixed", "records", "frame"],
)
def test_columns_are_matched_by_name_and_arrays_by_position(rows):
    frame = build_frame(rows, ["a", "b"])
    assert list(frame.columns) == ["a", "b"]
    assert frame.to_numpy().tolist() == TABLE


def test_columns_with_numbers_as_names_are_matched():
    frame = build_frame(pd.DataFrame(TABLE, columns=[1, 0]), ["0", "1"])
    assert frame.to_numpy().tolist() == [[2.0, 1.0], [4.0, 3.0]]


def test_rows_for_a_run_on_arrays_are_matched_by_position():
    frame = build_frame(pd.DataFrame(TABLE, columns=["x", "y"]), ["input_0", "input_1"])
    assert frame.to_numpy().tolist() == TABLE
    with pytest.raises(InputError, match="lack the columns input_0, input_1 of the training data"):
        build_frame(pd.DataFrame(TABLE, columns=["x", "y"])[["x"]], ["input_0", "input_1"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"a": [1]}, "lack the column b of the training data; they have a"),
        ([1.0, 2.0], r"\[row\]"),
        (3.0, r"got \(\)"),
        ([[1.0], [2.0, 3.0]], "must be a table of 2 columns of the same length; got list"),
        ({"a": [1, 2], "b": [1]}, "columns of the same length; got dict"),
        ({"a": [[1], [1, 2]], "b": [1, 2]}, "columns of the same length"),
        ([{"a": 1, "b": 2}, 3], "must be a table of 2 columns"),
        (pd.DataFrame([[1, 2, 3]], columns=["a", "b", "b"]), "several columns called 'b'"),
        (
            pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 0), ("b", 0)])),
            "lack the columns a, b of the training data; they have",
        ),
        (pd.DataFrame({"a": [1.0], "b": ["x"]}).iloc[0], r"frame\.iloc\[\[0\]\]"),
        ("rows.csv", r"got str\. Read a file with pandas\.read_csv"),
        (Path("rows.csv"), r"brainnet predict RUN --input FILE"),
    ],
)
def test_other_forms_of_rows_are_rejected(rows, message):
    with pytest.raises(InputError, match=message):
        build_frame(rows, ["a", "b"])


def test_missing_numbers_are_rejected_by_column_and_row():
    encoder = TableEncoder((ColumnEncoder("c", "category", ("x", "y")), ColumnEncoder("n")))
    frame = pd.DataFrame({"c": ["x", "y", "y"], "n": [5, None, None]}, index=[10, 11, 12])
    assert encode_rows(frame[:1], encoder).tolist() == [[1, 0, 5]]
    with pytest.raises(InputError, match=r"column 'n' is empty in row 11, and 2 of 3 rows"):
        encode_rows(frame, encoder)
    imputing = replace(encoder, imputes=True)
    assert encode_rows(frame, imputing)[:, 2].isnan().tolist() == [False, True, True]


def test_rows_with_unknown_categories_are_counted_and_reported(caplog):
    many = tuple(map(str, range(40)))
    encoder = TableEncoder(
        (
            ColumnEncoder("n"),
            ColumnEncoder("few", "category", ("x", "y")),
            ColumnEncoder("many", "category", many),
        )
    )
    inputs = torch.tensor([[0.0, 1, 0, 3], [0, 0, 0, 0], [5, 0, 1, 0], [5, 0, 0, 40]])
    counts = count_unknown_categories(encoder, inputs)
    assert counts == {"few": 2, "many": 2}
    warn_unknown_categories(counts)
    assert "column 'few': 2 rows with categories not seen in training" in caplog.text
    caplog.clear()
    warn_unknown_categories(count_unknown_categories(encoder, inputs[:1]))
    assert not caplog.text


@pytest.mark.parametrize(
    ("columns", "rows"),
    [(1, 8 * BATCH_ROWS), (64, 8 * BATCH_ROWS), (300, BATCH_ROWS), (10**5, 41), (10**9, 1)],
)
def test_batches_of_tables_are_whole_and_fit_into_memory(columns, rows):
    assert choose_table_batch_rows(columns) == rows


def test_columns_of_files_have_the_names_of_training_and_kept_ones_stay_as_written(tmp_path):
    (tmp_path / "rows.csv").write_text("7,1.50,007\n8,2.50,008\n")
    file = open_table(tmp_path / "rows.csv", header=False)
    ((kept, rows),) = read_table_batches(TableEncoder.from_names(["age", "size"]), file, keep=["2"])
    assert rows.to_dict("list") == {"age": [7, 8], "size": [1.5, 2.5]}
    assert kept["2"].tolist() == ["007", "008"]


def read_file(encoder, file, keep=()):
    """The inputs of a file, and its batches."""
    batches = list(read_table_batches(encoder, open_table(file), keep=keep))
    return np.concatenate([encoder.transform(rows) for _, rows in batches]), batches


@pytest.fixture
def german(tmp_path):
    """The encoder of rows with decimal commas, and their file."""
    lines = [
        f"{row % 7},25;{1 + row % 9}.{row:03}{',50' * (row % 7 == 0)};{'ab'[row % 2]}"
        for row in range(60)
    ]
    file = tmp_path / "german.csv"
    file.write_text("\n".join(["x;big;y", *lines]))
    return Table(file, "y").load(0).encoder, file


def test_kept_columns_are_encoded_as_others(german):
    encoder, file = german
    alone, _ = read_file(encoder, file)
    kept, batches = read_file(encoder, file, keep=["big"])
    assert (alone == kept).all()
    assert batches[0][0]["big"][:2].tolist() == ["1.000,50", "2.001"]


def test_ambiguous_numbers_are_read_as_in_training(german, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("x;big\n1;5.108\n2;7.375\n")
    assert read_file(german[0], other)[0].tolist() == [[1, 5108], [2, 7375]]


def test_files_that_prove_their_decimal_separator_are_read_with_it(german, tmp_path):
    other = tmp_path / "points.csv"
    other.write_text("x;big\n1.25;5108.5\n2.5;7.375\n")
    for keep in ([], ["big"]):
        assert read_file(german[0], other, keep)[0].tolist() == [[1.25, 5108.5], [2.5, 7.375]]


@pytest.fixture
def rows_file(tmp_path):
    path = tmp_path / "rows.csv"
    pd.DataFrame({"age": range(70_000), "size": 2, "grade": "01"}).to_csv(path, index=False)
    return path


AGE_AND_SIZE = TableEncoder.from_names(["age", "size"])


@pytest.mark.parametrize("number", [0, 65_535, 65_536, 69_999])
def test_a_row_of_a_file_is_read_by_its_number(rows_file, number):
    row = read_row(rows_file, number, AGE_AND_SIZE, ["grade"])
    assert row["age"].tolist() == [number]
    assert row["grade"].tolist() == ["01"]


def test_a_row_that_does_not_exist_is_rejected(rows_file):
    for number in (70_000, -1):
        with pytest.raises(InputError, match=f"has rows 0 to 69,999; got {number}"):
            read_row(rows_file, number, AGE_AND_SIZE)


def test_rows_without_a_header_are_matched_by_position(tmp_path):
    (tmp_path / "rows.csv").write_text("7,1.5\n8,2.5\n")
    with pytest.raises(InputError, match=r"data\.header=false"):
        read_row(tmp_path / "rows.csv", 1, AGE_AND_SIZE)
    row = read_row(tmp_path / "rows.csv", 1, AGE_AND_SIZE, ["grade"], header=False)
    assert row.to_dict("list") == {"age": [8], "size": [2.5]}
    (tmp_path / "named.csv").write_text("a,b\n7,1.5\n8,2.5\n")
    numbered = TableEncoder.from_names(["input_0", "input_1"])
    row = read_row(tmp_path / "named.csv", 0, numbered)
    assert row.to_dict("list") == {"input_0": [7], "input_1": [1.5]}


def test_plain_values_become_a_table_of_one_row():
    assert as_single_row([1.0, 2.0]) == [[1.0, 2.0]]
    assert as_single_row([[1.0, 2.0]]) == [[1.0, 2.0]]
    assert np.shape(as_single_row(np.zeros(3))) == (1, 3)
    assert as_single_row(torch.zeros(3))[0].shape == (3,)
    assert as_single_row({"age": 1.0}) == {"age": 1.0}
    series = pd.Series([1.0, 2.0], index=["age", "size"])
    assert as_single_row(series).columns.tolist() == ["age", "size"]
    assert as_single_row([1, "red"])[0].tolist() == [1, "red"]


ENCODER = ImageEncoder(2, 2)


def read_images_of(source):
    parts = list(read_image_batches(ENCODER, source))
    names = [name for kept, _ in parts for name in kept.get("file", [])]
    return names, np.concatenate([rows for _, rows in parts]).tolist()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    Image.new("L", (2, 2), 7).save(tmp_path / "in" / "b.png")
    Image.new("L", (4, 4), 9).save(tmp_path / "in" / "deep" / "a.png")
    return tmp_path / "in"


def test_folders_are_read_in_order_at_the_size_of_training(folder):
    assert read_images_of(folder) == (["b.png", "deep/a.png"], [[7] * 4, [9] * 4])


def test_a_single_image_is_a_row(folder):
    assert read_images_of(folder / "b.png") == (["b.png"], [[7] * 4])


def test_arrays_of_images_are_read(tmp_path):
    images = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    np.save(tmp_path / "a.npy", images)
    np.savez(tmp_path / "a.npz", other=np.zeros(3), images=images)
    np.savez(tmp_path / "b.npz", y_test=np.zeros(3), x_test=images)
    head = b"\0\0\x08\x03" + np.array([3, 2, 2], ">u4").tobytes()
    with gzip.open(tmp_path / "t10k-images-idx3-ubyte.gz", "wb") as file:
        file.write(head + images.tobytes())
    for name in ("a.npy", "a.npz", "b.npz", "t10k-images-idx3-ubyte.gz"):
        assert read_images_of(tmp_path / name) == ([], images.reshape(3, 4).tolist())


def test_an_image_is_chosen_by_its_number(folder, tmp_path):
    images = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    np.save(tmp_path / "a.npy", images)
    np.savez(tmp_path / "a.npz", images=images / 255)
    (tmp_path / "a-ubyte").write_bytes(
        b"\0\0\x08\x03" + np.array([3, 2, 2], ">u4").tobytes() + images.tobytes()
    )
    for name in ("a.npy", "a.npz", "a-ubyte"):
        row, file, number = read_image(ENCODER, tmp_path / name, 2)
        assert (row.tolist(), file, number) == ([[8, 9, 10, 11]], tmp_path / name, 2)
        with pytest.raises(InputError, match=rf"{name} has images 0 to 2; got 3"):
            read_image(ENCODER, tmp_path / name, 3)
    deep = folder / "deep" / "a.png"
    for source, wanted in ((folder, 1), (deep, None), (deep, 0)):
        row, file, number = read_image(ENCODER, source, wanted)
        assert (row.tolist(), file, number) == ([[9] * 4], deep, None)
    for wanted, message in (
        (None, "contains several images"),
        (2, "0 to 1; got 2"),
        (-1, "got -1"),
    ):
        with pytest.raises(InputError, match=message):
            read_image(ENCODER, folder, wanted)
    with pytest.raises(InputError, match=r"a\.png has images 0 to 0; got 1"):
        read_image(ENCODER, deep, 1)


def test_an_image_is_found_in_any_batch(tmp_path, monkeypatch):
    monkeypatch.setattr("brainnet.inference.inputs.choose_batch_rows", lambda cells: 2)
    images = np.arange(20, dtype=np.uint8).reshape(5, 2, 2)
    np.save(tmp_path / "a.npy", images)
    found = [read_image(ENCODER, tmp_path / "a.npy", number)[0][0].tolist() for number in range(5)]
    assert found == images.reshape(5, 4).tolist()


def test_files_that_are_no_images_are_rejected(folder, tmp_path):
    (folder / "deep" / "broken.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"cannot read .*broken\.png \(.*\)"):
        read_images_of(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="contains no files"):
        read_images_of(tmp_path / "empty")
    np.savez(tmp_path / "odd.npz", numbers=np.zeros(3))
    with pytest.raises(InputError, match="contains numbers, and none of them"):
        read_images_of(tmp_path / "odd.npz")
    (tmp_path / "bad.npy").write_bytes(b"rubbish")
    with pytest.raises(InputError, match="cannot be read as a NumPy file"):
        read_images_of(tmp_path / "bad.npy")
    np.savez_compressed(tmp_path / "damaged.npz", images=np.zeros((9, 99, 99)))
    content = bytearray((tmp_path / "damaged.npz").read_bytes())
    content[100:160] = b"?" * 60
    (tmp_path / "damaged.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"damaged\.npz cannot be read as a NumPy file"):
        read_images_of(tmp_path / "damaged.npz")
    np.save(tmp_path / "none.npy", np.zeros((0, 2, 2), np.uint8))
    with pytest.raises(InputError, match="contains no images"):
        read_images_of(tmp_path / "none.npy")


def test_fractions_become_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr("brainnet.inference.inputs.choose_batch_rows", lambda cells: 1)
    images = np.array([[[0, 1], [1, 0]], [[0, 200], [7, 255]]], np.float32)
    np.save(tmp_path / "a.npy", images / 255)
    assert read_images_of(tmp_path / "a.npy")[1] == [[0, 1, 1, 0], [0, 200, 7, 255]]
    np.save(tmp_path / "a.npy", images)
    with pytest.raises(InputError, match=r"from 0 to 255\. .* with \.astype\(\"uint8\"\)"):
        read_images_of(tmp_path / "a.npy")


def test_damaged_images_can_be_skipped(folder, caplog):
    (folder / "a.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"a\.png.* --broken skip"):
        read_images_of(folder)
    parts = list(read_image_batches(ENCODER, folder, skip=True))
    assert [name for kept, _ in parts for name in kept["file"]] == ["b.png", "deep/a.png"]
    assert [row[0] for _, rows in parts for row in rows] == [7, 9]
    assert "a.png" in caplog.text
