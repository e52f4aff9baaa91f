"""Export: whole files or none, and none replaced unasked."""

from collections.abc import Callable
from pathlib import Path

import pytest

from brainnet.errors import InputError
from brainnet.inference.export import export
from brainnet.inference.trained_model import TrainedModel

Make = Callable[..., TrainedModel]


def test_writes_into_the_runs_folder_or_where_it_is_told(trained: Make, tmp_path: Path) -> None:
    run = trained()
    first = export(run, "json")
    assert first == run.run.folder.path / "network.json"
    second = export(run, "json", tmp_path / "mine.json")
    assert second.read_bytes() == first.read_bytes()
    assert list(tmp_path.glob("**/*.part")) == []


def test_replaces_only_what_it_may(trained: Make, tmp_path: Path) -> None:
    run, file = trained(), tmp_path / "mine.json"
    file.write_text("precious")
    with pytest.raises(InputError, match=r"mine\.json is there already.*--overwrite"):
        export(run, "json", file)
    assert file.read_text() == "precious"
    export(run, "json", file, overwrite=True)
    assert file.read_text().startswith("{")


def test_leaves_nothing_where_it_cannot_write(trained: Make, tmp_path: Path) -> None:
    run = trained()
    with pytest.raises(InputError, match=r"no folder .*nowhere to write network\.json"):
        export(run, "json", tmp_path / "nowhere" / "network.json")
    with pytest.raises(InputError, match="is a folder"):
        export(run, "json", tmp_path)
    with pytest.raises(InputError, match=r"onnx, torch, json; got 'onx'.*Did you mean onnx"):
        export(run, "onx")  # type: ignore[arg-type]
    assert {path.name for path in tmp_path.iterdir()} == {run.run.folder.path.name}


def test_a_name_that_says_another_form_is_refused(trained: Make, tmp_path: Path) -> None:
    run = trained()
    with pytest.raises(InputError, match=r"x\.onnx ends as a file of onnx.*Say --to onnx"):
        export(run, "json", tmp_path / "x.onnx")
    assert not (tmp_path / "x.onnx").exists()
    assert export(run, "json", tmp_path / "x.txt").name == "x.txt"
