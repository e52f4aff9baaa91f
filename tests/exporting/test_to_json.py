"""JSON: the lines of NumPy in the documentation answer what brainnet answers."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from brainnet.data.image_files import ImageEncoder
from brainnet.errors import InputError
from brainnet.inference.export import about
from brainnet.inference.export_json import to_json
from brainnet.inference.exported_model import ExportedModel
from brainnet.inference.trained_model import TrainedModel
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.activation_registry import ACTIVATIONS
from brainnet.structure.network import Network

Make = Callable[..., TrainedModel]
Numbers = Callable[..., np.ndarray]
Page = dict[str, Any]


def told(trained: TrainedModel) -> dict[str, Any]:
    answering = ExportedModel(trained)
    found: dict[str, Any] = json.loads(to_json(trained, answering, about(trained, answering)))
    return found


def test_the_lines_are_thirty(page: Page) -> None:
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
def test_numpy_answers_rows_of_numbers(
    trained: Make, numbers: Numbers, page: Page, activation: str | nn.Module
) -> None:
    generator = torch.Generator().manual_seed(5)
    run = trained(network=Network([4, 6, 6, 3], activation, generator=generator))
    found = page["answer"](told(run), numbers(100))
    expected = run.predict(numbers(100))
    np.testing.assert_allclose(found, expected.filter(like="probability"), rtol=0, atol=1e-5)


def test_numpy_answers_yes_or_no_and_numbers_in_their_own_units(
    trained: Make, numbers: Numbers, page: Page
) -> None:
    run = trained("binary")
    found = page["answer"](told(run), numbers(100))
    np.testing.assert_allclose(found, run.predict(numbers(100)).iloc[:, 1:], rtol=0, atol=1e-5)
    run = trained("regression")
    found = page["answer"](told(run), numbers(100))
    np.testing.assert_allclose(found, run.predict(numbers(100)), rtol=1e-5, atol=1e-4)


def test_numpy_answers_words_dates_and_missing_cells(trained: Make, mixed: Any, page: Page) -> None:
    run, rows = trained(preparation=mixed.columns), mixed.rows(200)
    network = told(run)
    given = [
        {name: None if pd.isna(cell) else cell for name, cell in row.items()}
        for row in rows.assign(
            born=rows["born"].dt.strftime("%Y-%m-%dT%H:%M:%S"), sold=rows["sold"].str.lower()
        ).to_dict("records")
    ]
    found = page["answer"](network, page["numbers_of"](network, given))
    expected = run.predict(rows).filter(like="probability")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert list(network["embeddings"]) == ["1"]
    assert np.shape(network["embeddings"]["1"])[0] == 41


def test_reads_as_layers_of_neurons(trained: Make) -> None:
    run = trained(network=Network([4, 2, 3], ThresholdRamp(0.25, 2.0), bias=False))
    answering = ExportedModel(run)
    text = to_json(run, answering, about(run, answering)).decode()
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


def test_a_stack_of_pytorchs_is_told_as_well(trained: Make, numbers: Numbers, page: Page) -> None:
    run = trained(
        network=nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)),
        loss=nn.CrossEntropyLoss(),
    )
    found = page["answer"](told(run), numbers(20))
    np.testing.assert_allclose(
        found, run.predict(numbers(20)).filter(like="probability"), rtol=0, atol=1e-5
    )


def test_pictures_are_rows_of_their_pixels(trained: Make, page: Page) -> None:
    run = trained(preparation=ImageEncoder(3, 2))
    pixels = np.arange(24, dtype=float).reshape(4, 6)
    expected = run.network(run.scaling.apply(torch.from_numpy(pixels).float())).softmax(dim=1)
    network = told(run)
    found = page["answer"](network, pixels)
    np.testing.assert_allclose(found, expected.detach(), rtol=0, atol=1e-5)
    assert network["inputs"][0]["shape"] == ["batch", 3, 2]


class Unsure(nn.Module):
    """A loss that takes the smallest output for the answer."""

    @staticmethod
    def decode(outputs: torch.Tensor) -> torch.Tensor:
        return outputs.argmin(dim=1)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"network": nn.Sequential(nn.Linear(4, 3), nn.Dropout())}, "one after the other"),
        ({"network": nn.Linear(4, 3)}, r"Linear is something else.*--to onnx"),
        ({"network": Network([4, 2, 3], nn.PReLU())}, "that of hidden_1 is PReLU"),
        ({"loss": Unsure()}, "no word for how Unsure reads"),
    ],
    ids=["dropout", "no stack", "activation", "loss"],
)
def test_what_json_cannot_tell(trained: Make, given: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        told(trained(**given))
