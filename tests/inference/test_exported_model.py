"""Exported modules and the code of docs/export.md encode columns as `TableEncoder` does."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from brainnet import fit, load
from brainnet.data.datamodule import DataModule
from brainnet.data.preprocessing import ColumnEncoder, TableEncoder
from brainnet.data.table import Table
from brainnet.data.table_files import open_table
from brainnet.inference.export import _describe_column, export
from brainnet.inference.exported_model import ExportedModel, list_raw_inputs
from brainnet.structure.network import Network


def encode(
    trained: Any, encoder: TableEncoder, rows: pd.DataFrame, page: dict[str, Any]
) -> np.ndarray:
    """What an exported module encodes of rows that docs/export.md prepares."""
    inputs = [raw.to_dict() for raw in list_raw_inputs(encoder)]
    cells = tuple(page["cells_for_torch"](column, rows[column["name"]]) for column in inputs)
    return ExportedModel(trained(encoder=encoder))._encode(cells).numpy()


def test_columns_are_encoded_as_by_the_encoder(trained: Any, mixed: Any, page: Any) -> None:
    rows, encoder = mixed.rows(100), mixed.without_dates
    np.testing.assert_array_equal(encode(trained, encoder, rows, page), encoder.transform(rows))


UNUSUAL = TableEncoder(
    (
        ColumnEncoder("size", "category", ("", "1", "2", "2.5")),
        ColumnEncoder("sold", "boolean", ("false", "true")),
        ColumnEncoder("paid", "boolean", ("no", "yes")),
    ),
    imputes=True,
)
DATES = (
    ColumnEncoder("born", "date", format="%d.%m.%Y"),
    ColumnEncoder("met", "date", format="ISO8601", has_time=True),
)
ROOMS = ("", "007", "12", "NA", "None")


def build_rows() -> pd.DataFrame:
    """A float category with gaps, German dates, dates with a time zone, booleans written True."""
    return pd.DataFrame(
        {
            "size": [1.0, 2.0, None, 2.5, 7.0],
            "born": ["26.08.2024", "01.02.1999", None, "31.12.2000", " 05.06.2007 "],
            "met": ["2024-08-26T01:30+02:00", "2024-01-01", "1999-12-31 23:59:58", None, None],
            "sold": [True, False, None, "TRUE", "false "],
            "paid": [True, False, True, False, True],
        }
    )


def test_unusual_cells_are_encoded_as_by_the_encoder(trained: Any, page: Any) -> None:
    rows = build_rows()
    encoded = encode(trained, UNUSUAL, rows, page)
    np.testing.assert_array_equal(encoded, UNUSUAL.transform(rows))


def test_the_documented_code_reads_files_as_brainnet_does(
    trained: Any, page: Any, tmp_path: Path
) -> None:
    file = tmp_path / "rows.csv"
    encoder = TableEncoder(
        (*UNUSUAL.columns, ColumnEncoder("room", "category", ROOMS)), imputes=True
    )
    sizes, rooms = ["1", " 2", "", "2.5", "7"], [*ROOMS[:-1], " None"]
    build_rows().assign(size=sizes, room=rooms, paid="Yes").to_csv(file, index=False)
    (frame,) = open_table(file).chunks(text=encoder.text_names)
    expected = encoder.transform(frame)
    inputs = [raw.to_dict() for raw in list_raw_inputs(encoder)]
    encoded = encode(trained, encoder, page["read_rows"](file, inputs), page)
    np.testing.assert_array_equal(encoded, expected)
    assert expected[:, -len(ROOMS) :].sum() == len(frame)


def test_the_documented_numpy_code_encodes_unusual_cells_and_dates(page: Any) -> None:
    rows, encoder = build_rows(), TableEncoder((*UNUSUAL.columns, *DATES), imputes=True)
    network = {"inputs": [_describe_column(column) for column in encoder.columns]}
    encoded = page["encode_rows"](network, rows.astype(object).to_dict("records"))
    np.testing.assert_allclose(encoded, encoder.transform(rows), rtol=1e-7)


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ((ColumnEncoder("a"), ColumnEncoder("b")), ["rows"]),
        ((ColumnEncoder("a"), ColumnEncoder("b", "boolean", ("no", "yes"))), ["a", "b"]),
    ],
)
def test_a_table_of_numbers_is_one_input(
    columns: tuple[ColumnEncoder, ...], names: list[str]
) -> None:
    assert [raw.name for raw in list_raw_inputs(TableEncoder(columns))] == names


@pytest.mark.slow
@pytest.mark.parametrize("others", [5, 40], ids=["inputs", "codes"])
def test_exported_networks_treat_categories_without_training_rows_as_unknown(
    tmp_path: Path, others: int
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"size": random.normal(0, 1, 200)})
    frame["word"] = np.resize([f"w{number}" for number in range(others)], 200)
    frame["word"] = frame["word"].astype(object)
    frame.loc[::2, "word"] = "w0"
    frame["answer"] = np.where(frame["size"] > 0, "yes", "no")
    frame.to_csv(tmp_path / "rows.csv", index=False)
    table = Table(tmp_path / "rows.csv", "answer")
    frame.loc[DataModule(table).row_indices("test")[0].item(), "word"] = "rare"
    frame.to_csv(tmp_path / "rows.csv", index=False)
    data = DataModule(table)
    network = Network([data.dataset.input_count, 4, 2], embeddings=data.encoder.embeddings or None)
    trained = load(fit(network, data, epochs=1, folder=tmp_path / "run", progress=False).folder)
    rows = pd.DataFrame({"size": [0.0, 0.5], "word": ["rare", "w0"]})
    unknown = rows.replace({"word": {"rare": "no such word"}})
    assert torch.equal(trained.compute_outputs(rows), trained.compute_outputs(unknown))
    export(trained, "onnx", tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    feed = {"size": rows["size"].to_numpy("float32"), "word": rows["word"].to_numpy(object)}
    shares = session.run(None, feed)[2]
    np.testing.assert_allclose(shares, trained.compute_probabilities(rows).numpy(), atol=1e-5)
    export(trained, "json", tmp_path / "net.json")
    inputs = json.loads((tmp_path / "net.json").read_text())["inputs"]
    words = next(column["values"] for column in inputs if column["name"] == "word")
    assert "rare" not in words
    assert None in words
