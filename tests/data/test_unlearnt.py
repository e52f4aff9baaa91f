"""Words that no training row has count as never seen, in the rows and in what is stored."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from brainnet import fit, load
from brainnet.data.datamodule import DataModule
from brainnet.data.dataset import restore_encoder
from brainnet.data.table import Table
from brainnet.inference.export import export
from brainnet.structure.network import Network


def rare_rows(folder, others):
    """A table with a word that falls to the test alone, whatever the seed makes of the rest."""
    random = np.random.default_rng(0)
    words = np.resize([f"w{number}" for number in range(others)], 200).astype(object)
    words[::2] = "w0"
    frame = pd.DataFrame({"size": random.normal(0, 1, 200), "word": words})
    frame["answer"] = np.where(frame["size"] > 0, "yes", "no")
    frame.to_csv(folder / "rows.csv", index=False)
    test = DataModule(Table(folder / "rows.csv", "answer")).numbers("test")[0].item()
    frame.loc[test, "word"] = "rare"
    frame.to_csv(folder / "rows.csv", index=False)
    return Table(folder / "rows.csv", "answer"), test


@pytest.mark.parametrize("others", [5, 40], ids=["inputs", "codes"])
def test_a_word_without_a_training_row_counts_as_never_seen(tmp_path, others):
    source, number = rare_rows(tmp_path, others)
    plain = source.load(0)
    data = DataModule(source)
    assert data.inputs == plain.inputs.shape[1]
    word = slice(1, None)
    assert plain.inputs[number, word].any()
    assert not data.dataset.inputs[number, word].any()
    column = data.preparation.columns[1]
    assert "rare" in column.unlearnt
    taught = data.numbers("train")
    assert torch.equal(data.dataset.inputs[taught], plain.inputs[taught])
    stored = restore_encoder(data.state_dict()["preparation"])
    assert stored == data.preparation
    rows = pd.DataFrame({"size": [0.0, 0.0], "word": ["rare", "w0"]})
    assert not stored.apply(rows)[0, word].any()
    assert stored.apply(rows)[1, word].any()


def test_rows_that_somebody_else_holds_stay_as_they_are(tmp_path):
    source, number = rare_rows(tmp_path, 40)
    held = source.load(0)
    before = held.inputs.clone()
    data = DataModule(held)
    assert data.dataset.inputs[number, 1] == 0
    assert torch.equal(held.inputs, before)


def test_where_all_words_are_learnt_the_data_are_the_very_same(tmp_path):
    held = rare_rows(tmp_path, 3)[0].load(0)
    held.inputs[:, 1:] = torch.eye(4).repeat(50, 1)
    assert DataModule(held).dataset is held


@pytest.mark.parametrize("others", [5, 40], ids=["inputs", "codes"])
def test_an_exported_network_answers_such_a_word_as_the_run_does(tmp_path, others):
    onnxruntime = pytest.importorskip("onnxruntime")
    source, _ = rare_rows(tmp_path, others)
    data = DataModule(source)
    network = Network([data.inputs, 4, 2], embeddings=data.preparation.embedded or None)
    trained = load(fit(network, data, epochs=1, folder=tmp_path / "run", progress=False).folder)
    rows = pd.DataFrame({"size": [0.0, 0.5], "word": ["rare", "w0"]})
    never = rows.replace({"word": {"rare": "no such word"}})
    assert torch.equal(trained.outputs(rows), trained.outputs(never))
    export(trained, "onnx", tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    feed = {"size": rows["size"].to_numpy("float32"), "word": rows["word"].to_numpy(object)}
    shares = session.run(None, feed)[2]
    np.testing.assert_allclose(shares, trained.probabilities(rows).numpy(), atol=1e-5)
    export(trained, "json", tmp_path / "net.json")
    told = json.loads((tmp_path / "net.json").read_text())
    words = next(each["values"] for each in told["inputs"] if each["name"] == "word")
    assert "rare" not in words
    assert None in words
