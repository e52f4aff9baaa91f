"""The reference: threshold ramp and derivatives in plain ATen, the truth every path equals."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

Parameter = Tensor | float  # a number, or a tensor that broadcasts against the input


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype a ramp is computed in: float32 for the half types, else the input's own."""
    return torch.float32 if dtype.itemsize < torch.float32.itemsize else dtype


def plain(threshold: Parameter, width: Parameter) -> bool:
    """Whether the ramp is the common one, from 0 to 1, for which ATen has one kernel each way."""
    return (
        not isinstance(threshold, Tensor)
        and not isinstance(width, Tensor)
        and threshold == 0.0
        and width == 1.0
    )


def cast(parameter: Parameter, dtype: torch.dtype) -> Parameter:
    """The parameter as the arithmetic wants it: numbers as they are, tensors in the dtype."""
    if isinstance(parameter, Tensor) and parameter.dtype is not dtype:
        return parameter.to(dtype)
    return parameter


def forward(input: Tensor, threshold: Parameter, width: Parameter) -> Tensor:
    """`clamp((input - threshold) / width, 0, 1)`, rounded once, NaN kept."""
    if plain(threshold, width):
        return functional.hardtanh(input, 0.0, 1.0)
    dtype = compute_dtype(input.dtype)
    if dtype is input.dtype:  # a conversion to the same costs as much as a small kernel
        return (input - cast(threshold, dtype)).div_(cast(width, dtype)).clamp_(0.0, 1.0)
    distance = input.to(dtype) - cast(threshold, dtype)
    return distance.div_(cast(width, dtype)).clamp_(0.0, 1.0).to(input.dtype)


def on_ramp(output: Tensor) -> Tensor:
    """True where the output lies strictly between 0 and 1; 0, 1 and NaN count as outside."""
    return (output > 0.0) & (output < 1.0)


def times_slope(values: Tensor, output: Tensor, width: Parameter, leak: float) -> Tensor:
    """`values` times the slope: 1 / width on the ramp, `leak` outside; in the compute dtype.

    A division rather than a product with 1 / width, so that every path rounds alike; and an exact
    zero outside when nothing leaks, whatever `values` holds there.
    """
    dtype = compute_dtype(output.dtype)
    values = values.to(dtype)
    inside = values / cast(width, dtype)
    outside: Tensor | float = values * leak if leak else 0.0
    return torch.where(on_ramp(output), inside, outside)


def gradients(
    grad: Tensor,
    output: Tensor,
    threshold: Parameter,
    width: Parameter,
    leak: float,
    wanted: tuple[bool, bool],
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Gradients of input, threshold and width; all differentiable again.

    Args:
        grad: Gradient of the output.
        output: What forward returned.
        threshold: As given to forward.
        width: As given to forward.
        leak: Slope outside the ramp.
        wanted: Whether the gradients of threshold and of width are wanted; None comes otherwise.
    """
    moved = times_slope(grad, output, width, leak)
    d_threshold = d_width = None
    if wanted[0] and isinstance(threshold, Tensor):
        d_threshold = negative_sum(moved, threshold.shape, threshold.dtype)
    if wanted[1] and isinstance(width, Tensor):
        d_width = negative_sum(output * moved, width.shape, width.dtype)
    return moved.to(output.dtype), d_threshold, d_width


def negative_sum(values: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """What all elements together give a parameter of that shape, taken away from it."""
    total = values.sum_to_size(shape).neg()
    return total if total.dtype is dtype else total.to(dtype)


def differentiable(input: Tensor, threshold: Parameter, width: Parameter, leak: float) -> Tensor:
    """The same ramp from differentiable ATen operations alone, with nothing of ours in the graph.

    For exporters, and for a compiler that traces a function transform: neither can take a custom
    derivative. And for small inputs, where a call of Python in backward costs more than the rest.
    Its values and first derivatives are those of the Function: the slope is chosen by the rounded
    output, not by the kinks of `clamp`. Two exceptions: at NaN, where nothing leaks, the derivative
    is left to ATen, whose kernel takes it for a place on the ramp or outside, as its memory lies;
    and where something leaks, inputs that are not finite have slope 0.
    """
    if not leak and plain(threshold, width):
        return functional.hardtanh(input, 0.0, 1.0)
    dtype = compute_dtype(input.dtype)
    threshold, width = cast(threshold, dtype), cast(width, dtype)
    if not leak and dtype is input.dtype:  # not rounded, so the kinks of both lie alike
        return functional.hardtanh((input - threshold) / width, 0.0, 1.0)
    distance = input.to(dtype) - threshold
    line = distance / width
    output = line.detach().clamp(0.0, 1.0).to(input.dtype)
    flat = output.to(dtype)
    if leak:
        # A zero whose derivatives are those of the leak: 1, -1 and -output, each times leak.
        sloped = distance - flat * width
        nothing = torch.where(sloped.isfinite(), sloped - sloped.detach(), 0.0)
        flat = flat + leak * nothing
    return torch.where(on_ramp(output), line, flat).to(input.dtype)
