"""Counters: how often each neuron was silent, on its ramp, firing, or given what is not finite."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

import torch
from torch import Tensor

COUNTER_NAMES = ("silent", "ramp", "firing", "not_finite")

SUMMED = ("sum", "sum_of_squares")

# Threads may share counters, and an op of PyTorch runs without Python's lock.
_adding = threading.Lock()

if hasattr(os, "register_at_fork"):  # a child must not find it locked by a thread that it lacks
    os.register_at_fork(
        before=_adding.acquire, after_in_parent=_adding.release, after_in_child=_adding.release
    )


@dataclass(frozen=True, slots=True)
class NeuronCounts:
    """What the neurons did since counting began: plain numbers, one entry per neuron.

    Attributes:
        silent: how many inputs gave an output of exactly 0.
        ramp: how many gave one between 0 and 1.
        firing: how many gave exactly 1.
        not_finite: how many were NaN or infinite; those count nowhere else.
        sum: of the outputs.
        sum_of_squares: of the outputs.
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
    """Zeros to count into: buffers for :func:`threshold_ramp`'s `counters`, emptied by `zero_()`.

    Counts are integers, so they stay exact however long they are added up, by however many threads
    on the CPU (in a compiled region, one at a time). What is computed again is counted again:
    activation checkpointing (`torch.utils.checkpoint`) counts rows twice, unless it stops before
    the ramp is computed to its end.

    Sums are those of the outputs (float64; float32 on MPS, which has no other), over finite inputs
    alone; the C++ kernel first adds up a few in the dtype it computes in, so each is right to 5e-7
    of itself.

    Shape:
        counts: (4, neurons) int64
        sums:   (2, neurons)
    """
    on_mps = device is not None and torch.device(device).type == "mps"
    counts = torch.zeros(len(COUNTER_NAMES), neurons, dtype=torch.int64, device=device)
    dtype = torch.float32 if on_mps else torch.float64
    return counts, torch.zeros(len(SUMMED), neurons, dtype=dtype, device=device)


def read_counters(counters: tuple[Tensor, Tensor]) -> NeuronCounts:
    """Bring both home in one copy.

    Example:
        >>> counts, sums = new_counters(2)
        >>> read_counters((counts.add_(3), sums)).silent
        (3, 3)
    """
    counts, sums = counters
    # As bits: an integer beyond 2^53 would not survive as a float64.
    exact = sums if sums.dtype == torch.float64 else sums.cpu().double()  # MPS, in a second copy
    home = torch.cat([counts.to(exact.device), exact.view(torch.int64)]).cpu()
    counted = home[: len(COUNTER_NAMES)].tolist()
    summed = home[len(COUNTER_NAMES) :].view(torch.float64).tolist()
    return NeuronCounts(*map(tuple, counted), *map(tuple, summed))


@torch.no_grad()
def update_counters(
    input: Tensor, output: Tensor, dim: int, counters: tuple[Tensor, Tensor]
) -> None:
    """Add what is seen at the neurons along `dim` to the counters: the reference, in ATen."""
    counts, sums = counters
    input, output = input.detach(), output.detach()
    finite = input.isfinite()
    silent, firing = finite & (output == 0), finite & (output == 1)
    kinds = torch.stack([silent, finite & ~silent & ~firing, firing, ~finite])
    values = torch.where(finite, output, 0.0).to(sums.dtype)
    more = _per_neuron(kinds, dim, input.dim())
    more_sums = _per_neuron(torch.stack([values, values.square()]), dim, input.dim())
    if torch.compiler.is_compiling():  # which traces no lock
        counts.add_(more)
        sums.add_(more_sums)
        return
    with _adding:
        counts.add_(more)
        sums.add_(more_sums)


def _per_neuron(stacked: Tensor, dim: int, dims: int) -> Tensor:
    """Sum all but the first dimension (the kinds) and the neurons'."""
    if dims == 0:
        return stacked.unsqueeze(-1)
    others = [1 + place for place in range(dims) if place != dim % dims]
    return stacked.sum(others) if others else stacked
