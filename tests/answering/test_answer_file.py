"""Answers are written as other programs read them, whole or not at all."""

import io
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brainnet.errors import InputError
from brainnet.inference.predict import _all_shares, infer_format, open_writer

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
NUMBERS = {"prediction": (RANDOM.standard_normal(ROWS) * 1e3).astype(np.float32)}


def written(form, *parts):
    file = io.BytesIO()
    writer = open_writer(file, form)
    for part in parts:
        writer.write(part)
    writer.close()
    return file.getvalue()


def halves(columns):
    return [{name: column[part] for name, column in columns.items()} for part in HALVES]


HALVES = (slice(0, 7_777), slice(7_777, None))


def test_csv_is_read_by_others_as_it_was_meant():
    text = written("csv", *halves(COLUMNS))
    found = pd.read_csv(io.BytesIO(text), keep_default_na=False)
    assert list(found.columns) == list(COLUMNS)
    assert (found["id, as given"] == COLUMNS["id, as given"]).all()
    assert (found["prediction"] == COLUMNS["prediction"]).all()
    expected = [f"{share:.6f}" for share in SHARES[:, 1].astype(np.float64)]
    as_text = pd.read_csv(io.BytesIO(text), dtype=str, keep_default_na=False)
    assert as_text["probability c, d"].tolist() == expected


def test_json_lines_are_read_by_others_as_they_were_meant():
    lines = written("jsonl", *halves(COLUMNS)).decode().splitlines()
    found = [json.loads(line) for line in lines]
    assert len(found) == ROWS
    assert list(found[0]) == list(COLUMNS)
    assert [row["prediction"] for row in found] == COLUMNS["prediction"].tolist()
    assert [row["id, as given"] for row in found] == list(range(ROWS))
    assert found[5]["probability c, d"] == pytest.approx(SHARES[5, 1], abs=5e-7)


def test_parquet_keeps_every_digit():
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    found = pd.read_parquet(io.BytesIO(written("parquet", *halves(COLUMNS))))
    for name, column in COLUMNS.items():
        assert (found[name].to_numpy() == column).all()
    assert found["probability c, d"].dtype == np.float32


def test_parquet_keeps_texts_with_gaps_and_without_any():
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    gaps = {"id": np.array([None, np.nan], dtype=object), "n": np.array([7, None], dtype=object)}
    more = {"id": np.array(["a", np.nan], dtype=object), "n": np.array([2**60 + 1, 9], np.int64)}
    found = pd.read_parquet(io.BytesIO(written("parquet", gaps, more)), dtype_backend="pyarrow")
    assert found["id"].fillna("").tolist() == ["", "", "a", ""]
    assert found["n"].fillna(-1).tolist() == [7, -1, 2**60 + 1, 9]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_numbers_in_a_text_are_the_shortest_that_are_read_as_the_same(form):
    text = written(form, *halves(NUMBERS))
    read = pd.read_csv if form == "csv" else lambda file: pd.read_json(file, lines=True)
    found = read(io.BytesIO(text))["prediction"].to_numpy()
    assert (found.astype(np.float32) == NUMBERS["prediction"]).all()


@pytest.mark.parametrize(
    ("form", "lines"),
    [
        ("csv", ["prediction,probability a,kept", ",,", "inf,1.000000,", "1.5,0.000000,w"]),
        (
            "jsonl",
            [
                '{"prediction": null, "probability a": null, "kept": null}',
                '{"prediction": null, "probability a": 1.000000, "kept": null}',
                '{"prediction": 1.5, "probability a": 0.000000, "kept": "w"}',
            ],
        ),
    ],
)
def test_what_is_no_number_is_left_empty(form, lines):
    columns = {
        "prediction": np.array([np.nan, np.inf, 1.5], np.float32),
        "probability a": np.array([np.nan, 1.0, 4e-7], np.float32),
        "kept": np.array([None, np.nan, "w"], dtype=object),
    }
    assert written(form, columns).decode().splitlines() == lines


def test_kept_columns_of_any_kind_are_written_as_they_read():
    columns = {
        "day": np.array(["2026-01-31", "NaT"], dtype="datetime64[ns]"),
        "yes": np.array([True, False]),
        "count": np.array([7, None], dtype=object),
        "wide": np.array([0.1, 1e300]),
    }
    assert written("csv", columns).decode().splitlines()[1:] == [
        "2026-01-31,True,7,0.1",
        ",False,,1e+300",
    ]
    assert [json.loads(line) for line in written("jsonl", columns).decode().splitlines()] == [
        {"day": "2026-01-31", "yes": True, "count": 7, "wide": 0.1},
        {"day": None, "yes": False, "count": None, "wide": 1e300},
    ]


def test_every_share_is_rounded_as_python_rounds():
    table = _all_shares()
    assert len(table) == 1_000_001
    for place in (0, 1, 9, 123_456, 999_999, 1_000_000):
        assert table[place].decode() == f"{place / 1e6:.6f}"


@pytest.mark.parametrize(
    ("path", "chosen", "form"),
    [
        (None, None, "csv"),
        ("a.CSV", None, "csv"),
        ("a.ndjson", None, "jsonl"),
        ("a.pq", None, "parquet"),
        ("a.out", "jsonl", "jsonl"),
    ],
)
def test_the_form_follows_from_the_ending(path, chosen, form):
    assert infer_format(None if path is None else Path(path), chosen) == form


def test_an_unknown_ending_or_form_is_told():
    with pytest.raises(InputError, match=r"end in \.csv, .* got a\.xlsx"):
        infer_format(Path("a.xlsx"), None)
    with pytest.raises(InputError, match=r"got parqet\. Did you mean parquet\?"):
        infer_format(None, "parqet")


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_one_long_text_does_not_widen_all_rows(form):
    texts = np.array([f"text {row}" for row in range(8192)], dtype=object)
    texts[5000] = "long" * 250_000
    tracemalloc.start()
    try:
        lines = written(form, {"note": texts, "prediction": np.arange(8192)}).decode().splitlines()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * 2**26  # and not 8192 times the longest
    rows = lines[1:] if form == "csv" else lines
    assert rows[4999:5002:2] == (
        ["text 4999,4999", "text 5001,5001"]
        if form == "csv"
        else [f'{{"note": "text {row}", "prediction": {row}}}' for row in (4999, 5001)]
    )
    assert len(rows) == 8192
    assert "long" * 250_000 in rows[5000]
