"""ONNX: a run as a graph of standard operations, from raw rows to the name of the class."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    first_line,
    own_warnings_left_out,
)
from brainnet.learning.predictions import PREDICTION_COLUMN

if TYPE_CHECKING:
    from onnx import FunctionProto, GraphProto, ModelProto, NodeProto


# onnx and onnxscript are imported inside the functions: they are an extra that few will need.

MOST_BYTES = 2**31 - 2**20

"""What one file of protocol buffers can hold, less the room that the graph itself takes."""

_WITHIN = "network/"


def to_onnx(answering: ExportedModel, about: Mapping[str, Any]) -> bytes:
    """Return a run as an ONNX file, which any runtime of ONNX answers raw rows with.

    Words (categories, booleans) come as strings, by `LabelEncoder` of ONNX's own `ai.onnx.ml`.

    Args:
        answering: the run.
        about: what the file is to say of itself, in its metadata, as JSON.

    Raises:
        InputError: the packages are not there, the network has operations that ONNX has not, or it
            is too large for one file.
    """
    check_there()
    check_size(answering)
    import onnx

    model = _traced(answering)
    for part in (model.graph, *model.functions):
        _forget_origins(part)
    graph = model.graph
    words = [raw for raw in answering.inputs if raw.kind in ("category", "boolean")]
    if answering.inputs[0].kind not in ("rows", "pixels"):
        model = _within(model)
        graph = model.graph
        for raw, inner in zip(answering.inputs, list(graph.input), strict=True):
            _feed(graph, raw, inner.name)
    if words:
        model.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 4))
    if about["class_names"]:
        _name_classes(graph, about["class_names"])
    model.producer_name, model.producer_version = "brainnet", __version__
    graph.name = f"brainnet_{about['task']}"
    told = {key: _as_text(value) for key, value in about.items()}
    onnx.helper.set_model_props(model, told)
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content


def check_there() -> None:
    """Raise an InputError with the line to type unless PyTorch's exporter has what it needs."""
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise InputError(
            f"an ONNX file needs the package{'s' * (len(missing) > 1)} {' and '.join(missing)}, "
            'which brainnet does without otherwise. Type: pip install "brainnet[onnx]"'
        )


def check_size(answering: ExportedModel) -> None:
    """Raise an InputError unless all weights fit into one file."""
    held = [*answering.network.parameters(), *answering.network.buffers()]
    needed = sum(tensor.numel() * tensor.element_size() for tensor in held)
    if needed > MOST_BYTES:
        raise InputError(
            f"an ONNX file holds at most 2 GB; the weights of this network take {needed / 1e9:.1f} "
            "GB. Export it with --to torch."
        )


def _traced(answering: ExportedModel) -> "ModelProto":
    """The graph as PyTorch's exporter makes it, with names of ours for what goes in and out."""
    program = export_program(answering)
    whole = answering.inputs[0].kind in ("rows", "pixels")
    names = [raw.name if whole else f"column_{i}" for i, raw in enumerate(answering.inputs)]
    try:
        with own_warnings_left_out(), _quiet():
            exported = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=names,
                output_names=answering.outputs,
            )
    except Exception as error:  # an operation that ONNX has no word for comes in many classes
        raise InputError(
            f"{type(answering.network).__name__} cannot be told in ONNX: "
            f"{first_line(_root(error))} Export it with --to torch."
        ) from error
    assert exported is not None, "dynamo was asked for"
    model: ModelProto = exported.model_proto
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model


def _root(error: BaseException) -> BaseException:
    """What went wrong at the bottom: which operation it was."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _forget_origins(part: "GraphProto | FunctionProto") -> None:
    """Take out where in whose files each operation was written, which the exporter notes."""
    held = (*part.input, *part.output, *part.initializer) if hasattr(part, "initializer") else ()
    for noted in (part, *part.node, *held):
        del noted.metadata_props[:]
    del part.value_info[:]  # sizes in the middle, which every runtime finds for itself
    for node in part.node:
        for attribute in node.attribute:
            # Asked first: to touch a graph that is not there would put one there.
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                _forget_origins(inner)


def _within(model: "ModelProto") -> "ModelProto":
    """Put a prefix before all names, so that columns may be called as they are."""
    import onnx

    outputs = [value.name for value in model.graph.output]
    found: ModelProto = onnx.compose.add_prefix(model, _WITHIN)
    for name, value in zip(outputs, found.graph.output, strict=True):
        _rename_output(found.graph, value.name, name)
        value.name = name
    return found


def _rename_output(graph: "GraphProto", before: str, after: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for position, name in enumerate(names):
                if name == before:
                    names[position] = after


def _feed(graph: "GraphProto", raw: RawInput, inner: str) -> None:
    """Let a column come in under its own name, words as strings."""
    import onnx
    from onnx import TensorProto

    (place,) = [i for i, value in enumerate(graph.input) if value.name == inner]
    outer = _free(raw.name or f"column_{place}", graph)
    kind = graph.input[place].type.tensor_type.elem_type
    if raw.kind in ("category", "boolean"):
        kind = TensorProto.STRING
        node = _encoder(raw, outer, inner)
    else:
        node = onnx.helper.make_node("Identity", [outer], [inner], name=f"{_WITHIN}take {outer}")
    graph.input[place].CopyFrom(onnx.helper.make_tensor_value_info(outer, kind, ["batch"]))
    graph.node.insert(0, node)


def _free(name: str, graph: "GraphProto") -> str:
    """The name, or where another value has it already, one beside it."""
    taken = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    taken |= {CLASS_NAME, *(name for node in graph.node for name in node.output)}
    while name in taken:
        name = f"{name} (input)"
    return name


def _encoder(raw: RawInput, outer: str, inner: str) -> "NodeProto":
    """Words as the codes of a category (0: never seen), or as 0, 1 and missing."""
    import onnx

    keys: Sequence[str] = raw.values
    if raw.kind == "category":
        settings: dict[str, Any] = {
            "values_int64s": list(range(1, len(keys) + 1)),
            "default_int64": 0,
        }
    else:
        spelled = {form(word): code for code, word in enumerate(raw.values) for form in SPELLINGS}
        keys = list(spelled)
        settings = {
            "values_floats": [float(code) for code in spelled.values()],
            "default_float": float("nan"),
        }
    node: NodeProto = onnx.helper.make_node(
        "LabelEncoder",
        [outer],
        [inner],
        name=f"{_WITHIN}look up {outer}",
        domain="ai.onnx.ml",
        keys_strings=list(keys),
        **settings,
    )
    return node


SPELLINGS = (str, str.capitalize, str.upper)

"""How the two words of a boolean may be written, which are known in small letters."""


def _name_classes(graph: "GraphProto", names: Sequence[str]) -> None:
    """Give the name of the class out beside its index."""
    import onnx
    from onnx import TensorProto

    table = f"{_WITHIN}class names"
    graph.initializer.append(
        onnx.TensorProto(
            name=table,
            data_type=TensorProto.STRING,
            dims=[len(names)],
            string_data=[name.encode() for name in names],
        )
    )
    graph.node.append(
        onnx.helper.make_node(
            "Gather", [table, PREDICTION_COLUMN], [CLASS_NAME], name=f"{_WITHIN}name the class"
        )
    )
    graph.output.insert(
        1, onnx.helper.make_tensor_value_info(CLASS_NAME, TensorProto.STRING, ["batch"])
    )


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out the exporter's notes on packages that are not there (torchvision)."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
