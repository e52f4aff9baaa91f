"""The reference of tensor statistics in plain ATen: the truth every path equals, on any device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from brainnet.kernels import statistics_bits
from brainnet.kernels.statistics_layout import LAYOUT

RUN = 16384  # below the size from which PyTorch splits one sum among threads


def has_float64(device: torch.device) -> bool:
    """Whether the device computes in float64; Apple's GPUs do not."""
    return device.type != "mps"


def table_of(tensors: Sequence[Tensor], device: torch.device) -> Tensor:
    """One row of statistics per tensor, all on that device."""
    rows = [row(tensor) for tensor in tensors]
    return torch.stack(rows) if rows else empty_table(0, device)


def merge_into(table: Tensor, other: Tensor) -> None:
    """Add the rows of one table to those of another, in float64 and in that order."""
    low = torch.minimum(_floats(table, LAYOUT.minimum), _floats(other, LAYOUT.minimum))
    high = torch.maximum(_floats(table, LAYOUT.maximum), _floats(other, LAYOUT.maximum))
    sums = slice(LAYOUT.sum, LAYOUT.sum_of_squares + 1)
    both = table.view(torch.float64)[:, sums] + other.view(torch.float64)[:, sums]
    table += other
    table[:, LAYOUT.minimum] = low.view(torch.int64)
    table[:, LAYOUT.maximum] = high.view(torch.int64)
    table[:, sums] = both.view(torch.int64)


def _floats(table: Tensor, column: int) -> Tensor:
    return table.view(torch.float64)[:, column]


def row(tensor: Tensor) -> Tensor:
    """One tensor's statistics, as a row of the table."""
    values = tensor.detach().resolve_neg().reshape(-1)
    if values.dtype.itemsize < torch.float32.itemsize:
        values = values.float()
    if values.numel() == 0:
        return empty_table(1, values.device)[0]
    finite = values.isfinite()
    counts = histogram(values, finite)
    sizes = torch.stack([counts.sum(), counts[-1]])
    spans = has_float64(values.device)
    moments = float64_moments(values, finite) if spans else integer_moments(values, finite)
    return torch.cat([sizes, moments, counts[:-1]])


def empty_table(rows: int, device: torch.device) -> Tensor:
    """Rows of no elements at all, which change nothing that they are added to."""
    table = torch.zeros(rows, LAYOUT.width, dtype=torch.int64, device=device)
    table[:, LAYOUT.minimum].fill_(statistics_bits.INFINITY)
    table[:, LAYOUT.maximum].fill_(statistics_bits.MINUS_INFINITY)
    return table


def histogram(values: Tensor, finite: Tensor) -> Tensor:
    """Counts of all bins, read off the bits of the floats, and of non-finite values at the end."""
    wide = values.dtype == torch.float64
    bits = values.view(torch.int64 if wide else torch.int32)
    magnitude = bits & (2**63 - 1 if wide else 2**31 - 1)
    bias, mantissa = (1023, 52) if wide else (127, 23)
    # Exponent and two bits of mantissa, read as one number, count quarters of an octave.
    step = (magnitude >> (mantissa - 2)) - (bias + LAYOUT.lowest) * LAYOUT.per_octave
    distance = (step.clamp(-1, LAYOUT.steps) + 2) * (magnitude != 0)
    bin = torch.where(bits < 0, -distance, distance) + (LAYOUT.steps + 2)
    bin = torch.where(finite, bin, LAYOUT.bins).long()
    if bin.device.type == "cpu":
        return torch.bincount(bin, minlength=LAYOUT.bins + 1)
    # Elsewhere bincount waits for the device.
    counts = torch.zeros(LAYOUT.bins + 1, dtype=torch.int64, device=bin.device)
    return counts.scatter_add_(0, bin, torch.ones_like(bin))


def float64_moments(values: Tensor, finite: Tensor) -> Tensor:
    """Minimum, maximum, sum and sum of squares of the finite values, as bits of float64."""
    kept = torch.where(finite, values, 0.0).double()
    low = torch.where(finite, values, torch.inf).amin().double() + 0.0  # of two zeros, the positive
    high = torch.where(finite, values, -torch.inf).amax().double() + 0.0
    moments = torch.stack([low, high, ordered_sum(kept), ordered_sum(kept.square())])
    return moments.view(torch.int64)


def ordered_sum(values: Tensor) -> Tensor:
    """The sum, in an order that depends on the size alone and not on the number of threads."""
    while values.numel() > RUN:
        whole = values.numel() // RUN * RUN
        rest = values[whole:].sum(0, keepdim=True)
        values = torch.cat([values[:whole].view(-1, RUN).sum(1), rest])
    return values.sum()


def integer_moments(values: Tensor, finite: Tensor) -> Tensor:
    """The same from float32 values by integers alone, for devices without float64.

    Each value is scaled by the largest and cut into two integers of 30 bits, whose sums are exact
    up to 2^31 elements: the sum errs by less than 2^-60 of the largest magnitude per element and
    2^-52 of itself. Squares are rounded to float32 first: their sum errs by 2^-24 of itself.
    """
    kept = torch.where(finite, values, 0.0)
    low = torch.where(finite, values, torch.inf).amin()
    high = torch.where(finite, values, -torch.inf).amax()
    exponent = statistics_bits.exponent_of(kept.abs().amax())
    # In two steps, because 2^149 is not a float32.
    half = torch.div(exponent, 2, rounding_mode="floor")
    scaled = kept * statistics_bits.power_of_two(-half)
    scaled = scaled * statistics_bits.power_of_two(half - exponent)
    return torch.stack(
        [
            statistics_bits.widened(low),
            statistics_bits.widened(high),
            statistics_bits.sum_of(scaled, exponent),
            statistics_bits.sum_of(scaled.square(), 2 * exponent),
        ]
    )
