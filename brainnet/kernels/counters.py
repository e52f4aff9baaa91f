"""Counters: how often each neuron was silent, on its ramp, firing, or given what is not finite."""

from __future__ import annotations

import torch
from torch import Tensor

COUNTED = ("silent", "ramp", "firing", "not_finite")
SUMMED = ("sum", "sum_of_squares")


def new_counters(
    neurons: int, *, device: torch.device | str | None = None
) -> tuple[Tensor, Tensor]:
    """Zeros to count into: buffers for :func:`threshold_ramp`'s `counters`, emptied by `zero_()`.

    Counts are integers, so they stay exact however long they are added up. Sums are those of the
    outputs (float64; float32 on MPS, which has no other), over finite inputs alone.

    Shape:
        counts: (4, neurons) int64
        sums:   (2, neurons)
    """
    on_mps = device is not None and torch.device(device).type == "mps"
    counts = torch.zeros(len(COUNTED), neurons, dtype=torch.int64, device=device)
    dtype = torch.float32 if on_mps else torch.float64
    return counts, torch.zeros(len(SUMMED), neurons, dtype=dtype, device=device)


@torch.no_grad()
def count(input: Tensor, output: Tensor, dim: int, counters: tuple[Tensor, Tensor]) -> None:
    """Add what is seen at the neurons along `dim` to the counters: the reference, in ATen."""
    counts, sums = counters
    input, output = input.detach(), output.detach()
    finite = input.isfinite()
    silent, firing = finite & (output == 0), finite & (output == 1)
    kinds = torch.stack([silent, finite & ~silent & ~firing, firing, ~finite])
    values = torch.where(finite, output, 0.0).to(sums.dtype)
    counts.add_(_per_neuron(kinds, dim, input.dim()))
    sums.add_(_per_neuron(torch.stack([values, values.square()]), dim, input.dim()))


def _per_neuron(stacked: Tensor, dim: int, dims: int) -> Tensor:
    """Sum all but the first dimension (the kinds) and the neurons'."""
    if dims == 0:
        return stacked.unsqueeze(-1)
    others = [1 + place for place in range(dims) if place != dim % dims]
    return stacked.sum(others) if others else stacked
