"""Reference implementation of the threshold ramp in plain ATen operations; it is never optimized.

Every other implementation must agree with it: `clamp((input - threshold) / width, 0, 1)`, where an
output of exactly 0 or 1 counts as outside the ramp.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional

RampParameter = Tensor | float
"""A number, or a tensor that broadcasts against the input without enlarging it."""

_Value = TypeVar("_Value", Tensor, RampParameter)


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype for the arithmetic: float32 for the half types, else the input's own."""
    return torch.float32 if dtype.itemsize < torch.float32.itemsize else dtype


def is_plain_clamp(threshold: RampParameter, width: RampParameter) -> bool:
    """Whether the ramp is `clamp(input, 0, 1)`, for which ATen has one kernel per direction."""
    return (
        not isinstance(threshold, Tensor)
        and not isinstance(width, Tensor)
        and threshold == 0.0
        and width == 1.0
    )


def cast(value: _Value, dtype: torch.dtype) -> _Value:
    """Convert a tensor to `dtype`; numbers are returned unchanged."""
    # `Tensor.to` with the same dtype takes as long as a small kernel.
    is_other = isinstance(value, Tensor) and value.dtype is not dtype
    return value.to(dtype) if is_other else value  # type: ignore[union-attr]


def compute_ramp(input: Tensor, threshold: RampParameter, width: RampParameter) -> Tensor:
    """Return `clamp((input - threshold) / width, 0, 1)`, rounded once; NaN stays NaN."""
    if is_plain_clamp(threshold, width):
        return functional.hardtanh(input, 0.0, 1.0)
    dtype = compute_dtype(input.dtype)
    distance = cast(input, dtype) - cast(threshold, dtype)
    # A subclass may divide several times, and must not do so in place.
    divide = distance.div_ if type(width) in (float, Tensor, torch.nn.Parameter) else distance.div
    return cast(divide(cast(width, dtype)).clamp_(0.0, 1.0), input.dtype)


def is_on_ramp(output: Tensor) -> Tensor:
    """Return True where the output lies strictly between 0 and 1 (not at 0, 1 and NaN)."""
    return (output > 0.0) & (output < 1.0)


def multiply_by_slope(values: Tensor, output: Tensor, width: RampParameter, leak: float) -> Tensor:
    """Return `values` times 1 / width on the ramp and times `leak` outside, in the compute dtype.

    Without a leak, the result outside is exactly 0, even where `values` is not finite.
    """
    dtype = compute_dtype(output.dtype)
    values = values.to(dtype)
    # A division, not a product with 1 / width, so that all implementations round alike.
    inside = values / cast(width, dtype)
    outside: Tensor | float = values * leak if leak else 0.0
    return torch.where(is_on_ramp(output), inside, outside)


def sum_gradients(
    d_input: Tensor,
    output: Tensor,
    threshold: RampParameter,
    width: RampParameter,
    needed: tuple[bool, bool],
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return the gradients of input, threshold and width; all can be differentiated again.

    They are `d_input`, `-sum(d_input)` and `-sum(output * d_input)`; those not needed are None.
    `d_input` is the gradient of the output times the slope, in the compute dtype.
    """
    d_threshold = d_width = None
    if needed[0] and isinstance(threshold, Tensor):
        d_threshold = _sum_to(d_input, threshold)
    if needed[1] and isinstance(width, Tensor):
        d_width = _sum_to(output * d_input, width)
    return cast(d_input, output.dtype), d_threshold, d_width


def _sum_to(values: Tensor, parameter: Tensor) -> Tensor:
    """Return minus the sum over the dimensions that the parameter lacks."""
    # The usual case, (batch, neurons): `sum_to_size` takes twice as long for small tensors.
    is_matrix = values.dim() == 2 and parameter.dim() == 1
    total = values.sum(0) if is_matrix else values.sum_to_size(parameter.shape)
    return cast(total.neg(), parameter.dtype)


def compose_ramp(
    input: Tensor, threshold: RampParameter, width: RampParameter, leak: float
) -> Tensor:
    """Return the ramp composed of ATen operations that PyTorch differentiates by itself.

    For graphs that cannot contain a custom derivative. At NaN without a leak, the derivative is
    that of ATen's `hardtanh`; with a leak, inputs that are not finite have slope 0.
    """
    if not leak and is_plain_clamp(threshold, width):
        return functional.hardtanh(input, 0.0, 1.0)
    dtype = compute_dtype(input.dtype)
    threshold, width = cast(threshold, dtype), cast(width, dtype)
    distance = input.to(dtype) - threshold
    line = distance / width
    # Without rounding, the kinks of the line and of the output are at the same inputs.
    if not leak and dtype is input.dtype:
        return functional.hardtanh(line, 0.0, 1.0)
    output = line.detach().clamp(0.0, 1.0).to(input.dtype)
    flat = output.to(dtype)
    if leak:
        # A term whose value is 0 and whose derivatives are 1, -1 and -output, each times leak.
        sloped = distance - flat * width
        zero = torch.where(sloped.isfinite(), sloped - sloped.detach(), 0.0)
        flat = flat + leak * zero
    return torch.where(is_on_ramp(output), line, flat).to(input.dtype)
