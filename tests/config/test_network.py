"""Network of a run, built from its configuration."""

import pytest
import torch

from brainnet.config import network as network_module
from brainnet.config.instantiate import TargetAllowList
from brainnet.config.network import build_network
from brainnet.errors import InputError

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


def build_dense(config, **sizes):
    network = {"_target_": NETWORK, "hidden": [5]}
    activation = {"_target_": "torch.nn.ReLU"}
    config = {"network": network, "activation": activation, "seed": 0} | config
    return build_network(config, NONE, **sizes)


def test_memory_of_weights_and_gradients_is_checked(monkeypatch):
    # 3 * 5 + 5 * 2 weights and as many gradients, 4 bytes each
    monkeypatch.setattr(network_module, "get_total_memory", lambda: 200)
    assert build_dense({}, inputs=3, outputs=2).sizes == (3, 5, 2)
    monkeypatch.setattr(network_module, "get_total_memory", lambda: 199)
    with pytest.raises(InputError, match=r"needs 2e-07 GB .* this machine has 1.99e-07 GB"):
        build_dense({}, inputs=3, outputs=2)


def test_memory_is_not_checked_where_the_system_does_not_report_it(monkeypatch):
    monkeypatch.setattr(network_module, "get_total_memory", lambda: None)
    network_module._check_memory([10**12, 10**12])
