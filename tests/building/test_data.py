"""The data of a stored configuration are the rows that the run had, to the bit."""

import pytest
import torch

from brainnet.config.components import build_datamodule
from brainnet.config.instantiate import Builder, TargetAllowList
from brainnet.data.datamodule import DataModule
from brainnet.data.datasets import Moons
from brainnet.errors import InputError
from brainnet.training.assembly import describe_data


def test_described_data_are_built_again():
    data = DataModule(Moons(rows=60, noise=0.3), batch_size=7, validation=0.2, seed=5)
    again = build_datamodule({"data": describe_data(data), "seed": 5}, Builder(TargetAllowList()))
    assert again.batch_size == 7
    for part in ("train", "validation", "test"):
        for own, built in zip(data.take(part), again.take(part), strict=True):
            assert torch.equal(own, built)


def test_a_key_that_is_none_of_the_sources_is_refused():
    options = {"_target_": "brainnet.data.datasets.Moons", "nosie": 0.1}
    with pytest.raises(InputError, match="noise"):
        build_datamodule({"data": options, "seed": 0}, Builder(TargetAllowList()))
