"""Float64 numbers written bit by bit, for devices that compute in float32 and integers alone."""

from __future__ import annotations

import torch
from torch import Tensor

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
