"""Tests of predictions in batches and of their files."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brainnet.errors import InputError
from brainnet.inference.predict import (
    PredictionWriter,
    check_kept_columns,
    infer_format,
    write_predictions,
)

ROWS = 20_000
RANDOM = np.random.default_rng(0)
SHARES = RANDOM.random((ROWS, 2)).astype(np.float32)
NAMES = np.array(['a "b"', "c, d", "naïve", "", "x\ny", " z "], dtype=object)
COLUMNS = {
    "id, as given": np.arange(ROWS),
    "prediction": NAMES[RANDOM.integers(0, len(NAMES), ROWS)],
    'probability a "b"': SHARES[:, 0],
    "probability c, d": SHARES[:, 1],
}


def write(form, *parts):
    file = io.BytesIO()
    writer = PredictionWriter(file, form)
    for part in parts:
        writer.write(part)
    writer.close()
    return file.getvalue()


def split_batches(columns):
    return [{name: column[part] for name, column in columns.items()} for part in HALVES]


HALVES = (slice(0, 7_777), slice(7_777, None))


def test_csv_is_read_by_pandas():
    text = write("csv", *split_batches(COLUMNS))
    found = pd.read_csv(io.BytesIO(text), keep_default_na=False)
    assert list(found.columns) == list(COLUMNS)
    assert (found["id, as given"] == COLUMNS["id, as given"]).all()
    assert (found["prediction"] == COLUMNS["prediction"]).all()
    expected = SHARES[:, 1].astype(np.float64).round(6)
    assert found["probability c, d"].tolist() == expected.tolist()


def test_json_lines_are_read_by_json():
    lines = write("jsonl", *split_batches(COLUMNS)).decode().splitlines()
    found = [json.loads(line) for line in lines]
    assert len(found) == ROWS
    assert list(found[0]) == list(COLUMNS)
    assert [row["prediction"] for row in found] == COLUMNS["prediction"].tolist()
    assert [row["id, as given"] for row in found] == list(range(ROWS))
    assert found[5]["probability c, d"] == pytest.approx(SHARES[5, 1], abs=5e-7)


def test_parquet_keeps_all_digits():
    found = pd.read_parquet(io.BytesIO(write("parquet", *split_batches(COLUMNS))))
    for name, column in COLUMNS.items():
        assert (found[name].to_numpy() == column).all()
    assert found["probability c, d"].dtype == np.float32


def test_parquet_keeps_missing_values():
    gaps = {"id": np.array([None, np.nan], dtype=object), "n": np.array([7, None], dtype=object)}
    more = {"id": np.array(["a", np.nan], dtype=object), "n": np.array([2**60 + 1, 9], np.int64)}
    found = pd.read_parquet(io.BytesIO(write("parquet", gaps, more)), dtype_backend="pyarrow")
    assert found["id"].fillna("").tolist() == ["", "", "a", ""]
    assert found["n"].fillna(-1).tolist() == [7, -1, 2**60 + 1, 9]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_in_text_are_exact(form, dtype):
    exponents = 10.0 ** RANDOM.integers(-30, 30, ROWS)
    numbers = (RANDOM.standard_normal(ROWS) * exponents).astype(dtype)
    lines = write(form, *split_batches({"prediction": numbers})).decode().splitlines()
    texts = lines[1:] if form == "csv" else [json.loads(line)["prediction"] for line in lines]
    assert (np.array(texts, dtype) == numbers).all()


@pytest.mark.parametrize(
    ("form", "lines"),
    [
        ("csv", ["prediction,probability a,kept", ",,", "inf,1,", "1.5,0,w"]),
        (
            "jsonl",
            [
                '{"prediction": null, "probability a": null, "kept": null}',
                '{"prediction": null, "probability a": 1, "kept": null}',
                '{"prediction": 1.5, "probability a": 0, "kept": "w"}',
            ],
        ),
    ],
)
def test_missing_values_are_empty(form, lines):
    columns = {
        "prediction": np.array([np.nan, np.inf, 1.5], np.float32),
        "probability a": np.array([np.nan, 1.0, 4e-7], np.float32),
        "kept": np.array([None, np.nan, "w"], dtype=object),
    }
    assert write(form, columns).decode().splitlines() == lines


def test_kept_columns_of_any_type_are_written():
    columns = {
        "day": np.array(["2026-01-31", "NaT"], dtype="datetime64[ns]"),
        "yes": np.array([True, False]),
        "count": np.array([7, None], dtype=object),
        "wide": np.array([0.1, 1e300]),
    }
    assert write("csv", columns).decode().splitlines()[1:] == [
        "2026-01-31,true,7,0.1",
        ",false,,1e+300",
    ]
    assert [json.loads(line) for line in write("jsonl", columns).decode().splitlines()] == [
        {"day": "2026-01-31", "yes": True, "count": 7, "wide": 0.1},
        {"day": None, "yes": False, "count": None, "wide": 1e300},
    ]


@pytest.mark.parametrize(
    ("path", "form"),
    [(None, "csv"), ("a.CSV", "csv"), ("a.ndjson", "jsonl"), ("a.pq", "parquet")],
)
def test_format_is_inferred_from_the_suffix(path, form):
    assert infer_format(None if path is None else Path(path)) == form


def test_unknown_suffix_is_rejected():
    with pytest.raises(InputError, match=r"end in \.csv, .* got a\.xlsx"):
        infer_format(Path("a.xlsx"))


def test_kept_columns_are_checked():
    check_kept_columns(["id"], ["id", "a"])
    for keep, said in (
        (["Id"], "no column 'Id'"),
        (["id", "id"], "twice"),
        (["prediction"], "is the name of a predicted column"),
        (["probability x"], "is the name of a predicted column"),
    ):
        with pytest.raises(InputError, match=said):
            check_kept_columns(keep, ["id", "prediction", "probability x"])


class FakeWriter:
    def __init__(self, fails=False):
        self.parts, self.closed, self.fails = [], False, fails

    def write(self, columns):
        if self.fails:
            raise OSError("disk full")
        self.parts.append(columns["a"])

    def close(self):
        self.closed = True


def test_predictions_are_written_in_order():
    writer = FakeWriter()
    parts = [{"a": [number] * (number + 1)} for number in range(20)]
    assert write_predictions(iter(parts), writer) == sum(range(1, 21))
    assert writer.parts == [part["a"] for part in parts]
    assert writer.closed


def test_write_error_is_raised():
    writer = FakeWriter(fails=True)
    with pytest.raises(OSError, match="disk full"):
        write_predictions(iter([{"a": [1]}] * 5), writer)
    assert writer.closed


def test_text_is_quoted_only_if_needed():
    plain, special = {"a": np.array(["x", "y"])}, {"a": np.array(["x", 'y"z'])}
    assert write("csv", plain).decode() == "a\nx\ny\n"
    assert write("csv", plain, special).decode() == 'a\nx\ny\n"x"\n"y""z"\n'
    assert write("csv", {"a,b": np.array([1, 2])}).decode() == '"a,b"\n1\n2\n'
