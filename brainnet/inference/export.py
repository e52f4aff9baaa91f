"""Export: write a trained network, with its preprocessing, to a file that needs no brainnet."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from brainnet import __version__
from brainnet.data.preprocessing import TableEncoder
from brainnet.data.validation import check_one_of
from brainnet.errors import InputError
from brainnet.files import write_atomic
from brainnet.inference.export_json import to_json
from brainnet.inference.export_onnx import to_onnx
from brainnet.inference.exported_model import (
    ExportedModel,
    export_program,
    silence_exporter,
)
from brainnet.inference.trained_model import TrainedModel

ExportFormat = Literal["onnx", "torch", "json"]
EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
DESCRIPTION_FILE = "brainnet.json"
"""Name of the description inside a `.pt2` file."""

_ENDINGS: dict[str, str] = {"onnx": ".onnx", "torch": ".pt2", "json": ".json"}


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
    """Return a run as a `.pt2` file with a description, read by `torch.export.load` alone.

    Categories come in as codes: 1 + the position in `values`, 0 if unknown. Booleans come in as 0
    for the first and 1 for the second of their words.
    """
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
        raise InputError(f"{file} exists. Choose another with --output FILE, or add --overwrite.")
    model = ExportedModel(trained)
    write = {"onnx": to_onnx, "torch": to_torch, "json": to_json}[format]
    content = write(model, describe_export(model))
    try:
        write_atomic(file, content)
    except OSError as error:
        raise InputError(
            f"{file} cannot be written: {error.strerror}. Choose another with --output FILE."
        ) from error
    return file
