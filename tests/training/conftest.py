"""What the tests of training share: small data, small networks, and how to read curves."""

import pytest
import torch
from torch import nn

from brainnet.data.datamodule import DataModule
from brainnet.data.datasets import Moons
from brainnet.learning.loss import BinaryCrossEntropy
from brainnet.structure.network import Network
from brainnet.training.fit import RunResult, train


@pytest.fixture
def moons():
    """Seventy training rows in batches of ten: seven steps an epoch."""
    return DataModule(Moons(rows=100), batch_size=10)


@pytest.fixture
def network():
    return new_network()


@pytest.fixture
def start(tmp_path):
    """Start a short run, unless told otherwise of `Network([2, 8, 1])` on the moons."""

    def started(network: nn.Module | None = None, data: DataModule | None = None, **options):
        given = {"max_epochs": 2, "accelerator": "cpu", **options.pop("trainer", {})}
        chosen = {
            "loss": BinaryCrossEntropy(),
            "optimizer": adam,
            "folder": None if "resume" in options else tmp_path / "run",
            "progress": False,
            **options,
        }
        data = data or DataModule(Moons(rows=100), batch_size=10)
        result: RunResult = train(network or new_network(), data, trainer=given, **chosen)
        return result

    return started


def new_network() -> Network:
    return Network([2, 8, 1], generator=torch.Generator().manual_seed(0))


def adam(parameters):
    return torch.optim.Adam(parameters, lr=0.01)
