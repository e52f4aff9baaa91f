"""Trained networks of random weights, so that no test has to train one."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from brainnet.data.image_files import ImageEncoder
from brainnet.data.preprocessing import ColumnEncoder, TableEncoder
from brainnet.data.scaling import Scaling
from brainnet.inference.trained_model import TrainedModel
from brainnet.learning.loss import DEFAULT_LOSS, LOSSES, Task
from brainnet.structure.network import Network
from brainnet.training.run_directory import Run, RunDirectory

TOWNS = tuple(f"town {number}" for number in range(40))
PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")


def read_code(mark: str) -> str:
    """The code of docs/export.md below a mark."""
    found = re.search(rf"<!-- {mark} -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, mark
    return found[1]


LINES = {mark: read_code(mark) for mark in ("words", "onnx", "torch", "numpy", "numbers")}
PAGE_CODE: dict[str, Any] = {"lines": LINES}
exec("\n".join(LINES.values()), PAGE_CODE)

MIXED = TableEncoder(
    (
        ColumnEncoder("price"),
        ColumnEncoder("town", "category", TOWNS),
        ColumnEncoder("color", "category", ("", "blue", "red")),
        ColumnEncoder("sold", "boolean", ("no", "yes")),
        ColumnEncoder("born", "date", format="ISO8601", has_time=True),
        ColumnEncoder("rooms"),
    ),
    imputes=True,
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """An empty run folder."""
    folder = tmp_path / "a run"
    folder.mkdir()
    return Run(RunDirectory(folder))


@pytest.fixture
def trained(run: Run) -> Callable[..., TrainedModel]:
    """Builds a trained network with random weights and a plausible scaling."""

    def make(
        task: Task = "multiclass",
        *,
        encoder: TableEncoder | ImageEncoder | None = None,
        network: nn.Module | None = None,
        loss: nn.Module | None = None,
        outputs: int | None = None,
        **others: Any,
    ) -> TrainedModel:
        encoder = encoder or TableEncoder.from_names(["a", "b", "c", "d"])
        inputs, random = len(encoder.names), np.random.default_rng(1)
        classes = {"multiclass": ("cat", "dög", 'a "bird"'), "binary": ("no", "yes")}.get(task, ())
        outputs = outputs or {"multiclass": 3, "binary": 1, "regression": 2}[task]
        shift, scale = random.normal(size=inputs) * 3, random.uniform(0.5, 2, size=inputs)
        for column in encoder.embeddings:
            shift[column], scale[column] = 0.0, 1.0
        fill = tuple(random.normal(size=inputs)) if encoder.imputes else ()
        generator = torch.Generator().manual_seed(2)
        settings = {
            "checkpoint": run.folder.best,
            "config": {"name": "mine"},
            "class_names": classes,
            "target_names": ("height", "weight")[:outputs] if task == "regression" else (),
            "scaling": Scaling("standard", tuple(shift), tuple(scale), fill),
            "target_scaling": Scaling("standard", (100.0, 5.0)[:outputs], (20.0, 3.0)[:outputs])
            if task == "regression"
            else Scaling("none", (0.0,), (1.0,)),
        }
        network = network or Network(
            [inputs, 8, 6, outputs], embeddings=encoder.embeddings, generator=generator
        )
        return TrainedModel(
            run=run,
            network=network.eval(),
            loss=loss or LOSSES[DEFAULT_LOSS[task]](),
            task=task,
            encoder=encoder,
            **(settings | others),
        )

    return make


class Mixed:
    """A table with a column of each kind."""

    encoder = MIXED
    without_dates = replace(MIXED, columns=tuple(c for c in MIXED.columns if c.kind != "date"))

    @staticmethod
    def rows(count: int) -> pd.DataFrame:
        """Rows with unknown categories and missing cells."""
        random = np.random.default_rng(4)
        seconds = random.integers(-(10**9), 2 * 10**9, count)
        frame = pd.DataFrame(
            {
                "rooms": random.integers(1, 9, count).astype(np.float32),
                "born": pd.to_datetime(seconds, unit="s"),
                "price": random.normal(100, 30, count).astype(np.float32),
                "town": random.choice([*TOWNS, "elsewhere"], count),
                "color": random.choice(["", "blue", "red", "pink"], count),
                "sold": random.choice(["no", "yes", "Yes", "NO", ""], count),
            }
        )
        frame.loc[::7, "price"] = np.nan
        frame.loc[1::5, "born"] = pd.NaT
        return frame


@pytest.fixture
def page() -> dict[str, Any]:
    """What the code of docs/export.md defines, and `lines` of code by mark."""
    return PAGE_CODE


@pytest.fixture
def mixed() -> type[Mixed]:
    """A table with a column of each kind."""
    return Mixed


@pytest.fixture
def numbers() -> Callable[..., np.ndarray]:
    """Builds rows of numbers."""

    def make(rows: int, columns: int = 4) -> np.ndarray:
        found = np.random.default_rng(3).normal(size=(rows, columns)) * 3
        return found.astype(np.float32)

    return make
