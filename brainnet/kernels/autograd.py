"""The threshold ramp as an autograd Function and, for compilers, as a registered op."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from brainnet.kernels import reference
from brainnet.kernels.dispatch import is_transformed
from brainnet.kernels.reference import RampParameter

# The overload, because resolving it at each call takes as long as a small kernel.
_hardtanh_backward = torch.ops.aten.hardtanh_backward.default

# Below this number of elements, Python code costs more than the kernels that it saves.
_SMALL_SIZE = 32768


class TritonOptions(NamedTuple):
    """What only the Triton kernels need to know about a call."""

    dim: int
    counters: tuple[Tensor, Tensor] | None


class ThresholdRampFunction(torch.autograd.Function):
    """`clamp((input - threshold) / width, 0, 1)` that saves only its output.

    `threshold` and `width` are numbers or tensors that broadcast against the input without
    enlarging it. With `triton`, the input is a plain CUDA tensor and Triton kernels compute the
    ramp; otherwise ATen operations do. Backward can be differentiated again.
    """

    @staticmethod
    def forward(
        input: Tensor,
        threshold: RampParameter,
        width: RampParameter,
        leak: float,
        triton: TritonOptions | None,
    ) -> Tensor:
        """Compute the output."""
        if triton is None:
            return reference.compute_ramp(input, threshold, width)
        # Triton takes seconds to import, which a program on the CPU should not pay.
        from brainnet.kernels import triton_ramp

        return triton_ramp.run_forward(input, threshold, width, *triton)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Save the output and the two small parameters."""
        _input, threshold, width, ctx.leak, ctx.triton = inputs
        ctx.numbers = [None if isinstance(p, Tensor) else p for p in (threshold, width)]
        saved = output, *(p if isinstance(p, Tensor) else None for p in (threshold, width))
        ctx.save_for_backward(*saved)
        ctx.save_for_forward(*saved)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of input, threshold and width."""
        output, threshold, width = _restore(ctx)
        needed = ctx.needs_input_grad[1:3]
        # Kernels cannot compute gradients that are differentiated again.
        is_plain = not torch.is_grad_enabled() and type(grad) is Tensor and output.numel() > 0
        if ctx.triton is not None and is_plain:
            from brainnet.kernels import triton_ramp

            gradients = triton_ramp.run_backward(
                grad, output, threshold, width, ctx.leak, ctx.triton.dim, needed
            )
        else:
            d_input = _multiply_by_slope(grad, output, width, ctx.leak)
            gradients = reference.sum_gradients(d_input, output, threshold, width, needed)
        return *gradients, None, None

    @staticmethod
    def jvp(
        ctx: Any,
        tangent: Tensor | None,
        threshold_tangent: Tensor | None,
        width_tangent: Tensor | None,
        *_: None,
    ) -> Tensor:
        """Forward mode: the slope times (d_input - d_threshold - output * d_width)."""
        output, _threshold, width = _restore(ctx)
        dtype = reference.compute_dtype(output.dtype)
        total = torch.zeros_like(output, dtype=dtype) if tangent is None else tangent.to(dtype)
        if threshold_tangent is not None:
            total = total - threshold_tangent.to(dtype)
        if width_tangent is not None:
            total = total - output.to(dtype) * width_tangent.to(dtype)
        return reference.multiply_by_slope(total, output, width, ctx.leak).to(output.dtype)

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        input: Tensor,
        threshold: RampParameter,
        width: RampParameter,
        leak: float,
        triton: TritonOptions | None,
    ) -> tuple[Tensor, int]:
        """Compute the batch as one more leading dimension, since the op is elementwise."""
        if in_dims[0] is None:
            input = input.expand(info.batch_size, *input.shape)
        else:
            input = input.movedim(in_dims[0], 0)
        threshold = _move_batch_first(threshold, in_dims[1], input.dim())
        width = _move_batch_first(width, in_dims[2], input.dim())
        return ThresholdRampFunction.apply(input, threshold, width, leak, triton), 0


# `Function.apply` without the code for function transforms, which binds the arguments to the
# signature of `forward` and thereby triples the time of a small call.
_apply_untransformed = super(torch.autograd.Function, ThresholdRampFunction).apply


def apply_function(
    input: Tensor,
    threshold: RampParameter,
    width: RampParameter,
    leak: float,
    triton: TritonOptions | None = None,
) -> Tensor:
    """Call :class:`ThresholdRampFunction`."""
    is_transformed = torch._C._are_functorch_transforms_active()
    apply = ThresholdRampFunction.apply if is_transformed else _apply_untransformed
    output: Tensor = apply(input, threshold, width, leak, triton)
    return output


def is_small(input: Tensor, leak: float) -> bool:
    """Whether a Python backward takes longer than all kernels of :func:`compose_small`."""
    # Half types are rounded, which moves the kinks of the composition.
    is_exact = input.dtype in (torch.float32, torch.float64)
    return is_exact and not leak and input.is_cpu and input.numel() < _SMALL_SIZE


def compose_small(
    input: Tensor, threshold: RampParameter, width: RampParameter, leak: float
) -> Tensor:
    """Compose a small ramp of ATen operations, unless their derivatives are not ours."""
    line = input
    if not reference.is_plain_clamp(threshold, width):
        distance = input - reference.cast(threshold, input.dtype)
        line = distance / reference.cast(width, input.dtype)
    output: Tensor = torch.nn.functional.hardtanh(line, 0.0, 1.0)
    if not output.requires_grad:
        return output
    # At NaN their slope depends on the position of the element, and where the line is infinite, the
    # gradient of the width is NaN. A sum is finite only if all its terms are.
    if isinstance(width, Tensor) and width.requires_grad:
        is_safe = math.isfinite(line.detach().sum().item())
    else:
        is_safe = output.equal(output)
    return output if is_safe else apply_function(input, threshold, width, leak)


def _restore(ctx: Any) -> tuple[Tensor, RampParameter, RampParameter]:
    output, *tensors = ctx.saved_tensors
    threshold, width = (
        number if tensor is None else tensor
        for number, tensor in zip(ctx.numbers, tensors, strict=True)
    )
    return output, threshold, width


def _multiply_by_slope(grad: Tensor, output: Tensor, width: RampParameter, leak: float) -> Tensor:
    """`reference.multiply_by_slope`, with ATen's one kernel where possible; the same bits."""
    # DTensor cannot shard `hardtanh_backward`, and it has no forward-mode derivative.
    if leak or type(output) is not Tensor or is_transformed():
        return reference.multiply_by_slope(grad, output, width, leak)
    # ATen's kernel treats NaN as outside the ramp in its vectorized loop and as on the ramp in the
    # remaining elements. In large outputs, a sum finds NaN faster than `nan_to_num` replaces it.
    is_large = output.numel() >= _SMALL_SIZE and output.is_cpu
    if not is_large or output.detach().sum().isnan().item():
        output = output.nan_to_num(0.0)
    inside: Tensor = _hardtanh_backward(grad, output, 0.0, 1.0)
    dtype = reference.compute_dtype(output.dtype)
    inside = reference.cast(inside, dtype)
    is_divided = isinstance(width, Tensor) or width != 1.0
    return inside.div_(reference.cast(width, dtype)) if is_divided else inside


def _move_batch_first(parameter: RampParameter, batch: int | None, dims: int) -> RampParameter:
    """Move the batch dimension first and align the others with the last ones of the input."""
    if not isinstance(parameter, Tensor) or batch is None:
        return parameter
    parameter = parameter.movedim(batch, 0)
    ones = [1] * (dims - parameter.dim())
    return parameter.reshape(parameter.shape[0], *ones, *parameter.shape[1:])


_library = torch.library.Library("brainnet", "FRAGMENT")
_library.define(
    "threshold_ramp(Tensor input, Tensor? threshold, Tensor? width, float threshold_number,"
    " float width_number, float leak) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)


def _pick(tensor: Tensor | None, number: float) -> RampParameter:
    return number if tensor is None else tensor


# Composite, so that a compiler decomposes the op below autograd and fuses it with its neighbors.
_library.impl(
    "threshold_ramp",
    lambda input, threshold, width, low, wide, _leak: reference.compute_ramp(
        input, _pick(threshold, low), _pick(width, wide)
    ),
    "CompositeImplicitAutograd",
)
# Per device, because the dispatcher prefers a composite kernel to one for all autograd keys.
for _device in ("CPU", "CUDA", "MPS", "XPU", "HPU", "XLA", "IPU", "PrivateUse1", "Meta", "Other"):
    _library.impl(
        "threshold_ramp",
        lambda input, threshold, width, low, wide, leak: apply_function(
            input, _pick(threshold, low), _pick(width, wide), leak
        ),
        f"Autograd{_device}",
    )


def call_op(input: Tensor, threshold: RampParameter, width: RampParameter, leak: float) -> Tensor:
    """Call the op `brainnet::threshold_ramp`, which compilers see, decompose and fuse.

    An op has no numbers where it has tensors, so that each parameter takes two arguments.
    """
    tensors = [value if isinstance(value, Tensor) else None for value in (threshold, width)]
    numbers = [1.0 if isinstance(value, Tensor) else value for value in (threshold, width)]
    output: Tensor = torch.ops.brainnet.threshold_ramp(input, *tensors, *numbers, leak)
    return output
