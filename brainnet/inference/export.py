"""Export a trained model with its preprocessing."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from brainnet import __version__
from brainnet.data.preprocessing import TableEncoder
from brainnet.errors import InputError, did_you_mean
from brainnet.files import write_atomic
from brainnet.inference.export_json import to_json
from brainnet.inference.export_onnx import to_onnx
from brainnet.inference.exported_model import ExportedModel, export_program, own_warnings_left_out
from brainnet.inference.trained_model import TrainedModel


def about(trained: TrainedModel, answering: ExportedModel) -> dict[str, Any]:
    """Return where the network came from, what it takes and what its answers mean."""
    preparation = answering.prepared.preparation
    return {
        "brainnet": __version__,
        "run": trained.run.folder.path.name,
        "data": str((trained.config.get("data") or {}).get("name") or trained.config.get("name")),
        "checkpoint": trained.checkpoint.name,
        "task": trained.task,
        "inputs": [raw.told() for raw in answering.inputs],
        "columns": list(preparation.names) if isinstance(preparation, TableEncoder) else [],
        "class_names": list(trained.class_names),
        "target_names": list(trained.target_names),
    }


ABOUT = "brainnet.json"

"""The name under which the file keeps what it says of itself."""


def to_torch(answering: ExportedModel, about: Mapping[str, Any]) -> bytes:
    """Return a run as a `.pt2` file, which `torch.export.load` reads where brainnet is not.

    Words (categories, booleans) come as numbers: 1 + the place in `values`, 0 for what was never
    seen; 0 for the first and 1 for the second word of a boolean.

    Args:
        answering: the run.
        about: what the file is to say of itself, under `ABOUT`.

    Raises:
        InputError: the network cannot be told in operations of tensors alone.
    """
    program = export_program(answering)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # in whose files each operation was written
    content = io.BytesIO()
    with own_warnings_left_out():
        told = json.dumps(about, ensure_ascii=False, indent=2)
        torch.export.save(program, content, extra_files={ABOUT: told})
    return content.getvalue()


ExportFormat = Literal["onnx", "torch", "json"]

EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)

ENDINGS: dict[str, str] = {"onnx": ".onnx", "torch": ".pt2", "json": ".json"}


def export(
    trained: TrainedModel,
    form: ExportFormat,
    path: Path | str | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write a trained network as a file that needs nothing of brainnet's.

    Args:
        trained: what `brainnet.load` returned.
        form: "onnx", for any runtime of ONNX; "torch", for PyTorch alone; "json", to be read.
        path: the file; `network.onnx`, `.pt2` or `.json` in the run's folder where None.
        overwrite: whether a file that is there already may be replaced.

    Returns:
        The file that was written.

    Raises:
        InputError: the network cannot be exported in this form, or the file cannot be written;
            then none is.

    Example:
        >>> import json, tempfile
        >>> from brainnet import Network, fit, load
        >>> with tempfile.TemporaryDirectory() as runs:
        ...     run = fit(Network([4, 8, 3]), "iris", folder=f"{runs}/iris", progress=False)
        ...     file = export(load(run.folder), "json")
        ...     told = json.loads(file.read_text(encoding="utf-8"))
        >>> [layer["name"] for layer in told["layers"]]
        ['hidden_1', 'output']
    """
    if form not in EXPORT_FORMATS:
        raise InputError(
            f"a network is exported to {', '.join(EXPORT_FORMATS)}; got {form!r}.{did_you_mean(form, EXPORT_FORMATS)}"
        )
    file = trained.run.folder.path / f"network{ENDINGS[form]}" if path is None else Path(path)
    file = file.expanduser()
    _check_ending(file, form)
    _check_place(file, overwrite)
    answering = ExportedModel(trained)
    told = about(trained, answering)
    if form == "json":
        content = to_json(trained, answering, told)
    else:
        content = (to_onnx if form == "onnx" else to_torch)(answering, told)
    try:
        write_atomic(file, content)
    except OSError as error:
        raise InputError(
            f"{file} cannot be written: {error.strerror}. Choose another with --output FILE."
        ) from error
    return file


def _check_ending(file: Path, form: ExportFormat) -> None:
    """Raise an InputError where the name of a file says that it is of another form."""
    said = next((other for other, end in ENDINGS.items() if end == file.suffix.lower()), form)
    if said != form:
        raise InputError(
            f"{file} ends as a file of {said}, and {form} was asked for. Say --to {said}, or name "
            f"it {file.stem}{ENDINGS[form]}."
        )


def _check_place(file: Path, overwrite: bool) -> None:
    """Raise an InputError where there is no place for the file."""
    if file.is_dir():
        raise InputError(f"the output must be a file; {file} is a folder. Name a file in it.")
    if not file.parent.is_dir():
        raise InputError(
            f"there is no folder {file.parent} to write {file.name} to. Make it first."
        )
    if file.is_file() and not overwrite:
        raise InputError(
            f"{file} is there already. Choose another with --output FILE, or replace it with "
            "--overwrite."
        )
