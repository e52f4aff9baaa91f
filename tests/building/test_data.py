"""The data of a stored configuration are the rows that the run had, to the bit."""

import pytest
import torch

from brainnet.building.build import Build
from brainnet.building.data import data_from
from brainnet.building.targets import Consent
from brainnet.data.builtin import Moons
from brainnet.data.module import DataModule
from brainnet.errors import InputError
from brainnet.training.description import describe_data


def test_described_data_are_built_again():
    data = DataModule(Moons(rows=60, noise=0.3), batch_size=7, validation=0.2, seed=5)
    again = data_from({"data": describe_data(data), "seed": 5}, Build(Consent()))
    assert again.batch_size == 7
    for part in ("train", "validation", "test"):
        for own, built in zip(getattr(data, part), getattr(again, part), strict=True):
            assert torch.equal(own, built)


def test_a_key_that_is_none_of_the_sources_is_refused():
    options = {"_target_": "brainnet.data.builtin.Moons", "nosie": 0.1}
    with pytest.raises(InputError, match="noise"):
        data_from({"data": options, "seed": 0}, Build(Consent()))
