"""Whether a class of the user's is told the sizes that it asks for."""

import pytest
import torch

from brainnet.config.components import build_network
from brainnet.config.instantiate import Builder, TargetAllowList

MODULE = """
from torch import nn

class Net(nn.Module):
    def __init__(self, image_shape, outputs):
        super().__init__()
        self.image_shape = image_shape
        self.look = nn.Conv2d(image_shape[0], outputs, image_shape[1:])

    def forward(self, inputs):
        return self.look(inputs.view(-1, *self.image_shape)).flatten(1)
"""


@pytest.mark.parametrize(
    ("given", "told"), [((4, 5), (1, 4, 5)), ((3, 4, 5), (3, 4, 5)), ([3, 4, 5], (3, 4, 5))]
)
def test_a_network_that_asks_is_told_the_shape_of_its_pictures(given, told, tmp_path, monkeypatch):
    (tmp_path / "convolving.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    config = {"network": {"_target_": "convolving.Net"}, "activation": {}, "seed": 0}
    build = Builder(TargetAllowList(roots=("convolving",)))
    inputs = told[0] * 20
    network = build_network(config, build, inputs=inputs, outputs=2, image_shape=given)
    assert network.image_shape == told
    assert network(torch.zeros(7, inputs)).shape == (7, 2)
