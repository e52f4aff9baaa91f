"""A run to be portrayed: a small network that learned two classes, with its readings."""

import pytest
import torch

from brainnet.explanation.report import InspectedRows, RunData, RunFacts
from brainnet.explanation.row_explanation import Question
from brainnet.explanation.signal_names import SignalNames
from brainnet.learning.loss import CrossEntropy, MeanSquaredError
from brainnet.observation.reading import LayerReading, Reading
from brainnet.structure.network import Network


def layers(blame, ratio):
    return (
        LayerReading("hidden_1", update_ratio=ratio, blame=blame, gradient_norm=2 * blame),
        LayerReading("output", update_ratio=3 * ratio, blame=1 - blame, gradient_norm=1.0),
    )


def reading(step, loss, promised, fell, blame, ratio):
    return Reading(
        step,
        epoch=0,
        loss=loss,
        learning_rate=0.1,
        gradient_norm=loss,
        forward_seconds=0.001 * (step + 1),
        predicted_decrease=promised,
        actual_decrease=fell,
        layers=layers(blame, ratio),
    )


READINGS = (
    reading(0, 1.2, 0.4, 0.2, 0.25, 0.01),
    reading(5, 0.8, 0.2, -0.1, 0.5, 0.02),
    reading(10, 0.5, 0.1, 0.1, 0.75, 0.03),
)


def rows(part, start, count, task):
    generator = torch.Generator().manual_seed(start)
    inputs = torch.randn(count, 3, generator=generator)
    targets = (inputs[:, 0] > 0).long() if task != "regression" else inputs[:, :1] * 2 + 1
    return InspectedRows(part, torch.arange(start, start + count), inputs, targets)


def make(task, *, outputs, readings=READINGS, with_rows=True, activation="threshold_ramp"):
    loss = MeanSquaredError() if task == "regression" else CrossEntropy()
    names = ("height",) if task == "regression" else ("low", "high")
    question = Question(
        task, loss, SignalNames(("x", "y", "z"), names), loss.answer, loss.probabilities
    )
    generator = torch.Generator().manual_seed(0)
    parts = [
        rows("train", 0, 40, task),
        rows("validation", 40, 8, task),
        rows("test", 48, 12, task),
    ]
    return RunData(
        Network([3, 6, outputs], activation, generator=generator).eval(),
        question,
        RunFacts(
            "runs/it", "best.ckpt", "Adam", 0.1, "WarmupCosine", 8, 11, 2, {"accuracy/test": 0.5}
        ),
        tuple(parts) if with_rows else (),
        readings,
    )


@pytest.fixture
def classes():
    return make("multiclass", outputs=2)


@pytest.fixture
def numbers():
    return make("regression", outputs=1)


@pytest.fixture
def without_rows():
    return make("multiclass", outputs=2, with_rows=False)


@pytest.fixture
def unobserved():
    return make("multiclass", outputs=2, readings=())


@pytest.fixture
def smooth():
    return make("multiclass", outputs=2, activation="tanh")
