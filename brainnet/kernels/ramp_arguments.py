"""Ramp arguments: what a threshold ramp is given, checked before anything is computed."""

from __future__ import annotations

import math
import weakref
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from brainnet.errors import InputError
from brainnet.kernels import reference

PLAIN = (Tensor, torch.nn.Parameter)
"""What a kernel may read as memory; no other subclass."""


def is_plain(parameter: float | Tensor) -> bool:
    """Whether a kernel may read it: a number, or memory that is no subclass."""
    return not isinstance(parameter, Tensor) or type(parameter) in PLAIN


def is_transformed() -> bool:
    """Whether a function transform (vmap, grad, jvp ...) or a forward-mode level is active."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def is_traced() -> bool:
    """Whether somebody watches each operation: a dispatch mode, such as fake tensors or flops."""
    return torch._C._len_torch_dispatch_stack() > 0


def aligned(
    input: Tensor,
    threshold: float | Tensor,
    width: float | Tensor,
    leak: float,
    dim: int,
) -> tuple[reference.Parameter, reference.Parameter]:
    """Check what came, and shape the parameters so that they broadcast over `dim`."""
    if not isinstance(input, Tensor) or not input.is_floating_point():
        came = input.dtype if isinstance(input, Tensor) else type(input).__name__
        raise InputError(
            f"threshold_ramp needs a floating-point tensor; got {came}. Convert it: input.float()."
        )
    if input.layout != torch.strided:
        raise InputError(
            f"threshold_ramp needs a dense tensor; got layout {input.layout}. Convert it: "
            "input.to_dense()."
        )
    if not (0.0 <= leak < math.inf):
        raise InputError(
            f"leak is a slope of the gradient, finite and at least 0; got {leak}. Use leak=0.0."
        )
    if input.dim() and not -input.dim() <= dim < input.dim():
        raise InputError(
            f"dim={dim} is no dimension of an input of shape {tuple(input.shape)}. Use dim=-1 for "
            "the last."
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
    if value.device != input.device:
        raise InputError(
            f"{name} is on {value.device} but the input is on {input.device}. "
            f"Move it: {name}.to(input.device)."
        )
    if name == "width" and _readable(value) and not _is_positive(value):
        raise InputError(
            f"width must be above 0 everywhere; its smallest value is {value.min().item()}. "
            "A width that learns stays above 0 when its logarithm learns: log_width.exp()."
        )
    if value.dim() == 0:
        return value  # and not a view of it: another node
    if value.shape == (1,):
        return value.reshape(())
    if not -input.dim() <= dim < input.dim() or value.shape != (input.shape[dim],):
        raise InputError(
            f"{name} must hold one value, or one per neuron along dim={dim} of the input; got "
            f"shape {tuple(value.shape)} for an input of shape {tuple(input.shape)}. Give a "
            "one-dimensional tensor of that size, or dim=1 for the channels of an image."
        )
    trailing = input.dim() - 1 - dim % input.dim()
    return value.reshape(-1, *[1] * trailing) if trailing else value


_positive: dict[int, tuple[weakref.ref[Tensor], int]] = {}  # by id: the tensor, and its version


def _is_positive(width: Tensor) -> bool:
    """Whether each is above 0. To look costs as much as a small ramp: once for the same values."""
    key = id(width)
    version = -1 if width.is_inference() else width._version
    known = _positive.get(key)
    if known is not None and known[0]() is width and known[1] == version >= 0:
        return True
    if width.numel() and not width.min().item() > 0:  # NaN is not above 0 either
        return False
    _positive[key] = weakref.ref(width, lambda _: _positive.pop(key, None)), version
    return True


def _readable(tensor: Tensor) -> bool:
    """Whether looking at the values costs no device sync and breaks no tracing or transform."""
    return (
        not torch.compiler.is_compiling()
        and tensor.device.type == "cpu"
        and type(tensor) in PLAIN
        and not torch._C._are_functorch_transforms_active()
        and not is_traced()
    )


def check_counters(input: Tensor, dim: int, counters: tuple[Tensor | None, Tensor | None]) -> None:
    """Refuse counters that are not those of `new_counters` for the neurons along `dim`.

    Raises:
        InputError: they differ in kind, shape, type or device.
    """
    if counters[0] is None and counters[1] is None:
        return
    neurons = input.shape[dim] if input.dim() else 1
    sums = torch.float32 if input.device.type == "mps" else torch.float64
    needed = ((4, neurons), torch.int64), ((2, neurons), sums)
    if not all(
        isinstance(each, Tensor)
        and (tuple(each.shape), each.dtype) == fits
        and each.device == input.device
        and each.is_contiguous()
        for each, fits in zip(counters, needed, strict=True)
    ):
        came = " and ".join(_told(each) for each in counters)
        raise InputError(
            f"for {neurons} neurons along dim={dim}, counters must be int64 of shape "
            f"(4, {neurons}) and {str(sums)[6:]} of shape (2, {neurons}), contiguous and on "
            f"{input.device}; got {came}. Make them with new_counters({neurons}, "
            f'device="{input.device}").'
        )


def _told(counter: object) -> str:
    if not isinstance(counter, Tensor):
        return type(counter).__name__
    laid = "" if counter.is_contiguous() else ", not contiguous"
    return f"{str(counter.dtype)[6:]} of shape {tuple(counter.shape)} on {counter.device}{laid}"
