"""The threshold ramp: quiet below the threshold, rising over the width, then fully firing."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.overrides import handle_torch_function, has_torch_function

from brainnet.errors import InputError
from brainnet.kernels import operator, reference
from brainnet.kernels.function import ThresholdRampFunction


def threshold_ramp(
    input: Tensor,
    threshold: float | Tensor = 0.0,
    width: float | Tensor = 1.0,
    leak: float = 0.0,
    *,
    dim: int = -1,
) -> Tensor:
    r"""How strongly each neuron fires: `clamp((input - threshold) / width, 0, 1)`.

    Only the output is kept for backward. With y the output, g its gradient and s = 1 / width where
    0 < y < 1, else `leak`: d_input = s g, d_threshold = -sum(s g), d_width = -sum(s y g). An
    output of exactly 0 or 1 counts as outside, as in :func:`torch.nn.functional.hardtanh` (whose
    clamp this is for threshold 0 and width 1). NaN in gives NaN out. The output has the input's
    dtype; float16 and bfloat16 are computed in float32 and rounded once.

    A learning threshold repeats what the bias does, and a learning width repeats the scale of the
    neuron's weights: they exist to be looked at.

    Args:
        input: Floating-point tensor of any shape: the neurons' pre-activations.
        threshold: Where the ramp begins, in units of the input: a number, or one per neuron.
        width: How wide the ramp is, in units of the input, above 0: a number, or one per neuron.
        leak: Slope of the gradient outside the ramp, at least 0; the output does not change.
        dim: Which dimension counts the neurons; 1 for the channels of an image.

    Shape:
        input:     (batch, neurons)
        threshold: (neurons,)
        width:     (neurons,)
        return:    (batch, neurons)

    Raises:
        InputError: For an input that is not floating-point, a width that is not above 0, numbers
            that are not finite, or tensors whose size is not the number of neurons.

    Example:
        >>> threshold_ramp(torch.tensor([-1.0, 0.25, 3.0]))
        tensor([0.0000, 0.2500, 1.0000])
        >>> threshold_ramp(torch.tensor([-1.0, 0.25, 3.0]), threshold=-1.0, width=2.0)
        tensor([0.0000, 0.6250, 1.0000])
    """
    if torch.compiler.is_compiling():
        threshold, width = _aligned(input, threshold, width, leak, dim)
        # An exporter wants a graph that needs nothing of ours; and a transform inside a compiled
        # region would take the registered op's tangents for zeros.
        if torch.compiler.is_exporting() or _transformed():
            return reference.differentiable(input, threshold, width, float(leak))
        return operator.threshold_ramp(input, threshold, width, float(leak))
    tensors = (input, threshold, width)
    if has_torch_function(tensors):
        result: Tensor = handle_torch_function(
            threshold_ramp, tensors, input, threshold, width, leak, dim=dim
        )
        return result
    threshold, width = _aligned(input, threshold, width, leak, dim)
    output: Tensor = ThresholdRampFunction.apply(input, threshold, width, float(leak))
    return output


def _transformed() -> bool:
    """Whether a function transform (vmap, grad, jvp ...) or a forward-mode level is active."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def _aligned(
    input: Tensor,
    threshold: Any,
    width: Any,
    leak: float,
    dim: int,  # noqa: ANN401
) -> tuple[reference.Parameter, reference.Parameter]:
    """Check what came, and shape the parameters so that they broadcast over `dim`."""
    if not isinstance(input, Tensor) or not input.is_floating_point():
        came = input.dtype if isinstance(input, Tensor) else type(input).__name__
        raise InputError(
            f"threshold_ramp needs a floating-point tensor; got {came}. Convert it: input.float()."
        )
    if not (0.0 <= leak < math.inf):
        raise InputError(
            f"leak is a slope of the gradient, finite and at least 0; got {leak}. Use leak=0.0."
        )
    return _parameter("threshold", threshold, input, dim), _parameter("width", width, input, dim)


def _parameter(name: str, value: Any, input: Tensor, dim: int) -> reference.Parameter:  # noqa: ANN401
    if not isinstance(value, Tensor):
        number = float(value)
        if not math.isfinite(number) or (name == "width" and number <= 0.0):
            needed = "a finite number above 0" if name == "width" else "a finite number"
            raise InputError(f"{name} must be {needed}; got {value}. Use {name}=1.0, say.")
        return number
    if not value.is_floating_point():
        raise InputError(
            f"{name} must be a floating-point tensor; got {value.dtype}. Use {name}.float()."
        )
    if name == "width" and _readable(value) and not bool((value > 0).all()):
        raise InputError(
            f"width must be above 0 everywhere; its smallest value is {value.min().item()}. "
            "A width that learns stays above 0 when its logarithm learns: log_width.exp()."
        )
    if value.dim() == 0 or value.shape == (1,):
        return value.reshape(())
    if not -input.dim() <= dim < input.dim() or value.shape != (input.shape[dim],):
        raise InputError(
            f"{name} must hold one value, or one per neuron along dim={dim} of the input; got "
            f"shape {tuple(value.shape)} for an input of shape {tuple(input.shape)}. Give a "
            "one-dimensional tensor of that size, or dim=1 for the channels of an image."
        )
    trailing = input.dim() - 1 - dim % input.dim()
    return value.reshape(-1, *[1] * trailing) if trailing else value


def _readable(tensor: Tensor) -> bool:
    """Whether looking at the values costs no device sync and breaks no tracing or transform."""
    return (
        not torch.compiler.is_compiling()
        and tensor.device.type == "cpu"
        and type(tensor) in (Tensor, torch.nn.Parameter)
        and not torch._C._are_functorch_transforms_active()
        and not torch._C._len_torch_dispatch_stack()
    )
