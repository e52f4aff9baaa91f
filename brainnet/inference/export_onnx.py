"""ONNX export: a graph of standard operations, from raw rows to the name of the class."""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch

from brainnet import __version__
from brainnet.errors import InputError
from brainnet.inference.exported_model import (
    CLASS_NAME,
    ExportedModel,
    RawInput,
    export_program,
    get_first_line,
    silence_exporter,
)
from brainnet.learning.predictions import PREDICTION_COLUMN

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

# onnx and onnxscript are imported inside the functions, because they are an optional extra.

# The most that one protocol buffers file can hold, less the space of the graph itself.
_MAX_BYTES = 2**31 - 2**20


def to_onnx(model: ExportedModel, description: Mapping[str, Any]) -> bytes:
    """Return a run as an ONNX file, with which any ONNX runtime predicts raw rows."""
    _check_possible(model)
    import onnx

    exported = _trace(model)
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


def _check_possible(model: ExportedModel) -> None:
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise InputError(
            f'ONNX export needs {" and ".join(missing)}: pip install "brainnet[onnx]".'
        )
    tensors = [*model.network.parameters(), *model.network.buffers()]
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if size > _MAX_BYTES:
        raise InputError(
            f"an ONNX file holds at most 2 GB; the weights take {size / 1e9:.1f} GB. "
            'Export it with --to torch (in Python: "torch").'
        )


def _trace(model: ExportedModel) -> "ModelProto":
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
