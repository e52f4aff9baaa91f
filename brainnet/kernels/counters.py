"""Activity counters: how often each neuron was silent, on its ramp, firing, or not finite."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from brainnet.errors import InputError
from brainnet.kernels.dispatch import is_transformed

COUNTER_NAMES = ("silent", "ramp", "firing", "not_finite")

# Threads may share counters, and PyTorch releases Python's lock during an operation.
_lock = threading.Lock()


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
    regions, of one thread at a time). A recomputed forward pass, as in activation checkpointing, is
    counted again. Sums include the outputs of finite inputs only, as float64 (float32 on MPS, which
    lacks float64); kernels first add a few values in the dtype of the computation, so the relative
    error of a sum is up to 5e-7.

    Shape:
        counts: (4, neurons) int64
        sums:   (2, neurons)
    """
    counts = torch.zeros(len(COUNTER_NAMES), neurons, dtype=torch.int64, device=device)
    sums = torch.zeros(2, neurons, dtype=_sum_dtype(counts.device), device=device)
    return counts, sums


def read_counters(counters: tuple[Tensor, Tensor]) -> NeuronCounts:
    """Return the counters as plain numbers."""
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


def check_counters(input: Tensor, dim: int, counters: tuple[Tensor | None, ...]) -> None:
    """Check that `counters` fit the neurons along `dim`, and that there is one call to count."""
    if is_transformed():
        raise RuntimeError(
            "counters of threshold_ramp cannot be used inside a function transform (vmap, grad, "
            "jvp ...), which has no single call to count. Pass counters=None, or call "
            "stop_counting() of the ThresholdRamp."
        )
    neurons = input.shape[dim] if input.dim() else 1
    sum_dtype = _sum_dtype(input.device)
    needed = [((4, neurons), torch.int64, input.device), ((2, neurons), sum_dtype, input.device)]
    received = [
        (tuple(counter.shape), counter.dtype, counter.device)
        if isinstance(counter, Tensor) and counter.is_contiguous()
        else "no contiguous tensor"
        for counter in counters
    ]
    if received != needed:
        raise InputError(
            f"for {neurons} neurons along dim={dim}, counters must be int64 of shape "
            f"(4, {neurons}) and {sum_dtype} of shape (2, {neurons}), contiguous and on "
            f"{input.device}; got {received}. Create them with create_counters({neurons}, "
            f'device="{input.device}").'
        )


def _sum_dtype(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64


def _sum_per_neuron(stacked: Tensor, dim: int, dims: int) -> Tensor:
    """Sum over all dimensions except the first (the kinds) and that of the neurons."""
    if dims == 0:
        return stacked.unsqueeze(-1)
    others = [1 + index for index in range(dims) if index != dim % dims]
    return stacked.sum(others) if others else stacked
