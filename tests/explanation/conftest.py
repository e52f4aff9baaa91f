"""Networks, prediction tasks and a small run for the tests of explanations."""

import pytest
import torch

from brainnet.data.scaling import Scaling
from brainnet.explanation.row_explanation import PredictionTask
from brainnet.explanation.run_data import InspectedRows, RunData
from brainnet.explanation.signal_names import SignalNames
from brainnet.learning.loss import BinaryCrossEntropy, CrossEntropy, MeanSquaredError
from brainnet.observation.reading import LayerReading, Reading
from brainnet.structure.network import Network

INPUTS = ("a", "b", "c", "d")


@pytest.fixture
def seeded():
    def make(sizes):
        return Network(sizes, generator=torch.Generator().manual_seed(3)).eval()

    return make


@pytest.fixture
def row():
    def make(seed=1):
        return torch.randn(1, 4, generator=torch.Generator().manual_seed(seed))

    return make


@pytest.fixture
def classes():
    loss = CrossEntropy()
    names = SignalNames(INPUTS, ("tea", "coffee", "milk"))
    return PredictionTask("multiclass", loss, names, baseline="nothing")


@pytest.fixture
def yes_or_no():
    loss = BinaryCrossEntropy()
    names = SignalNames(INPUTS, ("no", "yes"))
    return PredictionTask("binary", loss, names)


@pytest.fixture
def numbers():
    loss = MeanSquaredError()
    scaling = Scaling("standard", (100.0, 5.0), (10.0, 2.0))
    names = SignalNames(INPUTS, ("price", "weight"))
    return PredictionTask("regression", loss, names, scaling)


def make_reading(step, loss, predicted, actual, blame, ratio):
    layers = (
        LayerReading("hidden_1", update_ratio=ratio, blame=blame, gradient_norm=2 * blame),
        LayerReading("output", update_ratio=3 * ratio, blame=1 - blame, gradient_norm=1.0),
    )
    return Reading(
        step,
        epoch=0,
        loss=loss,
        learning_rate=0.1,
        gradient_norm=loss,
        forward_seconds=0.001 * (step + 1),
        predicted_decrease=predicted,
        actual_decrease=actual,
        layers=layers,
    )


READINGS = (
    make_reading(0, 1.2, 0.4, 0.2, 0.25, 0.01),
    make_reading(5, 0.8, 0.2, -0.1, 0.5, 0.02),
    make_reading(10, 0.5, 0.1, 0.1, 0.75, 0.03),
)


def make_rows(part, start, count, task):
    generator = torch.Generator().manual_seed(start)
    inputs = torch.randn(count, 3, generator=generator)
    targets = (inputs[:, 0] > 0).long() if task != "regression" else inputs[:, :1] * 2 + 1
    return InspectedRows(part, torch.arange(start, start + count), inputs, targets)


def make_run(task, *, outputs, readings=READINGS, with_rows=True, activation="threshold_ramp"):
    loss = MeanSquaredError() if task == "regression" else CrossEntropy()
    names = SignalNames(("x", "y", "z"), ("height",) if task == "regression" else ("low", "high"))
    parts = (("train", 0, 40), ("validation", 40, 8), ("test", 48, 12)) if with_rows else ()
    return RunData(
        Network([3, 6, outputs], activation, generator=torch.Generator().manual_seed(0)).eval(),
        PredictionTask(task, loss, names),
        "runs/it",
        "best.ckpt",
        {
            "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.1},
            "schedule": {"function": "brainnet.learning.schedules.WarmupCosine"},
        },
        {"steps": 11, "epochs": 2, "metrics": {"accuracy/test": 0.5}},
        lambda: tuple(make_rows(*part, task) for part in parts),
        readings,
    )


@pytest.fixture
def class_run():
    return make_run("multiclass", outputs=2)


@pytest.fixture
def number_run():
    return make_run("regression", outputs=1)


@pytest.fixture
def run_without_rows():
    return make_run("multiclass", outputs=2, with_rows=False)


@pytest.fixture
def unobserved_run():
    return make_run("multiclass", outputs=2, readings=())


@pytest.fixture
def tanh_run():
    return make_run("multiclass", outputs=2, activation="tanh")
