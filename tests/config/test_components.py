"""Components: data, network and loss built from a configuration."""

import pytest
import torch
from torch import nn

from brainnet.config import components
from brainnet.config.components import build_datamodule, build_network, build_network_and_loss
from brainnet.config.instantiate import TargetAllowList
from brainnet.data.datamodule import DataModule
from brainnet.data.datasets import Moons
from brainnet.errors import InputError
from brainnet.training.assembly import describe_data

NONE = TargetAllowList()
NETWORK = "brainnet.structure.network.Network"
MODULE = """
from torch import nn

class Net(nn.Module):
    def __init__(self, image_shape, outputs):
        super().__init__()
        self.image_shape = image_shape
        self.convolution = nn.Conv2d(image_shape[0], outputs, image_shape[1:])

    def forward(self, inputs):
        return self.convolution(inputs.view(-1, *self.image_shape)).flatten(1)
"""


@pytest.mark.parametrize(
    ("shape", "expected"), [((4, 5), (1, 4, 5)), ((3, 4, 5), (3, 4, 5)), ([3, 4, 5], (3, 4, 5))]
)
def test_network_with_an_argument_image_shape_receives_it(shape, expected, tmp_path, monkeypatch):
    (tmp_path / "convolving.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    config = {"network": {"_target_": "convolving.Net"}, "activation": {}, "seed": 0}
    allow_list = TargetAllowList(roots=("convolving",))
    inputs = expected[0] * 20
    network = build_network(config, allow_list, inputs=inputs, outputs=2, image_shape=shape)
    assert network.image_shape == expected
    assert network(torch.zeros(7, inputs)).shape == (7, 2)


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


def build_dense(config, **sizes):
    network = {"_target_": NETWORK, "hidden": [5]}
    activation = {"_target_": "torch.nn.ReLU"}
    config = {"network": network, "activation": activation, "seed": 0} | config
    return build_network(config, NONE, **sizes)


def test_memory_of_weights_and_gradients_is_checked(monkeypatch):
    # (3 + 1) * 5 + (5 + 1) * 2 weights and as many gradients, 4 bytes each
    monkeypatch.setattr(components, "get_total_memory", lambda: 256)
    assert build_dense({}, inputs=3, outputs=2).sizes == (3, 5, 2)
    monkeypatch.setattr(components, "get_total_memory", lambda: 255)
    with pytest.raises(InputError, match=r"needs 2.56e-07 GB .* this machine has 2.55e-07 GB"):
        build_dense({}, inputs=3, outputs=2)


def test_memory_of_embeddings_is_checked(monkeypatch):
    # 12 codes of 6 numbers; the first layer has 2 inputs and those 6: (8 + 1) * 5 + (5 + 1) * 2
    needed = 8 * (72 + 57)
    monkeypatch.setattr(components, "get_total_memory", lambda: needed)
    build_dense({}, inputs=3, outputs=2, embeddings={1: 12})
    monkeypatch.setattr(components, "get_total_memory", lambda: needed - 1)
    with pytest.raises(InputError, match="GB of memory"):
        build_dense({}, inputs=3, outputs=2, embeddings={1: 12})


def test_memory_is_not_checked_where_the_system_does_not_report_it(monkeypatch):
    monkeypatch.setattr(components, "get_total_memory", lambda: None)
    components._check_memory([10**12, 10**12], {})


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
