"""Tests of `brainnet export`."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch

from brainnet import load
from brainnet.cli.main import main
from brainnet.data.datasets import Iris
from brainnet.inference import export as module

PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
ROWS = Iris().load(0).inputs.numpy()


def refused(capsys, *words):
    assert main(["export", *words]) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


def test_json_is_written_to_the_run(capsys, run):
    assert main(["export", "latest", "--to", "json"]) == 0
    assert "exported to" in capsys.readouterr().err
    network = json.loads((run / "network.json").read_text(encoding="utf-8"))
    assert network["class_names"] == ["setosa", "versicolor", "virginica"]
    assert [each["name"] for each in network["inputs"]] == list(load(run).encoder.names)
    assert network["run"] == run.name
    assert "exists. Choose another" in refused(capsys, "latest", "--to", "json")
    assert main(["export", "latest", "--to", "json", "--overwrite"]) == 0


@pytest.mark.slow
def test_onnx_predicts_like_predict(run):
    assert main(["export", str(run), "--to", "onnx", "--output", "iris.onnx"]) == 0
    session = onnxruntime.InferenceSession("iris.onnx", providers=["CPUExecutionProvider"])
    _, name, shares = session.run(None, {"rows": ROWS})
    expected = load(run).predict(ROWS)
    assert list(name) == list(expected["prediction"])
    np.testing.assert_allclose(shares, expected.iloc[:, 1:], rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # of torch.export itself
def test_torch_program_predicts_like_predict(run):
    assert main(["export", "latest", "--to", "torch", "--output", "iris.pt2"]) == 0
    index, shares = torch.export.load("iris.pt2").module()(torch.from_numpy(ROWS))
    expected = load(run).predict(ROWS)
    names = np.array(load(run).class_names)[index.numpy()]
    assert list(names) == list(expected["prediction"])
    np.testing.assert_allclose(shares, expected.iloc[:, 1:], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_table_with_all_column_types_predicts_like_predict(empty_folder):
    random, count = np.random.default_rng(0), 600
    frame = pd.DataFrame(
        {
            "price": random.normal(100, 20, count),
            "town": random.choice([f"town {number}" for number in range(50)], count),
            "colour": random.choice(["red", "blue"], count),
            "sold": random.choice(["yes", "no"], count),
        }
    )
    frame["size"] = random.choice([1.0, 2.0, 3.0, np.nan], count)
    frame["paid"] = random.random(count) > 0.5  # written True and False
    frame["kind"] = np.where(frame["price"] > 100, "dear", "cheap")
    frame.loc[::7, "price"] = np.nan
    frame.to_csv("mine.csv", index=False)
    data = ("data=table", "data.path=mine.csv", "data.target=kind", "data.missing=impute")
    data += ("data.categories=[size]",)
    assert main(["train", *data, "network.hidden=[4]", "trainer.max_epochs=1", "trainer=cpu"]) == 0
    assert main(["export", "latest", "--to", "onnx", "--output", "mine.onnx"]) == 0
    session = onnxruntime.InferenceSession("mine.onnx", providers=["CPUExecutionProvider"])
    by_page, run = {}, load("latest")
    for block in re.findall(r"<!-- (?:words|onnx) -->\n```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, by_page)
    columns = json.loads(session.get_modelmeta().custom_metadata_map["inputs"])
    assert main(["predict", "latest", "--input", "mine.csv", "--output", "answers.csv"]) == 0
    expected = pd.read_csv("answers.csv")
    for rows in (frame, by_page["read_rows"]("mine.csv", columns)):
        _, name, shares = by_page["predict_onnx"](session, rows)
        assert list(name) == list(expected["prediction"])
        np.testing.assert_allclose(shares, expected.iloc[:, 1:], rtol=0, atol=1e-5)
    assert run.network.embeddings.codes == {1: 51}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # of torch.export itself
def test_examples_of_the_export_page_run(capsys, run):
    for form, ending in (("torch", "pt2"), ("json", "json")):
        assert main(["export", "latest", "--to", form, "--output", f"iris.{ending}"]) == 0
    namespace = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, namespace)
    predictions = load(run).predict([[5.1, 3.5, 1.4, 0.2]])
    assert capsys.readouterr().out.split() == list(predictions["prediction"])
    expected = predictions.iloc[:, 1:].to_numpy()
    np.testing.assert_allclose(namespace["probabilities"], expected, rtol=0, atol=1e-5)
    assert "brainnet.json" in namespace["files"]


def test_invalid_arguments_are_rejected(capsys, run, monkeypatch):
    before = sorted(Path().rglob("*"))
    assert "required: --to" in refused(capsys, "latest")
    assert "required: RUN" in refused(capsys, "--to", "onnx")
    assert "choose from" in refused(capsys, "latest", "--to", "onxx")
    assert "Did you mean --output?" in refused(capsys, "latest", "--to", "json", "--ouput", "x")
    assert "there is no run" in refused(capsys, "nowhere", "--to", "json")
    assert "existing folder" in refused(
        capsys, "latest", "--to", "json", "--output", "no/where.json"
    )
    message = refused(capsys, "latest", "--to", "json", "optimizer.lr=3")
    assert "export uses the network as it was trained: optimizer.lr cannot be set" in message
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert 'pip install "brainnet[onnx]"' in refused(capsys, "latest", "--to", "onnx")
    assert sorted(Path().rglob("*")) == before


def test_help_imports_no_torch():
    program = (
        "import sys\nfrom brainnet.cli.main import main\n"
        "assert main(['export', '--help']) == 0\nprint('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "--to onnx" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"
