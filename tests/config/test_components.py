"""Components: data, network and loss built from a configuration."""

import pytest
import torch
from torch import nn

from brainnet.config.components import build_datamodule, build_network_and_loss
from brainnet.config.instantiate import TargetAllowList
from brainnet.data.datamodule import DataModule
from brainnet.data.datasets import Moons
from brainnet.errors import InputError
from brainnet.training.assembly import describe_data

NONE = TargetAllowList()


def test_described_data_are_rebuilt_exactly():
    data = DataModule(Moons(rows=60, noise=0.3), batch_size=7, validation=0.2, seed=5)
    rebuilt = build_datamodule({"data": describe_data(data), "seed": 5}, NONE)
    assert rebuilt.batch_size == 7
    for part in ("train", "validation", "test"):
        for before, after in zip(data.take(part), rebuilt.take(part), strict=True):
            assert torch.equal(before, after)


def test_unknown_key_of_the_data_is_rejected():
    options = {"_target_": "brainnet.data.datasets.Moons", "nosie": 0.1}
    with pytest.raises(InputError, match="Did you mean noise"):
        build_datamodule({"data": options, "seed": 0}, NONE)


@pytest.mark.parametrize(("outputs", "loss"), [(1, "BinaryCrossEntropy"), (2, "CrossEntropy")])
def test_automatic_loss_fits_the_outputs_of_the_network(outputs, loss):
    config = {
        "network": {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": outputs},
        "activation": {},
        "loss": {"_target_": None},
        "seed": 0,
    }
    data = DataModule(Moons(rows=60), seed=0)
    network, chosen = build_network_and_loss(config, data, NONE)
    assert isinstance(network, nn.Linear)
    assert type(chosen).__name__ == loss
    assert config["loss"]["_target_"].endswith(f".{loss}")
    assert (config["network"]["inputs"], config["network"]["outputs"]) == (2, outputs)


def test_configured_size_that_contradicts_the_data_is_rejected():
    config = {"network": {"inputs": 3}, "loss": {"_target_": None}, "seed": 0}
    with pytest.raises(InputError, match=r"network\.inputs=3.*need 2"):
        build_network_and_loss(config, DataModule(Moons(rows=60), seed=0), NONE)
