"""Torch: a program that PyTorch runs where there is no brainnet."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from brainnet.inference.export import ABOUT, about, to_torch
from brainnet.inference.exported_model import ExportedModel
from brainnet.inference.trained_model import TrainedModel

Make = Callable[..., TrainedModel]
Numbers = Callable[..., np.ndarray]

ALONE = """
import json, sys
sys.modules["brainnet"] = None                       # importing it would fail
import numpy, torch
told = {"brainnet.json": ""}
program = torch.export.load(sys.argv[1], extra_files=told).module()
rows = torch.from_numpy(numpy.load(sys.argv[2]))
prediction, shares = program(rows)
assert [len(program(rows[:n])[0]) for n in (0, 1, 5)] == [0, 1, 5]
numpy.savez(sys.argv[3], prediction=prediction, shares=shares.numpy(), about=told["brainnet.json"])
"""


def content_of(trained: TrainedModel) -> bytes:
    answering = ExportedModel(trained)
    return to_torch(answering, about(trained, answering))


@pytest.mark.slow
def test_runs_where_brainnet_cannot_be_imported(
    trained: Make, numbers: Numbers, tmp_path: Path
) -> None:
    run, rows = trained(), numbers(100)
    content = content_of(run)
    (tmp_path / "network.pt2").write_bytes(content)
    np.save(tmp_path / "rows.npy", rows)
    names = [str(tmp_path / name) for name in ("network.pt2", "rows.npy", "found.npz")]
    command = [sys.executable, "-c", ALONE, *names]
    subprocess.run(command, check=True, cwd=tmp_path, env={"OMP_NUM_THREADS": "1"})
    found = np.load(tmp_path / "found.npz")
    predicted = run.predict(rows)
    names = [run.class_names[index] for index in found["prediction"]]
    assert names == list(predicted["prediction"])
    expected = predicted.filter(like="probability").to_numpy()
    np.testing.assert_allclose(found["shares"], expected, rtol=0, atol=1e-5)
    assert json.loads(str(found["about"]))["class_names"] == list(run.class_names)
    assert str(Path(__file__).parents[2]).encode() not in content


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # of torch.export itself
def test_takes_words_as_codes_and_dates_as_seconds(
    trained: Make, mixed: Any, page: dict[str, Any], tmp_path: Path
) -> None:
    run, rows = trained(preparation=mixed.columns), mixed.rows(200)
    (tmp_path / "network.pt2").write_bytes(content_of(run))
    told = {ABOUT: ""}
    program = torch.export.load(tmp_path / "network.pt2", extra_files=told)
    _, shares = page["answered_by_torch"](program, told, rows)
    expected = run.predict(rows).filter(like="probability").to_numpy()
    np.testing.assert_allclose(shares, expected, rtol=0, atol=1e-5)
