"""Reference implementation of tensor statistics in plain ATen."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from brainnet.kernels import statistics_reference as statistics_bits
from brainnet.kernels.histogram_layout import LAYOUT

INFINITY = 0x7FF << 52

MINUS_INFINITY = INFINITY - 2**63

FRACTION = 30

"""Bits of each of the two integers into which a value is cut."""


def power_of_two(exponent: Tensor) -> Tensor:
    """`2**exponent` as a float32, from -126 to 127, without rounding."""
    return ((exponent.int() + 127) << 23).view(torch.float32)


def parts(values: Tensor) -> tuple[Tensor, Tensor]:
    """Each finite float32 as (integer, exponent), int64: integer * 2**exponent.

    Example:
        >>> integer, exponent = parts(torch.tensor([-1.5, 2.0**-149]))
        >>> integer.tolist(), exponent.tolist()
        ([-12582912, 1], [-23, -149])
    """
    bits = values.view(torch.int32).long()
    exponent = (bits >> 23) & 255
    mantissa = (bits & (2**23 - 1)) + ((exponent > 0) * 2**23)
    return torch.where(bits < 0, -mantissa, mantissa), exponent.clamp(min=1) - 150


def exponent_of(value: Tensor) -> Tensor:
    """The largest power of two that is no greater than a float32 of at least 0; 0 for zero."""
    integer, exponent = parts(value)
    return torch.where(integer > 0, exponent + length(integer) - 1, 0)


def length(integer: Tensor) -> Tensor:
    """Bits of integers of at least 0."""
    rough = integer.float().view(torch.int32).long() >> 23  # rounded up, it may be one too much
    most = (rough - 126).clamp(min=0)
    return most - (((integer >> (most - 1).clamp(min=0)) == 0) & (most > 0)).long()


def float64_bits(integer: Tensor, exponent: Tensor) -> Tensor:
    """Bits of the float64 `integer * 2**exponent`, cut off after 53 bits.

    Example:
        >>> bits = float64_bits(torch.tensor([3, -1, 0]), torch.tensor([-1, 4, 9]))
        >>> bits.view(torch.float64).tolist()
        [1.5, -16.0, 0.0]
    """
    magnitude = integer.abs()
    bits = length(magnitude)
    mantissa = (magnitude << (53 - bits).clamp(min=0)) >> (bits - 53).clamp(min=0)
    # The mantissa's own top bit adds the one that is missing in the exponent.
    whole = ((exponent + bits + 1021) << 52) + mantissa
    signed = torch.where(integer < 0, whole - 2**63, whole)
    return torch.where(magnitude == 0, 0, signed)


def widened(value: Tensor) -> Tensor:
    """Bits of the float64 that equals a float32; of two zeros, the positive."""
    bits = float64_bits(*parts(value))
    outer = torch.where(value > 0, INFINITY, MINUS_INFINITY)
    return torch.where(value.isinf(), outer, bits)


def sum_of(scaled: Tensor, exponent: Tensor) -> Tensor:
    """Bits of the float64 nearest to the sum of float32 values below 4, times 2**exponent."""
    raised = scaled * 2.0**FRACTION
    coarse = raised.round()
    fine = ((raised - coarse) * 2.0**FRACTION).round()
    high, low = coarse.long().sum(), fine.long().sum()
    high, low = high + (low >> FRACTION), low & (2**FRACTION - 1)
    room = (61 - length(high.abs() + 1)).clamp(0, FRACTION)
    together = (high << room) + (low >> (FRACTION - room))
    return float64_bits(together, exponent - FRACTION - room)


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
    counts = histogram(values)
    sizes = torch.stack([counts.sum(), counts[-1]])
    # Asked only where the answer lies in memory: elsewhere it would mean to wait for the device.
    finite = None if _may_ask(values) and not counts[-1] else values.isfinite()
    if has_float64(values.device):
        moments = float64_moments(values, finite)
    else:
        moments = integer_moments(values, values.isfinite())
    return torch.cat([sizes, moments, counts[:-1]])


def _may_ask(values: Tensor) -> bool:
    """Whether a number may decide what is computed: on the CPU, and while nobody traces."""
    return (
        values.device.type == "cpu"
        and type(values) is Tensor
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and not torch._C._len_torch_dispatch_stack()
    )


def empty_table(rows: int, device: torch.device) -> Tensor:
    """Rows of no elements at all, which change nothing that they are added to."""
    table = torch.zeros(rows, LAYOUT.width, dtype=torch.int64, device=device)
    table[:, LAYOUT.minimum].fill_(statistics_bits.INFINITY)
    table[:, LAYOUT.maximum].fill_(statistics_bits.MINUS_INFINITY)
    return table


def histogram(values: Tensor) -> Tensor:
    """Counts of all bins, read off the bits of the floats, and of non-finite values at the end.

    Sign, exponent and the two top bits of the mantissa, read as one number, are counted as they
    come; what falls into which bin is looked up for these few thousand numbers, not for each value.
    """
    wide = values.dtype == torch.float64
    bits = values.view(torch.int64 if wide else torch.int32)
    half = 2**13 if wide else 2**10
    places = (bits >> (50 if wide else 21)) + half
    if places.device.type == "cpu":
        raw = torch.bincount(places, minlength=2 * half)
    else:  # there bincount waits for the device
        places = places.long()
        raw = torch.zeros(2 * half, dtype=torch.int64, device=places.device)
        raw = raw.scatter_add_(0, places, torch.ones_like(places))
    counts = torch.zeros(LAYOUT.bins + 1, dtype=torch.int64, device=raw.device)
    # What is made while somebody traces is not to be kept.
    bins = _kept_bins(wide=wide) if _may_ask(values) else _bins(raw.device, wide=wide)
    counts = counts.index_add_(0, bins, raw)
    # Zeros came with the smallest values of their sign. By their bits: a processor may be set to
    # take the smallest values for zeros.
    positive = bits.numel() - torch.count_nonzero(bits)
    negative = bits.numel() - torch.count_nonzero(bits ^ torch.iinfo(bits.dtype).min)
    middle = LAYOUT.zeros - LAYOUT.first_bin
    counts[middle - 1 : middle + 2] += torch.stack([-negative, negative + positive, -positive])
    return counts


@functools.cache
def _kept_bins(*, wide: bool) -> Tensor:
    return _bins(torch.device("cpu"), wide=wide)


def _bins(device: torch.device, *, wide: bool) -> Tensor:
    """The bin of each sign, exponent and quarter of an octave; one after the last: not finite."""
    bias, exponents = (1023, 2**11) if wide else (127, 2**8)
    half = exponents * LAYOUT.per_octave
    place = torch.arange(half, device=device)
    step = place - (bias + LAYOUT.lowest) * LAYOUT.per_octave
    distance = step.clamp(-1, LAYOUT.steps) + 2
    finite = place < half - LAYOUT.per_octave
    middle = LAYOUT.steps + 2
    upward = torch.where(finite, middle + distance, LAYOUT.bins)
    # Negative numbers come first, read as integers in two's complement, the smallest foremost.
    downward = torch.where(finite, middle - distance, LAYOUT.bins)
    return torch.cat([downward, upward])


def float64_moments(values: Tensor, finite: Tensor | None) -> Tensor:
    """Minimum, maximum, sum and sum of squares of the finite values, as bits of float64.

    Args:
        values: of which
        finite: these count; None where all do.
    """
    if finite is None:
        low, high = values.aminmax()
        kept = values.double()
    else:
        kept = torch.where(finite, values, 0.0).double()
        low = torch.where(finite, values, torch.inf).amin()
        high = torch.where(finite, values, -torch.inf).amax()
    # Of two zeros the positive one is told.
    ends = [low.double() + 0.0, high.double() + 0.0]
    moments = torch.stack([*ends, ordered_sum(kept), ordered_sum(kept * kept)])
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
