"""Export: write a trained network, with its preprocessing, to a file that needs no brainnet."""

import io
import json
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np
import torch
from torch import Tensor, nn

from brainnet import __version__
from brainnet.data.preprocessing import ColumnEncoder, TableEncoder
from brainnet.data.scaling import Scaling
from brainnet.data.validation import check_one_of
from brainnet.errors import InputError
from brainnet.files import write_atomic
from brainnet.inference.exported_model import (
    CLASS_NAME,
    ExportedModel,
    RawInput,
    export_program,
    get_first_line,
    silence_exporter,
)
from brainnet.inference.trained_model import TrainedModel
from brainnet.learning.loss import BinaryCrossEntropy, CrossEntropy
from brainnet.learning.predictions import PREDICTION_COLUMN
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.activation_registry import ACTIVATIONS
from brainnet.structure.layer import Layer
from brainnet.structure.network import Network

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

# onnx and onnxscript are imported inside the functions, because they are an optional extra.

ExportFormat = Literal["onnx", "torch", "json"]
EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
DESCRIPTION_FILE = "brainnet.json"
"""Name of the description inside a `.pt2` file."""

_ENDINGS: dict[str, str] = {"onnx": ".onnx", "torch": ".pt2", "json": ".json"}
# Version of the JSON format.
_VERSION = 1

_ACTIVATION_SETTINGS = {
    "leaky_relu": ("negative_slope",),
    "elu": ("alpha",),
    "softplus": ("beta",),
    "hardtanh": ("min_val", "max_val"),
}

_OUTPUT_FUNCTIONS = {
    "softmax": (CrossEntropy, nn.CrossEntropyLoss, nn.NLLLoss),
    "sigmoid": (BinaryCrossEntropy, nn.BCEWithLogitsLoss),
}

# The most that one protocol buffers file can hold, less the space of the graph itself.
_MAX_ONNX_BYTES = 2**31 - 2**20

_OTHER_FORMATS = 'Export it with --to onnx or --to torch (in Python: "onnx" or "torch").'


def describe_export(model: ExportedModel) -> dict[str, Any]:
    """Return the origin of the network, its inputs, and the meaning of its outputs."""
    trained = model.trained
    return {
        "brainnet": __version__,
        "run": trained.run.folder.path.name,
        "data": str((trained.config.get("data") or {}).get("name") or trained.config.get("name")),
        "checkpoint": trained.checkpoint.name,
        "task": trained.task,
        "inputs": [raw.to_dict() for raw in model.inputs],
        "columns": list(model.encoder.names) if isinstance(model.encoder, TableEncoder) else [],
        "class_names": list(trained.class_names),
        "target_names": list(trained.target_names),
    }


def to_torch(model: ExportedModel, description: Mapping[str, Any]) -> bytes:
    """Return a run as a `.pt2` file with a description, read by `torch.export.load` alone."""
    program = export_program(model)
    content = io.BytesIO()
    text = json.dumps(description, ensure_ascii=False, indent=2)
    with silence_exporter():
        torch.export.save(program, content, extra_files={DESCRIPTION_FILE: text})
    return content.getvalue()


def export(
    trained: TrainedModel,
    format: ExportFormat,
    path: Path | str | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write a trained network to a file that needs no brainnet, and return its path.

    Args:
        trained: the result of `brainnet.load`.
        format: "onnx" for any ONNX runtime, "torch" for PyTorch alone, "json" to be read.
        path: the file; `network.onnx`, `.pt2` or `.json` in the run directory if None.
        overwrite: whether an existing file may be replaced.

    Raises:
        InputError: the network cannot be exported in this format, or the file cannot be written.

    Example:
        >>> import json, tempfile
        >>> from brainnet import Network, fit, load
        >>> with tempfile.TemporaryDirectory() as runs:
        ...     run = fit(Network([4, 8, 3]), "iris", folder=f"{runs}/iris", progress=False)
        ...     file = export(load(run.folder), "json")
        ...     network = json.loads(file.read_text(encoding="utf-8"))
        >>> [layer["name"] for layer in network["layers"]]
        ['hidden_1', 'output']
    """
    check_one_of("format", format, EXPORT_FORMATS)
    file = Path(path or trained.run.folder.path / f"network{_ENDINGS[format]}").expanduser()
    if file.is_dir() or not file.parent.is_dir():
        raise InputError(f"the output must be a file in an existing folder; got {file}.")
    if file.is_file() and not overwrite:
        raise InputError(
            f"{file} exists. Choose another with --output FILE, or add --overwrite (in Python: "
            "path=FILE or overwrite=True)."
        )
    model = ExportedModel(trained)
    write = {"onnx": to_onnx, "torch": to_torch, "json": to_json}[format]
    content = write(model, describe_export(model))
    try:
        write_atomic(file, content)
    except OSError as error:
        raise InputError(
            f"{file} cannot be written: {error.strerror}. Choose another with --output FILE (in "
            "Python: path=FILE)."
        ) from error
    return file


def to_json(model: ExportedModel, description: Mapping[str, Any]) -> bytes:
    """Return a run as JSON: inputs, scaling, embeddings, layers, and how to read the outputs."""
    trained = model.trained
    network = trained.network
    if not isinstance(network, Network):
        try:
            network = Network.from_torch(cast(nn.Sequential, network))
        except ValueError as error:
            raise InputError(
                "JSON describes a stack of layers, a Network or an nn.Sequential of nn.Linear and "
                f"activations; got {type(trained.network).__name__}. {_OTHER_FORMATS}"
            ) from error
    encoder, scaling = model.encoder, trained.scaling
    content: dict[str, Any] = {
        "format": _VERSION,
        **description,
        "scaling": _describe_scaling(scaling),
        "embeddings": {},
        "layers": [_describe_layer(layer) for layer in cast("list[Layer]", list(network.layers))],
        "answer": _describe_outputs(trained),
    }
    if isinstance(encoder, TableEncoder):
        content["inputs"] = [_describe_column(column) for column in encoder.columns]
    if scaling.fill:
        content["scaling"]["missing"] = _to_numbers(torch.tensor(scaling.fill))
    if network.embeddings is not None:
        content["embeddings"] = {
            str(column): _to_numbers(embedding.value.t())
            for column, embedding in zip(network.embeddings.codes, network.embeddings, strict=True)
        }
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, indent=2)
    # A line for each neuron: innermost lists are not broken into lines.
    text = re.sub(r"\[[^][{}]*\]", lambda match: re.sub(r"\n *", " ", match[0]), text)
    return f"{text}\n".encode()


def _describe_column(column: ColumnEncoder) -> dict[str, Any]:
    description: dict[str, Any] = {"name": column.name, "kind": column.kind}
    if column.values:
        # A category without a training row becomes null, so that later ones keep their codes.
        description["values"] = [v if v not in column.unseen else None for v in column.values]
    if column.kind == "category":
        description["as"] = "code" if column.is_embedded else "one input for each value"
    if column.format:
        description["format"] = column.format
    if column.kind == "date":
        description["as"] = list(column.inputs)
    return description


def _describe_scaling(scaling: Scaling) -> dict[str, Any]:
    # In float32, as the network is given its inputs.
    return {
        "shift": _to_numbers(torch.tensor(scaling.shift)),
        "scale": _to_numbers(torch.tensor(scaling.scale)),
    }


def _describe_layer(layer: Layer) -> dict[str, Any]:
    weights = layer.weights.value
    bias = weights.new_zeros(layer.neurons) if layer.bias is None else layer.bias.value
    numbers = {"weights": _to_numbers(weights), "bias": _to_numbers(bias)}
    activation = _describe_activation(layer.activation, layer.name)
    return {"name": layer.name, **numbers, "activation": activation}


def _describe_activation(activation: nn.Module, layer: str) -> dict[str, Any]:
    """Return the name of an activation and its parameters, in the order of its formula."""
    if isinstance(activation, ThresholdRamp):
        threshold, width = _to_numbers(activation.threshold), _to_numbers(activation.width)
        return {"name": "threshold_ramp", "threshold": threshold, "width": width}
    name = next((name for name, kind in ACTIVATIONS.items() if kind is type(activation)), None)
    if name is None:
        raise InputError(
            f"JSON describes the activations {', '.join(ACTIVATIONS)}; {layer} has "
            f"{type(activation).__name__}. {_OTHER_FORMATS}"
        )
    settings = {key: float(getattr(activation, key)) for key in _ACTIVATION_SETTINGS.get(name, ())}
    if isinstance(activation, nn.GELU) and activation.approximate != "none":
        name = f"{name}_{activation.approximate}"
    return {"name": name} | settings


def _describe_outputs(trained: TrainedModel) -> dict[str, Any]:
    """Return how the last layer's outputs become predictions."""
    if trained.task == "regression":
        return {"function": "scale back", **_describe_scaling(trained.target_scaling)}
    for function, losses in _OUTPUT_FUNCTIONS.items():
        if isinstance(trained.loss, losses):
            return {"function": function}
    raise InputError(
        f"JSON cannot describe how {type(trained.loss).__name__} reads the outputs of a network. "
        f"{_OTHER_FORMATS}"
    )


def _to_numbers(values: float | Tensor) -> Any:
    """Return numbers with as few digits as distinguish them in float32, or float64 where needed."""
    array = torch.as_tensor(values).detach().cpu().double().numpy()
    short = array.astype(np.float32)
    texts = np.where(short == array, short.astype(str).astype(float), array)
    return texts.tolist()


def to_onnx(model: ExportedModel, description: Mapping[str, Any]) -> bytes:
    """Return a run as an ONNX file, with which any ONNX runtime predicts raw rows."""
    _check_onnx(model)
    import onnx

    exported = _trace_onnx(model)
    if model.inputs[0].kind not in ("rows", "pixels"):
        for raw, value in zip(model.inputs, list(exported.graph.input), strict=True):
            _name_input(exported.graph, raw, value.name)
        exported.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 4))
    if description["class_names"]:
        _add_class_names(exported.graph, description["class_names"])
    exported.producer_name, exported.producer_version = "brainnet", __version__
    exported.graph.name = f"brainnet_{description['task']}"
    metadata = {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in description.items()
    }
    onnx.helper.set_model_props(exported, metadata)
    onnx.checker.check_model(exported, full_check=True)
    content: bytes = exported.SerializeToString()
    return content


def _check_onnx(model: ExportedModel) -> None:
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise InputError(
            f'ONNX export needs {" and ".join(missing)}: pip install "brainnet[onnx]".'
        )
    tensors = [*model.network.parameters(), *model.network.buffers()]
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if size > _MAX_ONNX_BYTES:
        raise InputError(
            f"an ONNX file holds at most 2 GB; the weights take {size / 1e9:.1f} GB. "
            'Export it with --to torch (in Python: "torch").'
        )


def _trace_onnx(model: ExportedModel) -> "ModelProto":
    program = export_program(model)
    is_single = model.inputs[0].kind in ("rows", "pixels")
    names = [raw.name if is_single else f"column_{i}" for i, raw in enumerate(model.inputs)]
    try:
        with silence_exporter():
            exported = torch.onnx.export(
                program, dynamo=True, verbose=False, input_names=names, output_names=model.outputs
            )
    except Exception as error:  # an operation without an ONNX equivalent raises one of many classes
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise InputError(
            f"{type(model.network).__name__} cannot be expressed in ONNX: {get_first_line(cause)} "
            'Export it with --to torch (in Python: "torch").'
        ) from error
    assert exported is not None, "dynamo was requested"
    proto: ModelProto = exported.model_proto
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return proto


def _name_input(graph: "GraphProto", raw: RawInput, inner: str) -> None:
    """Let a column come in under its own name, categories and booleans as strings."""
    import onnx

    value = next(value for value in graph.input if value.name == inner)
    used = {CLASS_NAME, *(name for node in graph.node for name in (*node.input, *node.output))}
    outer = raw.name
    # The graph may use the name of a column for its own values.
    while outer in used:
        outer = f"{outer} (input)"
    kind, settings = value.type.tensor_type.elem_type, {}
    if raw.kind in ("category", "boolean"):
        kind = onnx.TensorProto.STRING
        settings = {"domain": "ai.onnx.ml", **_build_lookup(raw)}
    operation = "LabelEncoder" if settings else "Identity"
    node = onnx.helper.make_node(operation, [outer], [inner], name=f"read {outer}", **settings)
    value.CopyFrom(onnx.helper.make_tensor_value_info(outer, kind, ["batch"]))
    graph.node.insert(0, node)


def _build_lookup(raw: RawInput) -> dict[str, Any]:
    """Return the attributes of a LabelEncoder: the codes of categories, or 0 and 1 of a boolean."""
    if raw.kind == "category":
        codes = list(range(1, len(raw.values) + 1))
        return {"keys_strings": list(raw.values), "values_int64s": codes, "default_int64": 0}
    # A boolean may be written as yes, Yes or YES.
    forms = (str, str.capitalize, str.upper)
    codes_by_word = {form(word): code for code, word in enumerate(raw.values) for form in forms}
    return {
        "keys_strings": list(codes_by_word),
        "values_floats": [float(code) for code in codes_by_word.values()],
        "default_float": float("nan"),
    }


def _add_class_names(graph: "GraphProto", names: list[str]) -> None:
    """Add an output with the name of the class beside its index."""
    import onnx

    table, strings = "class names", onnx.TensorProto.STRING
    content = [name.encode() for name in names]
    graph.initializer.append(
        onnx.TensorProto(name=table, data_type=strings, dims=[len(names)], string_data=content)
    )
    graph.node.append(onnx.helper.make_node("Gather", [table, PREDICTION_COLUMN], [CLASS_NAME]))
    graph.output.insert(1, onnx.helper.make_tensor_value_info(CLASS_NAME, strings, ["batch"]))
