"""Untouched: asking a network for answers in the middle of things, and leaving it as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from brainnet.observation.parts import is_steady, parts


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; modes and random numbers are afterwards as they were."""
    everything = list(parts(module))
    training = [part for part in everything if part.training]
    # Most need not be told, and telling them takes as long as thinking.
    told = not all(map(is_steady, training))
    modes = [(part, part.training) for part in everything] if told else []
    devices = {
        parameter.device
        for part in everything
        for parameter in part._parameters.values()
        if parameter is not None
    }
    cuda = [device for device in devices if device.type == "cuda"]
    with torch.no_grad(), torch.random.fork_rng(cuda):
        if told:
            module.eval()
        try:
            yield
        finally:
            for part, mode in modes:
                if part.training != mode:
                    part.training = mode
