"""Exported files are written completely, and their predictions equal those of brainnet."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from brainnet.data.image_files import ImageEncoder
from brainnet.errors import InputError
from brainnet.inference.export import (
    DESCRIPTION_FILE,
    ExportFormat,
    describe_export,
    export,
    to_json,
    to_torch,
)
from brainnet.inference.exported_model import ExportedModel
from brainnet.inference.trained_model import TrainedModel
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.activation_registry import ACTIVATIONS
from brainnet.structure.network import Network

Make = Callable[..., TrainedModel]
Numbers = Callable[..., np.ndarray]

SCRIPT = """
import json, sys
sys.modules["brainnet"] = None                       # importing it would fail
import numpy, torch
files = {"brainnet.json": ""}
program = torch.export.load(sys.argv[1], extra_files=files).module()
rows = torch.from_numpy(numpy.load(sys.argv[2]))
prediction, shares = program(rows)
assert [len(program(rows[:n])[0]) for n in (0, 1, 5)] == [0, 1, 5]
numpy.savez(
    sys.argv[3],
    prediction=prediction,
    shares=shares.numpy(),
    description=files["brainnet.json"],
)
"""


def test_files_are_written_to_the_run_folder_or_a_given_path(trained: Make, tmp_path: Path) -> None:
    run = trained()
    first = export(run, "json")
    assert first == run.run.folder.path / "network.json"
    second = export(run, "json", tmp_path / "mine.json")
    assert second.read_bytes() == first.read_bytes()
    assert list(tmp_path.glob("**/*.part")) == []


def test_existing_files_are_replaced_only_if_asked(trained: Make, tmp_path: Path) -> None:
    run, file = trained(), tmp_path / "mine.json"
    file.write_text("precious")
    with pytest.raises(InputError, match=r"mine\.json exists.*--overwrite"):
        export(run, "json", file)
    assert file.read_text() == "precious"
    export(run, "json", file, overwrite=True)
    assert file.read_text().startswith("{")


def test_nothing_is_written_after_an_error(trained: Make, tmp_path: Path) -> None:
    run = trained()
    with pytest.raises(InputError, match=r"a file in an existing folder; got .*nowhere"):
        export(run, "json", tmp_path / "nowhere" / "network.json")
    with pytest.raises(InputError, match="must be a file"):
        export(run, "json", tmp_path)
    with pytest.raises(InputError, match=r"onnx, torch, json; got 'onx'.*Did you mean onnx"):
        export(run, "onx")  # type: ignore[arg-type]
    assert {path.name for path in tmp_path.iterdir()} == {run.run.folder.path.name}


def build_file(trained: TrainedModel) -> bytes:
    model = ExportedModel(trained)
    return to_torch(model, describe_export(model))


@pytest.mark.slow
def test_torch_files_run_without_brainnet(trained: Make, numbers: Numbers, tmp_path: Path) -> None:
    run, rows = trained(), numbers(100)
    content = build_file(run)
    (tmp_path / "network.pt2").write_bytes(content)
    np.save(tmp_path / "rows.npy", rows)
    names = [str(tmp_path / name) for name in ("network.pt2", "rows.npy", "outputs.npz")]
    command = [sys.executable, "-c", SCRIPT, *names]
    subprocess.run(command, check=True, cwd=tmp_path, env={"OMP_NUM_THREADS": "1"})
    outputs = np.load(tmp_path / "outputs.npz")
    predicted = run.predict(rows)
    names = [run.class_names[index] for index in outputs["prediction"]]
    assert names == list(predicted["prediction"])
    expected = predicted.filter(like="probability").to_numpy()
    np.testing.assert_allclose(outputs["shares"], expected, rtol=0, atol=1e-5)
    assert json.loads(str(outputs["description"]))["class_names"] == list(run.class_names)
    assert str(Path(__file__).parents[2]).encode() not in content


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # of torch.export itself
def test_torch_files_take_categories_as_codes(
    trained: Make, mixed: Any, page: dict[str, Any], tmp_path: Path
) -> None:
    run, rows = trained(encoder=mixed.without_dates), mixed.rows(200)
    (tmp_path / "network.pt2").write_bytes(build_file(run))
    files = {DESCRIPTION_FILE: ""}
    program = torch.export.load(tmp_path / "network.pt2", extra_files=files)
    _, shares = page["predict_torch"](program, files, rows)
    expected = run.predict(rows).filter(like="probability").to_numpy()
    np.testing.assert_allclose(shares, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("format", ["onnx", "torch"])
def test_dates_are_rejected_in_exported_graphs(
    trained: Make, mixed: Any, tmp_path: Path, format: ExportFormat
) -> None:
    run = trained(encoder=mixed.encoder)
    with pytest.raises(InputError, match=r"'born' contains dates.*data\.drop=\[born\].*--to json"):
        export(run, format)
    assert {path.name for path in tmp_path.rglob("*")} == {"a run"}


Page = dict[str, Any]


def export_network(trained: TrainedModel) -> dict[str, Any]:
    model = ExportedModel(trained)
    network: dict[str, Any] = json.loads(to_json(model, describe_export(model)))
    return network


def test_the_code_has_thirty_lines(page: Page) -> None:
    assert len([line for line in page["lines"]["numpy"].splitlines() if line.strip()]) <= 30


SHAPES = {
    "negative_slope": {"leaky_relu": nn.LeakyReLU(0.2)},
    "alpha": {"elu": nn.ELU(0.7)},
    "beta": {"softplus": nn.Softplus(beta=2.0)},
    "tanh": {"gelu": nn.GELU("tanh")},
    "bounds": {"hardtanh": nn.Hardtanh(-0.5, 0.75)},
    "ramp": {"threshold_ramp": ThresholdRamp(torch.linspace(-1, 1, 6), 0.5, learn_width=True)},
}


@pytest.mark.parametrize(
    "activation",
    [*ACTIVATIONS, *(module for named in SHAPES.values() for module in named.values())],
    ids=[*ACTIVATIONS, *SHAPES],
)
def test_numpy_predicts_rows_of_numbers(
    trained: Make, numbers: Numbers, page: Page, activation: str | nn.Module
) -> None:
    generator = torch.Generator().manual_seed(5)
    run = trained(network=Network([4, 6, 6, 3], activation, generator=generator))
    found = page["predict"](export_network(run), numbers(100))
    expected = run.predict(numbers(100))
    np.testing.assert_allclose(found, expected.filter(like="probability"), rtol=0, atol=1e-5)


def test_numpy_predicts_two_classes_and_numbers_in_their_units(
    trained: Make, numbers: Numbers, page: Page
) -> None:
    run = trained("binary")
    found = page["predict"](export_network(run), numbers(100))
    np.testing.assert_allclose(found, run.predict(numbers(100)).iloc[:, 1:], rtol=0, atol=1e-5)
    run = trained("regression")
    found = page["predict"](export_network(run), numbers(100))
    np.testing.assert_allclose(found, run.predict(numbers(100)), rtol=1e-5, atol=1e-4)


def test_numpy_predicts_categories_dates_and_missing_cells(
    trained: Make, mixed: Any, page: Page
) -> None:
    run, rows = trained(encoder=mixed.encoder), mixed.rows(200)
    network = export_network(run)
    given = [
        {name: None if pd.isna(cell) else cell for name, cell in row.items()}
        for row in rows.assign(
            born=rows["born"].dt.strftime("%Y-%m-%dT%H:%M:%S"), sold=rows["sold"].str.lower()
        ).to_dict("records")
    ]
    found = page["predict"](network, page["encode_rows"](network, given))
    expected = run.predict(rows).filter(like="probability")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert list(network["embeddings"]) == ["1"]
    assert np.shape(network["embeddings"]["1"])[0] == 41


def test_files_list_layers_of_neurons(trained: Make) -> None:
    run = trained(network=Network([4, 2, 3], ThresholdRamp(0.25, 2.0), bias=False))
    model = ExportedModel(run)
    text = to_json(model, describe_export(model)).decode()
    found = json.loads(text)
    first, last = found["layers"]
    assert first["name"] == "hidden_1"
    assert first["activation"] == {"name": "threshold_ramp", "threshold": 0.25, "width": 2.0}
    assert first["bias"] == [0.0, 0.0]
    weights = run.network.layers[0].weights.value.detach()
    assert torch.equal(torch.tensor(first["weights"]), weights)  # to the last bit
    assert last["activation"] == {"name": "identity"}
    assert found["answer"] == {"function": "softmax"}
    assert found["class_names"] == list(run.class_names)
    assert "dög" in text
    assert max(map(len, text.splitlines())) < 400  # a line for each neuron
    assert [each["name"] for each in found["inputs"]] == ["a", "b", "c", "d"]


def test_torch_sequentials_are_exported(trained: Make, numbers: Numbers, page: Page) -> None:
    run = trained(
        network=nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)),
        loss=nn.CrossEntropyLoss(),
    )
    found = page["predict"](export_network(run), numbers(20))
    np.testing.assert_allclose(
        found, run.predict(numbers(20)).filter(like="probability"), rtol=0, atol=1e-5
    )


def test_images_are_rows_of_their_pixels(trained: Make, page: Page) -> None:
    run = trained(encoder=ImageEncoder(3, 2))
    pixels = np.arange(24, dtype=float).reshape(4, 6)
    expected = run.network(run.scaling.apply(torch.from_numpy(pixels).float())).softmax(dim=1)
    network = export_network(run)
    found = page["predict"](network, pixels)
    np.testing.assert_allclose(found, expected.detach(), rtol=0, atol=1e-5)
    assert network["inputs"][0]["shape"] == ["batch", 3, 2]


class Unsure(nn.Module):
    """A loss that reads the smallest output as the class."""

    @staticmethod
    def decode(outputs: torch.Tensor) -> torch.Tensor:
        return outputs.argmin(dim=1)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"network": nn.Sequential(nn.Linear(4, 3), nn.Dropout())}, "a stack of layers"),
        ({"network": nn.Linear(4, 3)}, r"got Linear\. Export it with --to onnx"),
        ({"network": Network([4, 2, 3], nn.PReLU())}, "hidden_1 has PReLU"),
        ({"loss": Unsure()}, "cannot describe how Unsure reads"),
    ],
    ids=["dropout", "no stack", "activation", "loss"],
)
def test_other_networks_are_rejected(trained: Make, given: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        export_network(trained(**given))
