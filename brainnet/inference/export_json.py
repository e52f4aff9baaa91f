"""JSON: a run as numbers and words that a learner can read, and 30 lines of NumPy can run."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from brainnet.data.preprocessing import ColumnEncoder, TableEncoder
from brainnet.data.scaling import Scaling
from brainnet.errors import InputError
from brainnet.inference.exported_model import ExportedModel
from brainnet.inference.trained_model import TrainedModel
from brainnet.learning.predictions import compute_probabilities, decode_predictions
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.activation_registry import ACTIVATIONS
from brainnet.structure.layer import Layer
from brainnet.structure.network import Network

FORMAT = 1


def to_json(trained: TrainedModel, answering: ExportedModel, about: Mapping[str, Any]) -> bytes:
    """Return a run as a JSON file: what comes in, how it is scaled, each layer, what comes out.

    Args:
        trained: the run.
        answering: the same, ready to answer.
        about: what the file is to say of itself.

    Raises:
        InputError: the network is more than layers of neurons one after the other, or has an
            activation that is none of `ACTIVATIONS`.
    """
    network = _as_layers(trained.network)
    told = {
        "format": FORMAT,
        **about,
        "inputs": _inputs(answering),
        "scaling": _scaling(trained),
        "embeddings": _embeddings(network),
        "layers": [_layer(layer) for layer in cast("list[Layer]", list(network.layers))],
        "answer": _answer(trained, network.sizes[-1]),
    }
    return (_laid_out(told) + "\n").encode()


def _as_layers(network: nn.Module) -> Network:
    """The network as layers of neurons, if it is some."""
    if isinstance(network, Network):
        return network
    try:
        return Network.from_torch(cast(nn.Sequential, network))
    except ValueError as error:
        raise InputError(
            "JSON tells of layers of neurons one after the other, a Network or an nn.Sequential of "
            f"nn.Linear and activations; {type(network).__name__} is something else. Export it "
            "with --to onnx or --to torch."
        ) from error


def _inputs(answering: ExportedModel) -> list[dict[str, Any]]:
    preparation = answering.prepared.preparation
    if not isinstance(preparation, TableEncoder):
        return [raw.told() for raw in answering.inputs]
    return [_column(column) for column in preparation.columns]


def _column(column: ColumnEncoder) -> dict[str, Any]:
    told: dict[str, Any] = {"name": column.name, "kind": column.kind}
    if column.values:
        # A word that no training row had stands for no input: none is ever null.
        told["values"] = [None if word in column.unlearnt else word for word in column.values]
    if column.kind == "category":
        told["as"] = "code" if column.embedded else "one input for each value"
    if column.form:
        told["form"] = column.form
    if column.kind == "date":
        told["as"] = list(column.inputs)
    return told


def _scaling(trained: TrainedModel) -> dict[str, list[float]]:
    scaling = trained.scaling
    told = _shift_and_scale(scaling)
    return told | ({"missing": _numbers(torch.tensor(scaling.fill))} if scaling.fill else {})


def _shift_and_scale(scaling: Scaling) -> dict[str, list[float]]:
    """In 32 bits, in which a network is given its inputs."""
    shift, scale = (torch.tensor(values) for values in (scaling.shift, scaling.scale))
    return {"shift": _numbers(shift), "scale": _numbers(scale)}


def _embeddings(network: Network) -> dict[str, Any]:
    """For each column of codes, a list of numbers for each code."""
    if network.embeddings is None:
        return {}
    return {
        str(column): _numbers(part.value.t())
        for column, part in zip(network.embeddings.codes, network.embeddings, strict=True)
    }


def _layer(layer: Layer) -> dict[str, Any]:
    """A list of weights for each neuron, and one bias for each."""
    weights = layer.weights.value
    bias = weights.new_zeros(layer.neurons) if layer.bias is None else layer.bias.value
    return {
        "name": layer.name,
        "weights": _numbers(weights),
        "bias": _numbers(bias),
        "activation": _activation(layer.activation, layer.name),
    }


def _activation(activation: nn.Module, place: str) -> dict[str, Any]:
    """Its name, and what it was built with, in the order in which its formula takes them."""
    if isinstance(activation, ThresholdRamp):
        threshold, width = _numbers(activation.threshold), _numbers(activation.width)
        return {"name": "threshold_ramp", "threshold": threshold, "width": width}
    names = {kind: name for name, kind in ACTIVATIONS.items()}
    name = names.get(type(activation))
    if name is None:
        raise InputError(
            f"JSON tells of the activations {', '.join(ACTIVATIONS)}; that of {place} is "
            f"{type(activation).__name__}. Export it with --to onnx or --to torch."
        )
    if isinstance(activation, nn.GELU) and activation.approximate != "none":
        name = f"{name}_{activation.approximate}"
    return {"name": name} | {
        key: float(getattr(activation, key)) for key in _SETTINGS.get(name, ())
    }


_SETTINGS = {
    "leaky_relu": ("negative_slope",),
    "elu": ("alpha",),
    "softplus": ("beta",),
    "hardtanh": ("min_val", "max_val"),
}


def _answer(trained: TrainedModel, outputs: int) -> dict[str, Any]:
    """What turns the last layer's sums into an answer."""
    if trained.task == "regression":
        return {"function": "scale back", **_shift_and_scale(trained.target_scaling)}
    # Found by trying, so that a loss of the user's is told as well as ours.
    probe = torch.randn(_PROBES, outputs, generator=torch.Generator().manual_seed(0))
    classes = decode_predictions(probe, trained.loss, trained.task)
    shares = compute_probabilities(probe, trained.loss, trained.task)
    for name, function in _ANSWERS.items():
        expected = function(probe)
        told = shares is None or (
            shares.shape == expected.shape and torch.allclose(shares, expected)
        )
        fits = (name in _SHARES) == (shares is not None)
        if fits and told and torch.equal(expected.argmax(dim=1), classes):
            return {"function": name}
    raise InputError(
        f"JSON has no word for how {type(trained.loss).__name__} reads the outputs of a network. "
        "Export it with --to onnx or --to torch."
    )


_PROBES = 64

_SHARES = ("softmax", "sigmoid")

_ANSWERS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda sums: sums.softmax(dim=1),
    "sigmoid": lambda sums: torch.cat([1 - sums[:, :1].sigmoid(), sums[:, :1].sigmoid()], dim=1),
    "largest": lambda sums: sums,
    "positive": lambda sums: torch.cat([torch.zeros_like(sums[:, :1]), sums[:, :1]], dim=1),
}

"""What may become of the last sums; the class is where the result is largest."""


def _numbers(values: float | Tensor | Sequence[float]) -> Any:
    """Numbers in as few digits as tell them apart from their neighbours in 32 bits."""
    given = values.detach().cpu().double() if isinstance(values, Tensor) else values
    array = np.asarray(given, dtype=np.float64)
    if array.ndim > 1:
        return [_numbers(row) for row in array]
    near = array.astype(np.float32)
    flat = [
        float(str(short)) if short == number else float(number)
        for short, number in zip(near.flat, array.flat, strict=True)
    ]
    return flat if array.ndim else flat[0]


def _laid_out(value: object, depth: int = 0) -> str:
    """JSON with a line for each neuron: lists of plain values are not broken."""
    space = "  " * (depth + 1)
    if isinstance(value, dict) and value and depth < 3:
        lines = [
            f"{space}{_plain(key)}: {_laid_out(part, depth + 1)}" for key, part in value.items()
        ]
        return "{\n" + ",\n".join(lines) + "\n" + space[2:] + "}"
    if isinstance(value, list) and any(isinstance(part, list | dict) for part in value):
        lines = [f"{space}{_laid_out(part, depth + 1)}" for part in value]
        return "[\n" + ",\n".join(lines) + "\n" + space[2:] + "]"
    return _plain(value)


def _plain(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
