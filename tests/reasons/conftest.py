"""Networks and questions that the tests of this folder ask."""

import pytest
import torch

from brainnet.data.scaling import Scaling
from brainnet.explanation.row_explanation import Question
from brainnet.explanation.signal_names import SignalNames
from brainnet.learning.loss import BinaryCrossEntropy, CrossEntropy, MeanSquaredError
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
    labels = SignalNames(INPUTS, ("tea", "coffee", "milk"))
    return Question("multiclass", loss, labels, loss.answer, loss.probabilities, zero="nothing")


@pytest.fixture
def yes_or_no():
    loss = BinaryCrossEntropy()
    labels = SignalNames(INPUTS, ("no", "yes"))
    return Question("binary", loss, labels, loss.answer, loss.probabilities)


@pytest.fixture
def numbers():
    loss = MeanSquaredError()
    scaling = Scaling("standard", (100.0, 5.0), (10.0, 2.0))
    labels = SignalNames(INPUTS, ("price", "weight"))
    return Question("regression", loss, labels, loss.answer, loss.probabilities, scaling)
