"""Compiled: a network under `torch.compile`, known by its own name and keys."""

from typing import Literal

import torch
from torch import nn

from brainnet.data.datamodule import DataModule
from brainnet.errors import InputError
from brainnet.observation.probe import isolated_eval
from brainnet.structure.inspection import unwrap_compiled


def compile_in_place(network: nn.Module) -> nn.Module:
    """Return the network itself where `torch.compile(network)` put another module around it.

    It stays compiled, as by `network.compile()`, but its weights are stored under their own names,
    and not as `_orig_mod.…`.
    """
    own = unwrap_compiled(network)
    compiler = getattr(network, "dynamo_ctx", None)
    if own is not network and compiler is not None and own._compiled_call_impl is None:
        own._compiled_call_impl = compiler(own._call_impl)
    return own


Compile = bool | Literal["graph"]

"""Whether to compile a network; "graph": and to capture what it asks of a CUDA device, which is
then asked for all of it at once."""


def compile_network(
    network: nn.Module,
    data: DataModule,
    device: torch.device,
    how: Compile = True,
    *,
    batches_of_a_step: int = 1,
) -> None:
    """Compile a network in place, and let it answer one batch on the device.

    Its weights keep their names, in checkpoints too. Results agree with those of the network as it
    was, up to rounding. The first steps wait for the compiler; it pays for large networks, and
    captured graphs (PyTorch's CUDA graph trees) for many small steps on a GPU. What a captured
    network answers is overwritten by its next answer.

    Args:
        network: afterwards on the device.
        data: what it will learn from.
        device: where it will be trained.
        how: True, or "graph" on a CUDA device.
        batches_of_a_step: how many of them add up their gradients.

    Raises:
        InputError: it cannot be compiled on this machine, or captured on this device.
    """
    if how == "graph" and batches_of_a_step > 1:
        raise InputError(
            "trainer.compile=graph gives each batch's gradients in the same memory, where they "
            f"cannot add up over trainer.accumulate_grad_batches={batches_of_a_step}. Set "
            "trainer.compile=true, or trainer.accumulate_grad_batches=1 and a larger "
            "data.batch_size."
        )
    if how == "graph" and device.type != "cuda":
        raise InputError(
            f"trainer.compile=graph captures what is asked of a CUDA device, and this run is on "
            f"{device}. Set trainer.compile=true, or trainer=gpu where there is one."
        )
    network.to(device)
    network.compile(mode="reduce-overhead" if how == "graph" else None)
    rows = data.take("train", data.batch_size)[0].to(next(network.parameters()))
    try:
        with isolated_eval(network):
            network(rows)
    # What goes wrong in a compiler comes as this, or as something derived from it.
    except RuntimeError as error:
        # The first line names the compiler, the second says what it met.
        reason = " ".join(line.strip() for line in str(error).splitlines()[:2])
        raise InputError(
            f"{type(network).__name__} cannot be compiled here: {reason} On a CPU, torch.compile "
            "needs a C++ compiler. Set trainer.compile=false."
        ) from error
