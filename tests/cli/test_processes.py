"""Processes that have to share the cores of one processor are told of."""

import os

import pytest
import torch

from brainnet.cli.train import crowded
from brainnet.errors import InputError


@pytest.fixture(autouse=True)
def two_cores_alone(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize("accelerator", ["cpu", "auto"])
def test_more_processes_than_cores(accelerator):
    said = crowded({"accelerator": accelerator, "devices": 4})
    assert said.startswith("4 processes share the 2 cores of this processor")


def test_far_more_processes_than_cores_are_refused():
    assert crowded({"devices": 8})
    with pytest.raises(InputError, match=r"Set trainer\.devices=2"):
        crowded({"devices": 9})


@pytest.mark.parametrize(
    "trainer",
    [
        {"accelerator": "cpu", "devices": 2},
        {"accelerator": "cpu", "devices": "auto"},
        {"accelerator": "cpu"},
        {"accelerator": "gpu", "devices": 4},
    ],
)
def test_enough_cores(trainer):
    assert crowded(trainer) == ""


def test_other_devices_need_no_cores(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert crowded({"devices": 4}) == ""
