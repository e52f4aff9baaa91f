"""Activity counters: how often each neuron was silent, on its ramp, firing, or not finite."""

from __future__ import annotations

import os
import threading
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from brainnet.errors import InputError

COUNTER_NAMES = ("silent", "ramp", "firing", "not_finite")

# Threads may share counters, and PyTorch releases Python's lock during an operation.
_lock = threading.Lock()

# A forked child would otherwise inherit the lock as held by a thread that it does not have.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )


@dataclass(frozen=True, slots=True)
class NeuronCounts:
    """Activity since counting began, as plain numbers with one entry per neuron.

    Attributes:
        silent: number of inputs with an output of exactly 0.
        ramp: number of inputs with an output between 0 and 1.
        firing: number of inputs with an output of exactly 1.
        not_finite: number of NaN or infinite inputs, which no other field includes.
        sum: sum of the outputs.
        sum_of_squares: sum of the squared outputs.
    """

    silent: tuple[int, ...]
    ramp: tuple[int, ...]
    firing: tuple[int, ...]
    not_finite: tuple[int, ...]
    sum: tuple[float, ...]
    sum_of_squares: tuple[float, ...]


def create_counters(
    neurons: int, *, device: torch.device | str | None = None
) -> tuple[Tensor, Tensor]:
    """Create zeroed counters for :func:`threshold_ramp`; reset them with `zero_()`.

    Counts are integers and stay exact for any number of calls and of CPU threads (in compiled
    regions, of one thread at a time). A recomputed forward pass is counted again: activation
    checkpointing (`torch.utils.checkpoint`) counts rows twice, unless it stops before the ramp.

    Sums include the outputs of finite inputs only, as float64 (float32 on MPS, which lacks
    float64). The C++ and CUDA kernels first add a few values in the dtype of the computation, so
    the relative error of a sum is up to 5e-7.

    Shape:
        counts: (4, neurons) int64
        sums:   (2, neurons)
    """
    counts = torch.zeros(len(COUNTER_NAMES), neurons, dtype=torch.int64, device=device)
    sums = torch.zeros(2, neurons, dtype=_sum_dtype(counts.device), device=device)
    return counts, sums


def read_counters(counters: tuple[Tensor, Tensor]) -> NeuronCounts:
    """Return the counters as plain numbers.

    Example:
        >>> counts, sums = create_counters(2)
        >>> read_counters((counts.add_(3), sums)).silent
        (3, 3)
    """
    return NeuronCounts(*(tuple(row) for counter in counters for row in counter.tolist()))


@torch.no_grad()
def update_counters(
    input: Tensor, output: Tensor, dim: int, counters: tuple[Tensor, Tensor]
) -> None:
    """Add the activity of the neurons along `dim` to the counters: the reference, in ATen."""
    counts, sums = counters
    input, output = input.detach(), output.detach()
    finite = input.isfinite()
    silent, firing = finite & (output == 0), finite & (output == 1)
    kinds = torch.stack([silent, finite & ~silent & ~firing, firing, ~finite])
    values = torch.where(finite, output, 0.0).to(sums.dtype)
    new_counts = _sum_per_neuron(kinds, dim, input.dim())
    new_sums = _sum_per_neuron(torch.stack([values, values.square()]), dim, input.dim())
    # Compilers cannot trace a lock.
    with nullcontext() if torch.compiler.is_compiling() else _lock:
        counts.add_(new_counts)
        sums.add_(new_sums)


def check_counters(input: Tensor, dim: int, counters: tuple[Tensor | None, Tensor | None]) -> None:
    """Check that `counters` fit the neurons along `dim`.

    Raises:
        InputError: their kind, shape, dtype or device differs from that of `create_counters`.
    """
    if counters[0] is None and counters[1] is None:
        return
    neurons = input.shape[dim] if input.dim() else 1
    sum_dtype = _sum_dtype(input.device)
    needed = ((4, neurons), torch.int64), ((2, neurons), sum_dtype)
    if not all(
        isinstance(counter, Tensor)
        and (tuple(counter.shape), counter.dtype) == expected
        and counter.device == input.device
        and counter.is_contiguous()
        for counter, expected in zip(counters, needed, strict=True)
    ):
        received = " and ".join(_describe(counter) for counter in counters)
        raise InputError(
            f"for {neurons} neurons along dim={dim}, counters must be int64 of shape "
            f"(4, {neurons}) and {str(sum_dtype)[6:]} of shape (2, {neurons}), contiguous and on "
            f"{input.device}; got {received}. Create them with create_counters({neurons}, "
            f'device="{input.device}").'
        )


def _describe(counter: object) -> str:
    if not isinstance(counter, Tensor):
        return type(counter).__name__
    note = "" if counter.is_contiguous() else ", not contiguous"
    return f"{str(counter.dtype)[6:]} of shape {tuple(counter.shape)} on {counter.device}{note}"


def _sum_dtype(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64


def _sum_per_neuron(stacked: Tensor, dim: int, dims: int) -> Tensor:
    """Sum over all dimensions except the first (the kinds) and that of the neurons."""
    if dims == 0:
        return stacked.unsqueeze(-1)
    others = [1 + index for index in range(dims) if index != dim % dims]
    return stacked.sum(others) if others else stacked
