"""The threshold ramp as an autograd Function: right under every transform, keeps its output."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from brainnet.kernels import reference
from brainnet.kernels.reference import Parameter

# The overload itself: to look it up at each call costs as much as a small kernel.
_hardtanh_backward = torch.ops.aten.hardtanh_backward.default

_LARGE = 32768  # elements: with fewer, to copy them is as quick as to look at them


class ThresholdRampFunction(torch.autograd.Function):
    """`clamp((input - threshold) / width, 0, 1)` with the derivatives of the reference.

    `threshold` and `width` are numbers or tensors that broadcast against the input without
    enlarging it. Backward is made of differentiable operations, so it can be differentiated again.
    """

    @staticmethod
    def forward(input: Tensor, threshold: Parameter, width: Parameter, leak: float) -> Tensor:
        """The output, which is all that is kept."""
        return reference.forward(input, threshold, width)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the output and the two small parameters."""
        _, ctx.threshold, ctx.width, ctx.leak = inputs
        tensors = [value for value in inputs[1:3] if isinstance(value, Tensor)]
        ctx.places = tuple(isinstance(value, Tensor) for value in inputs[1:3])
        if ctx.places[0]:
            ctx.threshold = None
        if ctx.places[1]:
            ctx.width = None
        ctx.save_for_backward(output, *tensors)
        ctx.save_for_forward(output, *tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of input, threshold and width."""
        output, threshold, width = _saved(ctx)
        return *reference.gradients(
            grad, output, threshold, width, ctx.leak, ctx.needs_input_grad[1:3]
        ), None

    @staticmethod
    def jvp(
        ctx: Any,
        tangent: Tensor | None,
        threshold_tangent: Tensor | None,
        width_tangent: Tensor | None,
        _: None,
    ) -> Tensor:
        """Forward-mode: the slope times (d_input - d_threshold - output * d_width)."""
        output, _threshold, width = _saved(ctx)
        dtype = reference.compute_dtype(output.dtype)
        moved = torch.zeros_like(output, dtype=dtype) if tangent is None else tangent.to(dtype)
        if threshold_tangent is not None:
            moved = moved - threshold_tangent.to(dtype)
        if width_tangent is not None:
            moved = moved - output.to(dtype) * width_tangent.to(dtype)
        return reference.times_slope(moved, output, width, ctx.leak).to(output.dtype)

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        input: Tensor,
        threshold: Parameter,
        width: Parameter,
        leak: float,
    ) -> tuple[Tensor, int]:
        """One more leading dimension: the op is elementwise, so the batch joins the others."""
        if in_dims[0] is None:
            input = input.expand(info.batch_size, *input.shape)
        else:
            input = input.movedim(in_dims[0], 0)
        threshold = _batched(threshold, in_dims[1], input.dim())
        width = _batched(width, in_dims[2], input.dim())
        return ThresholdRampFunction.apply(input, threshold, width, leak), 0


class RampFunction(torch.autograd.Function):
    """The same outside every transform.

    Few kernels of ATen each way, one for a ramp from 0 to 1; and what it leaves out makes a call on
    a small tensor a third as long.
    """

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        threshold: Parameter,
        width: Parameter,
        leak: float,
    ) -> Tensor:
        """The output, which is all that is kept."""
        output = reference.forward(input, threshold, width)
        if isinstance(width, Tensor):
            ctx.save_for_backward(output, width)
        else:
            ctx.save_for_backward(output)
            ctx.width = width
        ctx.low = (threshold.shape, threshold.dtype) if isinstance(threshold, Tensor) else None
        ctx.leak = leak
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of input, threshold and width, differentiable again."""
        output, *widths = ctx.saved_tensors
        width = widths[0] if widths else ctx.width
        learns = ctx.needs_input_grad[1:3]
        # Subclasses know the operations that all know: DTensor can't shard `hardtanh_backward`.
        if ctx.leak or type(output) is not Tensor:
            moved = reference.times_slope(grad, output, width, ctx.leak)
        else:
            moved = _times_slope(grad, output, width)
        d_low = d_wide = None
        if any(learns):
            exact = _as(moved, reference.compute_dtype(output.dtype))
            if learns[0]:
                d_low = reference.negative_sum(exact, *ctx.low)
            if learns[1]:
                d_wide = reference.negative_sum(output * exact, width.shape, width.dtype)
        return _as(moved, output.dtype), d_low, d_wide, None


def _times_slope(grad: Tensor, output: Tensor, width: Parameter) -> Tensor:
    """`reference.times_slope` without a leak, by the one kernel that ATen has; the same bits."""
    inside: Tensor = _hardtanh_backward(grad, _known(output), 0.0, 1.0)
    if not isinstance(width, Tensor) and width == 1.0:
        return inside
    dtype = reference.compute_dtype(output.dtype)
    return _as(inside, dtype).div_(reference.cast(width, dtype))


def has_nan(output: Tensor) -> bool | None:
    """Whether some value is NaN; None where to look would hold up a device or a tracer.

    Args:
        output: values from 0 to 1, or NaN: their sum is NaN where one of them is.
    """
    if type(output) is not Tensor or not output.is_cpu:
        return None
    return math.isnan(output.detach().sum().item())


def _known(output: Tensor) -> Tensor:
    """The output with 0 for NaN, which counts as outside.

    ATen's kernel takes NaN for outside in its vector loop and for a place on the ramp in what is
    left over, so that a gradient would depend on where a value lies.
    """
    if output.numel() >= _LARGE and has_nan(output) is False:
        return output
    return output.nan_to_num(0.0)


def _as(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor in that dtype; a conversion to the same costs as much as a small kernel."""
    return tensor if tensor.dtype is dtype else tensor.to(dtype)


def _saved(ctx: Any) -> tuple[Tensor, Parameter, Parameter]:
    output, *tensors = ctx.saved_tensors
    threshold = tensors.pop(0) if ctx.places[0] else ctx.threshold
    width = tensors.pop(0) if ctx.places[1] else ctx.width
    return output, threshold, width


def _batched(parameter: Parameter, batch: int | None, dims: int) -> Parameter:
    """The parameter with its batch dimension first and its others aligned with the input's last."""
    if not isinstance(parameter, Tensor) or batch is None:
        return parameter
    parameter = parameter.movedim(batch, 0)
    ones = [1] * (dims - parameter.dim())
    return parameter.reshape(parameter.shape[0], *ones, *parameter.shape[1:])
