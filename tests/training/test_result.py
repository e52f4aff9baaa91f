import numpy as np
import pytest
import torch

from brainnet.learning.loss import BinaryCrossEntropy
from brainnet.structure.network import Network
from brainnet.training.run import fit


def hasty(parameters):
    return torch.optim.SGD(parameters, lr=30.0)


def test_the_best_loss_is_that_of_the_network_it_comes_with(start, moons):
    result = start(data=moons, optimizer=hasty, trainer={"max_epochs": 6})
    inputs, truths = moons.validation
    with torch.no_grad():
        loss = BinaryCrossEntropy()(result.network(inputs), truths).item()
    assert result.best == pytest.approx(loss)
    assert result.best < result.metrics["loss/validation"]


def test_numbers_of_numpy_leave_checkpoints_of_plain_values(tmp_path):
    numbers = {"epochs": np.int64(1), "batch_size": np.int64(16), "seed": np.int64(3)}
    rate = {"learning_rate": np.float32(0.25)}
    network = Network([4, 3])
    result = fit(network, "iris", folder=tmp_path / "run", progress=False, **numbers, **rate)
    kept = torch.load(result.folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["optimizer_states"][0]["param_groups"][0]["lr"] == 0.25
