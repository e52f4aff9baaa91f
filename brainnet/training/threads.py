"""Threads: a tiny network is computed fastest by one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

# Products of a weight and a signal per batch. Below it a step takes about a millisecond and there
# is nothing to share; on a machine of two busy cores, two threads that wait for each other took 5
# to 15 times as long as one.
_TINY = 2**22

_CHOSEN_BY = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def fitting_threads(network: nn.Module, batch_size: int, device: torch.device) -> Iterator[None]:
    """Compute a tiny network by one thread, unless the user chose a number in the environment."""
    before = torch.get_num_threads()
    chosen = _chosen()
    products = batch_size * sum(weight.numel() for weight in network.parameters())
    tiny = device.type == "cpu" and products < _TINY
    if tiny and not chosen:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def leaving_a_thread() -> Iterator[None]:
    """Compute by one thread less, unless the user chose a number: one reads and writes meanwhile.

    On two cores, two threads that wait for each other took half as much again of the processor.
    """
    before = torch.get_num_threads()
    if not _chosen():
        torch.set_num_threads(max(1, before - 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _chosen() -> bool:
    return any(os.environ.get(variable) for variable in _CHOSEN_BY)
