import numpy as np
import pytest
import torch
from lightning.pytorch import Callback

from brainnet.learning.loss import BinaryCrossEntropy
from brainnet.structure.network import Network
from brainnet.training.fit import fit


class Spoils(Callback):
    """Ruins the network as its last epoch begins."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 2:
            pl_module.network.layers[-1].bias.value.data.fill_(1000.0)


def test_the_best_loss_is_that_of_the_network_it_comes_with(start, moons):
    result = start(data=moons, callbacks=[Spoils()], trainer={"max_epochs": 3})
    inputs, truths = moons.take("validation")
    with torch.no_grad():
        loss = BinaryCrossEntropy()(result.network(inputs), truths).item()
    assert result.best == pytest.approx(loss)
    assert result.best < 100 < result.metrics["loss/validation"]


@pytest.mark.parametrize(("rate", "told"), [(0.01, False), (1e4, True)], ids=["learns", "explodes"])
def test_a_loss_that_ends_far_above_its_start_is_told(start, moons, rate, told):
    result = start(
        data=moons,
        network=Network([2, 8, 1], generator=torch.Generator().manual_seed(0)),
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=rate),
        trainer={"max_epochs": 2},
    )
    began, ended = result.untrained_loss, result.metrics["loss/train"]
    assert began == pytest.approx(0.7, abs=0.2)
    line = f"the loss ended at {ended:.3g}, it began at {began:.3g}: try a smaller optimizer.lr"
    assert (line in result.summary) is told


def test_numbers_of_numpy_leave_checkpoints_of_plain_values(tmp_path):
    numbers = {"epochs": np.int64(1), "batch_size": np.int64(16), "seed": np.int64(3)}
    rate = {"learning_rate": np.float32(0.25)}
    network = Network([4, 3])
    result = fit(network, "iris", folder=tmp_path / "run", progress=False, **numbers, **rate)
    kept = torch.load(result.folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["optimizer_states"][0]["param_groups"][0]["lr"] == 0.25
