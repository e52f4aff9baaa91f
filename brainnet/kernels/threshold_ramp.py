"""The threshold ramp: 0 below the threshold, rising over the width, then 1."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.jit._trace import is_tracing
from torch.nn import functional
from torch.overrides import handle_torch_function, has_torch_function

from brainnet.errors import InputError
from brainnet.kernels import custom_op as operator
from brainnet.kernels import dispatch as paths
from brainnet.kernels import reference
from brainnet.kernels.autograd import RampFunction, ThresholdRampFunction
from brainnet.kernels.counters import update_counters

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


def _parameter(name: str, value: Any, input: Tensor, dim: int) -> reference.Parameter:
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
    r"""How strongly each neuron fires: `clamp((input - threshold) / width, 0, 1)`.

    Only the output is kept for backward (without a compiled kernel, a small input leaves one or two
    small tensors more, where that is quicker). With y the output, g its gradient and
    s = 1 / width where 0 < y < 1, else `leak`: d_input = s g, d_threshold = -sum(s g),
    d_width = -sum(s y g). An output of exactly 0 or 1 counts as outside, as in
    :func:`torch.nn.functional.hardtanh` (whose clamp this is for threshold 0 and width 1). NaN in
    gives NaN out; there, as outside, the slope is `leak`, so that a learning width (and it alone,
    by its factor y) gets a gradient of NaN, as from PyTorch's own `((x - t) / w).clamp(0, 1)`. The
    output has the input's dtype; float16 and bfloat16 are computed in float32 and rounded once.

    Inductor drops that rounding within what it fuses. So in a compiled region, gradients and
    counters of the half types take an output that would round to 1 for one on the ramp, unless
    `torch._inductor.config.emulate_precision_casts = True`.

    With a leak, compiled transforms and exported graphs have the same values and first derivatives,
    but outside the ramp no second ones, and slope 0 at inputs that are not finite.

    A learning threshold repeats what the bias does, and a learning width repeats the scale of the
    neuron's weights: they exist to be looked at.

    Args:
        input: Floating-point tensor of any shape: the neurons' pre-activations.
        threshold: Where the ramp begins, in units of the input: a number, or one per neuron.
        width: How wide the ramp is, in units of the input, above 0: a number, or one per neuron.
        leak: Slope of the gradient outside the ramp, at least 0; the output does not change.
        dim: Which dimension counts the neurons; 1 for the channels of an image.
        reuse_input: Whether the output may take the input's memory, because nobody will ask for
            the input again: a layer's own pre-activation. It is no more than a permission: where
            the input shares its memory with another tensor (a view, an output that backward keeps),
            is a leaf that requires a gradient, has hooks or retains its gradient, where a
            transform, a mode or a compiler is at work, or no kernel is built, the input stays as it
            is. What another operation keeps as its input is written over, and its backward then
            raises, as with PyTorch's own in-place operations. A tensor of your own that requires no
            gradient is written over like any other.
        counters: What :func:`brainnet.kernels.counters.create_counters` made, to add to what each
            neuron did in this call.

    Shape:
        input:     (batch, neurons)
        threshold: (neurons,)
        width:     (neurons,)
        return:    (batch, neurons)

    Raises:
        InputError: For an input that is not floating-point, a width that is not above 0, numbers
            that are not finite, or tensors whose size is not the number of neurons. Where to look
            would wait for a device or stop a tracer (CUDA, transforms, compilers), a width in a
            tensor is taken as it is.
        RuntimeError: For counters inside a function transform, which has no one call to count.

    Example:
        >>> threshold_ramp(torch.tensor([-1.0, 0.25, 3.0]))
        tensor([0.0000, 0.2500, 1.0000])
        >>> threshold_ramp(torch.tensor([-1.0, 0.25, 3.0]), threshold=-1.0, width=2.0)
        tensor([0.0000, 0.6250, 1.0000])
    """
    if torch.compiler.is_compiling() or is_tracing():
        return _compiled(input, threshold, width, leak, dim, counters)
    tensors = (input, threshold, width)
    if has_torch_function(tensors):
        result: Tensor = handle_torch_function(
            threshold_ramp,
            tensors,
            input,
            threshold,
            width,
            leak,
            dim=dim,
            counters=counters,  # not reuse_input: who looks on at functions may hold the input
        )
        return result
    plain = type(input) in PLAIN and is_plain(threshold) and is_plain(width)
    if plain and input.is_cpu and not is_transformed() and not is_traced():
        kernel = paths.cpu_kernel()
        if kernel is not None:
            return _native(
                kernel, input, threshold, width, leak, dim, reuse_input, counters or _NOTHING
            )
    low, wide = aligned(input, threshold, width, leak, dim)
    if plain and _on_triton(input) and not is_transformed() and not is_traced():
        if counters is not None:
            check_counters(input, dim, counters)
        return _triton(input, threshold, width, float(leak), dim, reuse_input, counters)
    output: Tensor
    if is_transformed():
        output = ThresholdRampFunction.apply(input, low, wide, float(leak))
    elif not leak and not reference.plain(low, wide) and _is_small(input, low, wide):
        output = _small(input, low, wide)
    else:
        output = RampFunction.apply(input, low, wide, float(leak))
    if counters is not None:
        _count(input, output, dim, counters)
    return output


_NOTHING = (None, None)

_SMALL = 32768  # elements: with fewer, calling Python in backward costs more than all kernels


def _is_small(input: Tensor, *parameters: reference.Parameter) -> bool:
    """Whether PyTorch's own nodes are quicker, though they keep the ramp's line beside the output.

    Not for the half types: their line would be float32, and its kinks not those of the output. Nor
    for a subclass, which may not know those nodes. And where a parameter learns, only where the
    line may be looked at.
    """
    few = input.numel() < _SMALL and input.dtype in (torch.float32, torch.float64)
    return (
        few
        and type(input) in PLAIN
        and (not _learn(*parameters) or (input.is_cpu and not is_traced()))
    )


def _small(input: Tensor, low: reference.Parameter, wide: reference.Parameter) -> Tensor:
    """The ramp by PyTorch's own nodes; by the Function for what they have no derivative for.

    At NaN theirs is not of one mind, and where the line is infinite, a learning width gets NaN.
    """
    line = (input - reference.cast(low, input.dtype)) / reference.cast(wide, input.dtype)
    output: Tensor = functional.hardtanh(line, 0.0, 1.0)
    if not output.requires_grad or not output.is_cpu or is_traced():
        return output
    # A sum is finite only where all its terms are.
    fine = math.isfinite(line.detach().sum().item()) if _learn(wide) else output.equal(output)
    return output if fine else RampFunction.apply(input, low, wide, 0.0)


def _native(
    kernel: Callable[..., Any],
    input: Tensor,
    threshold: float | Tensor,
    width: float | Tensor,
    leak: float,
    dim: int,
    reuse_input: bool,
    counters: tuple[Tensor | None, Tensor | None],
) -> Tensor:
    """Hand over to the C++ kernel, which checks for itself; explain where it refuses."""
    low, wide = isinstance(threshold, Tensor), isinstance(width, Tensor)
    try:
        output: Tensor = kernel(
            input,
            threshold if low else None,
            width if wide else None,
            0.0 if low else threshold,
            1.0 if wide else width,
            leak,
            dim,
            reuse_input,
            *counters,
        )
    except RuntimeError:
        aligned(input, threshold, width, leak, dim)
        check_counters(input, dim, counters)
        raise
    return output


def _on_triton(input: Tensor) -> bool:
    return input.is_cuda and paths.has_triton()


def _triton(input: Tensor, *arguments: Any) -> Tensor:
    # Importing Triton takes its time, and whoever computes on the CPU never needs it.
    from brainnet.kernels import triton_ramp

    return triton_ramp.threshold_ramp(input, *arguments)


def _compiled(
    input: Tensor,
    threshold: float | Tensor,
    width: float | Tensor,
    leak: float,
    dim: int,
    counters: tuple[Tensor, Tensor] | None,
) -> Tensor:
    """What a compiler or an exporter traces: operations that it can take apart and fuse."""
    low, wide = aligned(input, threshold, width, leak, dim)
    # An exporter wants a graph that needs nothing of ours; and a transform inside a compiled
    # region would take the registered op's tangents for zeros.
    exporting = torch.compiler.is_exporting()
    if exporting and not torch.is_grad_enabled() and not is_transformed():
        output = reference.forward(input, low, wide)  # nobody will learn from that graph
    elif exporting or is_tracing() or is_transformed():
        output = reference.differentiable(input, low, wide, float(leak))
    else:
        output = operator.threshold_ramp(input, low, wide, float(leak))
    if counters is not None:
        _count(input, output, dim, counters)
    return output


def _count(input: Tensor, output: Tensor, dim: int, counters: tuple[Tensor, Tensor]) -> None:
    if is_transformed():
        raise RuntimeError(
            "the counters of threshold_ramp count calls, and a function transform (vmap, grad, "
            "jvp ...) has no one call to count. Leave them out there: counters=None, or "
            "stop_counting() of a ThresholdRamp."
        )
    check_counters(input, dim, counters)
    update_counters(input, output, dim, counters)


def _learn(*parameters: reference.Parameter) -> bool:
    """Whether somebody asks for the gradient of a threshold or a width."""
    return any(isinstance(each, Tensor) and each.requires_grad for each in parameters)
