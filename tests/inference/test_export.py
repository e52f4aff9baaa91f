"""Files are written completely or not at all, and replaced only if asked."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from brainnet.errors import InputError
from brainnet.inference.export import (
    DESCRIPTION_FILE,
    ExportFormat,
    describe_export,
    export,
    to_torch,
)
from brainnet.inference.exported_model import ExportedModel
from brainnet.inference.trained_model import TrainedModel

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
