import pytest
import torch
import yaml
from torch import nn

from brainnet.config.components import build_network
from brainnet.config.instantiate import Builder, TargetAllowList
from brainnet.data.datamodule import DataModule
from brainnet.data.datasets import Spirals
from brainnet.learning.loss import CrossEntropy
from brainnet.structure.activation import ACTIVATIONS, ThresholdRamp
from brainnet.structure.network import Network
from brainnet.training.assembly import describe_data, describe_module, describe_network
from brainnet.training.run_directory import to_plain


def test_data_are_told_with_every_option_that_the_split_follows_from():
    data = DataModule(Spirals(rows=300), batch_size=8, normalize="minmax", validation=0.1, test=0.2)
    told = describe_data(data)
    assert told["_target_"] == "brainnet.data.datasets.Spirals"
    assert (told["rows"], told["batch_size"], told["normalize"]) == (300, 8, "minmax")
    assert (told["validation"], told["test"], told["normalize_targets"]) == (0.1, 0.2, True)


def test_a_name_is_told_as_its_class():
    assert describe_data(DataModule("iris"))["_target_"] == "brainnet.data.datasets.Iris"


def test_arrays_are_named_but_not_stored():
    told = describe_data(DataModule(([[0.0], [1.0], [2.0]] * 9, [0.5, 1.5, 2.5] * 9)))
    assert (told["_target_"], told["name"]) == (None, "arrays")


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_told_so_that_it_can_be_built_again(name):
    kind = ACTIVATIONS[name]
    told = describe_module(kind())
    assert told.pop("_target_") == f"{kind.__module__}.{kind.__qualname__}"
    assert repr(kind(**told)) == repr(kind())


def test_options_are_told():
    ramp = ThresholdRamp(0.5, 2.0, 0.01, learn_width=True)
    told = describe_module(ramp)
    assert told["threshold"] == 0.5
    assert told["width"] == 2.0
    assert told["leak"] == 0.01
    assert told["learn_width"] is True
    assert describe_module(CrossEntropy(0.1))["label_smoothing"] == 0.1


def test_a_network_is_told_by_its_sizes():
    told = describe_network(Network([3, 5, 2], "relu", bias=False))
    assert told["network"] == {
        "_target_": "brainnet.structure.network.Network",
        "hidden": [5],
        "inputs": 3,
        "outputs": 2,
        "bias": False,
    }
    assert told["activation"] == {"_target_": "torch.nn.modules.activation.ReLU"}


def test_a_network_of_others_is_told_by_its_class():
    told = describe_network(nn.Sequential(nn.Linear(2, 1)))
    assert told["network"]["_target_"] == "torch.nn.modules.container.Sequential"


def test_embeddings_are_told_so_that_the_network_can_be_built_again():
    network = Network([4, 6, 2], ThresholdRamp(0.25), embeddings={1: 3, 3: 50})
    told = yaml.safe_load(yaml.safe_dump(to_plain({"seed": 0, **describe_network(network)})))
    again = build_network(told, Builder(TargetAllowList()), inputs=4, outputs=2)
    again.load_state_dict(network.state_dict())
    rows = torch.tensor([[0.5, 2.0, -1.0, 49.0], [0.0, 0.0, 1.0, 7.0]])
    assert torch.equal(again(rows), network(rows))
