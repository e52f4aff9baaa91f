"""The threshold ramp: 0 below the threshold, rising over the width, then 1.

Three implementations compute it, and :func:`threshold_ramp` chooses one per call:

1. The C++ autograd function `brainnet::threshold_ramp_cpu` (`threshold_ramp.cpp`) for plain tensors
   on the CPU, where it was compiled.
2. The Python Function :class:`brainnet.kernels.autograd.ThresholdRampFunction` for all other eager
   calls: function transforms, forward mode, tensor subclasses, other devices, no compiled kernel.
   For plain CUDA tensors it runs Triton kernels, otherwise ATen operations.
3. The registered op `brainnet::threshold_ramp` for compilers. Graphs that cannot contain it
   (exported, traced, or with a function transform inside a compiled region) contain its
   decomposition into ATen operations, :func:`brainnet.kernels.reference.compose_ramp`.

:mod:`brainnet.kernels.reference` defines the values and derivatives of all three.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.jit._trace import is_tracing
from torch.overrides import handle_torch_function, has_torch_function
from torch.utils.weak import WeakTensorKeyDictionary

from brainnet.errors import InputError
from brainnet.kernels import dispatch, reference
from brainnet.kernels.autograd import (
    TritonOptions,
    apply_function,
    call_op,
    compose_small,
    is_small,
)
from brainnet.kernels.counters import check_counters, update_counters
from brainnet.kernels.dispatch import has_plain_memory, is_transformed
from brainnet.kernels.reference import RampParameter


def threshold_ramp(
    input: Tensor,
    threshold: float | Tensor = 0.0,
    width: float | Tensor = 1.0,
    leak: float = 0.0,
    *,
    dim: int = -1,
    reuse_input: bool = False,
    counters: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    r"""Compute how strongly each neuron fires: `clamp((input - threshold) / width, 0, 1)`.

    Only the output is saved for backward. With y the output, g its gradient, and
    s = 1 / width where 0 < y < 1 and `leak` elsewhere: d_input = s g, d_threshold = -sum(s g),
    d_width = -sum(s y g). An output of exactly 0 or 1 counts as outside the ramp, as in
    :func:`torch.nn.functional.hardtanh`, which this function equals for threshold 0 and width 1. A
    NaN input gives a NaN output, which also counts as outside the ramp: its slope is `leak`. Of the
    gradients, only that of the width then becomes NaN, because y is a factor in it, as with
    `((x - t) / w).clamp(0, 1)`. The output has the dtype of the input;
    float16 and bfloat16 are computed in float32 and rounded once.

    In compiled regions, Inductor does not round within fused operations: gradients and counters of
    half types treat an output that would round to 1 as on the ramp, unless
    `torch._inductor.config.emulate_precision_casts = True`. With a leak, compiled transforms and
    exported graphs have second derivatives of 0 outside the ramp, and slope 0 at inputs that are
    not finite.

    Args:
        input: floating-point tensor of any shape: the pre-activations of the neurons.
        threshold: start of the ramp, in units of the input: a number, or one per neuron.
        width: length of the ramp, in units of the input, above 0: a number, or one per neuron.
        leak: slope of the gradient outside the ramp, at least 0; the output does not change.
        dim: dimension of the neurons; 1 for the channels of an image.
        reuse_input: allow the C++ kernel to overwrite the input, whose values are then lost. Pass
            True only for a pre-activation that is not used again: if another operation saved it
            for backward, that backward raises an error, as after PyTorch's in-place operations.
            Memory that PyTorch knows to be in use is never overwritten: that of views, tensors
            saved for backward, leaves that require a gradient, and inputs with hooks.
        counters: result of :func:`brainnet.kernels.counters.create_counters`, to which the
            activity of each neuron in this call is added.

    Shape:
        input:     (batch, neurons)
        threshold: (neurons,)
        width:     (neurons,)
        return:    (batch, neurons)

    Raises:
        InputError: the input is not floating-point, a width is not above 0, a number is not finite,
            or the size of a tensor is not the number of neurons. Width tensors are not checked
            where reading a value would wait for a device or break a trace (CUDA, transforms,
            compilers).
        RuntimeError: counters were passed inside a function transform.

    Example:
        >>> threshold_ramp(torch.tensor([-1.0, 0.25, 3.0]))
        tensor([0.0000, 0.2500, 1.0000])
        >>> threshold_ramp(torch.tensor([-1.0, 0.25, 3.0]), threshold=-1.0, width=2.0)
        tensor([0.0000, 0.6250, 1.0000])
    """
    is_traced = torch.compiler.is_compiling() or is_tracing()
    if not is_traced and has_torch_function((input, threshold, width)):
        # Without reuse_input: a subclass or mode that observes the call may keep the input.
        result: Tensor = handle_torch_function(
            threshold_ramp, (input, threshold, width), input, threshold, width, leak,
            dim=dim, counters=counters,
        )  # fmt: skip
        return result
    has_memory = not is_traced and has_plain_memory(input, threshold, width)
    has_memory = has_memory and isinstance(input, Tensor)
    if has_memory and input.is_cpu and (kernel := dispatch.find_cpu_kernel()) is not None:
        return _call_native(kernel, input, threshold, width, leak, dim, reuse_input, counters)
    low, wide = _check_arguments(input, threshold, width, leak, dim)
    if counters is not None:
        check_counters(input, dim, counters)
    # The Triton kernels have no float64, in which few networks are trained on a GPU.
    if has_memory and input.is_cuda and input.dtype != torch.float64 and dispatch.has_triton():
        return apply_function(input, low, wide, float(leak), TritonOptions(dim, counters))
    compute = _trace_ramp if is_traced else apply_function
    if has_memory and is_small(input, leak):
        compute = compose_small
    output = compute(input, low, wide, float(leak))
    if counters is not None:
        update_counters(input, output, dim, counters)
    return output


def _call_native(
    kernel: Callable[..., Any],
    input: Tensor,
    threshold: float | Tensor,
    width: float | Tensor,
    leak: float,
    dim: int,
    reuse_input: bool,
    counters: tuple[Tensor, Tensor] | None,
) -> Tensor:
    """Call the C++ kernel, which checks its arguments; explain what it rejects."""
    low, low_number = (threshold, 0.0) if isinstance(threshold, Tensor) else (None, threshold)
    wide, wide_number = (width, 1.0) if isinstance(width, Tensor) else (None, width)
    counts, sums = counters or (None, None)
    try:
        output: Tensor = kernel(
            input, low, wide, low_number, wide_number, leak, dim, reuse_input, counts, sums
        )
    except RuntimeError:
        _check_arguments(input, threshold, width, leak, dim)
        if counters is not None:
            check_counters(input, dim, counters)
        raise
    return output


def _trace_ramp(
    input: Tensor, threshold: RampParameter, width: RampParameter, leak: float
) -> Tensor:
    """Return what a compiler or exporter traces."""
    is_exporting = torch.compiler.is_exporting()
    if is_exporting and not torch.is_grad_enabled() and not is_transformed():
        return reference.compute_ramp(input, threshold, width)
    # Inside a compiled region, a function transform would take the op's tangents to be 0.
    if is_exporting or is_tracing() or is_transformed():
        return reference.compose_ramp(input, threshold, width, leak)
    return call_op(input, threshold, width, leak)


def _check_arguments(
    input: Tensor, threshold: float | Tensor, width: float | Tensor, leak: float, dim: int
) -> tuple[RampParameter, RampParameter]:
    """Check all arguments, and reshape the parameters to broadcast along `dim`."""
    is_tensor = isinstance(input, Tensor)
    if not is_tensor or not input.is_floating_point() or input.layout != torch.strided:
        received = f"{input.layout} of {input.dtype}" if is_tensor else type(input).__name__
        raise InputError(
            f"threshold_ramp needs a dense floating-point tensor; got {received}. Convert it: "
            "input.to_dense() or input.float()."
        )
    if not 0.0 <= leak < math.inf:
        raise InputError(f"leak must be finite and at least 0; got {leak}. Use leak=0.0.")
    if input.dim() and not -input.dim() <= dim < input.dim():
        raise InputError(
            f"dim={dim} is out of range for an input of shape {tuple(input.shape)}. Use dim=-1 for "
            "the last dimension."
        )
    low = _align_parameter("threshold", threshold, input, dim)
    return low, _align_parameter("width", width, input, dim)


def _align_parameter(name: str, value: object, input: Tensor, dim: int) -> RampParameter:
    is_width = name == "width"
    if not isinstance(value, Tensor):
        number = float(value)  # type: ignore[arg-type]
        if not math.isfinite(number) or (is_width and number <= 0.0):
            needed = "a finite number above 0" if is_width else "a finite number"
            raise InputError(f"{name} must be {needed}; got {value}. Use {name}=1.0, for example.")
        return number
    if not value.is_floating_point() or value.device != input.device:
        raise InputError(
            f"{name} must be a floating-point tensor on {input.device}; got {value.dtype} on "
            f"{value.device}. Convert it: {name}.float().to(input.device)."
        )
    if is_width and value.is_cpu and has_plain_memory(value) and not _is_positive(value):
        raise InputError(
            f"width must be above 0 everywhere; its smallest value is {value.min().item()}. "
            "To learn a width that stays above 0, learn its logarithm: log_width.exp()."
        )
    if value.dim() == 0:
        return value
    if value.shape == (1,):
        return value.reshape(())
    if not input.dim() or value.shape != (input.shape[dim],):
        raise InputError(
            f"{name} must hold one value, or one per neuron along dim={dim} of the input; got "
            f"shape {tuple(value.shape)} for an input of shape {tuple(input.shape)}. Pass a "
            "one-dimensional tensor of that size, or dim=1 for the channels of an image."
        )
    trailing = input.dim() - 1 - dim % input.dim()
    return value.reshape(-1, *[1] * trailing) if trailing else value


# The version of each width at which all its values were above 0.
_positive_versions = WeakTensorKeyDictionary()


def _is_positive(width: Tensor) -> bool:
    """Whether all values are above 0; reads the same values only once."""
    # Reading them takes as long as a small ramp.
    version = -1 if width.is_inference() else width._version
    if version >= 0 and _positive_versions.get(width) == version:
        return True
    # Negated, because NaN is not above 0 either.
    if width.numel() and not width.min().item() > 0:
        return False
    _positive_versions[width] = version
    return True
