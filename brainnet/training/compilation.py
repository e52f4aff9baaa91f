"""Compilation: a network's operations fused by `torch.compile`, tried before a run begins."""

import torch
from torch import nn

from brainnet.data.module import DataModule
from brainnet.errors import InputError
from brainnet.observation.untouched import untouched


def compile_network(network: nn.Module, data: DataModule, device: torch.device) -> None:
    """Compile a network in place, and let it answer one batch on the device.

    Its weights keep their names, in checkpoints too. Results agree with those of the network as it
    was, up to rounding. The first steps wait for the compiler; it pays for large networks.

    Args:
        network: afterwards on the device.
        data: what it will learn from.
        device: where it will be trained.

    Raises:
        InputError: it cannot be compiled on this machine.
    """
    network.to(device)
    network.compile()
    rows = data.first("train", data.batch_size)[0].to(next(network.parameters()))
    try:
        with untouched(network):
            network(rows)
    # What goes wrong in a compiler comes as this, or as something derived from it.
    except RuntimeError as error:
        # The first line names the compiler, the second says what it met.
        reason = " ".join(line.strip() for line in str(error).splitlines()[:2])
        raise InputError(
            f"{type(network).__name__} cannot be compiled here: {reason} On a CPU, torch.compile "
            "needs a C++ compiler. Set trainer.compile=false."
        ) from error
