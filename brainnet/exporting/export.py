"""Export: a trained network taken out of brainnet, with all it takes to answer raw rows."""

from pathlib import Path
from typing import Literal, get_args

from brainnet.answering.trained import Trained
from brainnet.errors import InputError
from brainnet.exporting.about import about
from brainnet.exporting.answering import Answering
from brainnet.exporting.to_json import to_json
from brainnet.exporting.to_onnx import to_onnx
from brainnet.exporting.to_torch import to_torch
from brainnet.suggestion import did_you_mean
from brainnet.training.whole_file import write_whole

Form = Literal["onnx", "torch", "json"]
FORMS: tuple[Form, ...] = get_args(Form)
ENDINGS: dict[str, str] = {"onnx": ".onnx", "torch": ".pt2", "json": ".json"}


def export(
    trained: Trained, form: Form, path: Path | str | None = None, *, overwrite: bool = False
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
    if form not in FORMS:
        raise InputError(
            f"a network is exported to {', '.join(FORMS)}; got {form!r}.{did_you_mean(form, FORMS)}"
        )
    file = trained.run.folder.path / f"network{ENDINGS[form]}" if path is None else Path(path)
    file = file.expanduser()
    _check_ending(file, form)
    _check_place(file, overwrite)
    answering = Answering(trained)
    told = about(trained, answering)
    if form == "json":
        content = to_json(trained, answering, told)
    else:
        content = (to_onnx if form == "onnx" else to_torch)(answering, told)
    try:
        write_whole(file, content)
    except OSError as error:
        raise InputError(
            f"{file} cannot be written: {error.strerror}. Choose another with --output FILE."
        ) from error
    return file


def _check_ending(file: Path, form: Form) -> None:
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
