"""Untouched: asking a network for answers in the middle of things, and leaving it as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; modes and random numbers are afterwards as they were."""
    modes = [(part, part.training) for part in module.modules()]
    devices = {parameter.device for parameter in module.parameters()}
    cuda = [device for device in devices if device.type == "cuda"]
    with torch.no_grad(), torch.random.fork_rng(cuda):
        module.eval()
        try:
            yield
        finally:
            for part, training in modes:
                part.training = training
