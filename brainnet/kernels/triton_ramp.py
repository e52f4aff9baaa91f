"""The threshold ramp on CUDA: one Triton kernel per direction, with sums and counters in one pass.

Both kernels see the memory as a matrix. A line holds every neuron at least once, and its length is
a multiple of 16 elements, so that every line is aligned to 128 bits. A program computes a block of
columns in several lines. The neuron of a column is the same in all lines: its index, threshold and
width are computed once, and sums per neuron are first sums per column, without communication.
"""

from __future__ import annotations

# mypy: disable-error-code="import-untyped, import-not-found, no-untyped-def, untyped-decorator"
# mypy: no-warn-return-any
# (Kernels are written in Triton's own language, whose types these tools do not know.)
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from brainnet.kernels.reference import RampParameter

# Triton is not installed on every machine, and without a GPU nothing here is called.
try:
    import triton
    import triton.language as tl
except ImportError:
    triton = tl = None

# Columns of a program: for 128 threads, 128 bits of the half types each.
_COLUMNS = 1024
# Lines that are added in float32 before a sum is widened to float64. Their rounding errors stay
# below the 5e-7 that `create_counters` documents.
_LINES = 4
# Target for the elements of a line, rounded down to whole groups of all neurons (at least one).
_PERIOD = 8192
# Lines that a program counts, at most, because its counts have 10 bits.
_MAX_SHARE = 1000
# Target for the programs of a kernel with sums. The same on every device, so that every device adds
# in the same order.
_PROGRAMS = 1024

# How a kernel gets a threshold or width: not at all (0 or 1), as one value, or one per neuron.
_IMPLIED, _SHARED, _PER_NEURON = 0, 1, 2
_jit = triton.jit if triton else lambda kernel: kernel


@_jit
def _clamp(x, low: tl.constexpr, high: tl.constexpr):
    x = tl.maximum(x, low, propagate_nan=tl.PropagateNan.ALL)
    return tl.minimum(x, high, propagate_nan=tl.PropagateNan.ALL)


@_jit
def _find_columns(period, COLUMNS: tl.constexpr):
    """The first column, the columns and the part of this program, and the number of parts."""
    blocks = (period - 1) // COLUMNS + 1
    program = tl.program_id(0)
    start = (program % blocks).to(period.dtype) * COLUMNS
    return start, start + tl.arange(0, COLUMNS), program // blocks, tl.num_programs(0) // blocks


@_jit
def _find_neurons(column, neurons, inner, FOLDED: tl.constexpr):
    neuron = column // inner
    return neuron % neurons if FOLDED else neuron


@_jit
def _load_parameter(pointer, neuron, known, MODE: tl.constexpr):
    if MODE == 2:
        parameter = tl.load(pointer + neuron, mask=known, other=1.0)
    elif MODE == 1:
        parameter = tl.load(pointer)
    else:
        parameter = tl.full([], 1.0, tl.float32)
    return parameter


@_jit
def _invert(w):
    """The inverse, which a step of Newton's method rounds correctly without a subroutine."""
    inverse = 1.0 / w
    return tl.fma(tl.fma(inverse, -w, 1.0), inverse, inverse)


@_jit
def _ramp(x, t, minus_w, inverse, LOW_MODE: tl.constexpr, WIDE_MODE: tl.constexpr):
    """The clamped quotient, rounded like a division but in a third of its instructions."""
    z = x if LOW_MODE == 0 else x - t
    if WIDE_MODE > 0:
        # One step of Newton's method after a multiplication by the inverse gives the correctly
        # rounded quotient (Markstein 1990). Clamped first, because the step needs a finite one.
        quotient = _clamp(z * inverse, -1.0, 2.0)
        z = tl.fma(tl.fma(quotient, minus_w, z), inverse, quotient)
    return _clamp(z, 0.0, 1.0)


@_jit
def _sum_columns(values, known, GROUP: tl.constexpr):
    """Sums of adjacent columns that belong to one neuron."""
    if GROUP > 1:
        values = tl.where(known, values, 0)
        values = tl.sum(tl.reshape(values, [values.shape[0] // GROUP, GROUP]), 1)
    return values


@_jit
def _store_sums(
    sums, first, second, start, part, known, period, GROUP: tl.constexpr, COLUMNS: tl.constexpr
):
    """Store two sums per group of columns of this part."""
    cells = (period - 1) // GROUP + 1
    cell = start // GROUP + tl.arange(0, COLUMNS // GROUP)
    sums += part.to(tl.int64) * 2 * cells + cell
    tl.store(sums, _sum_columns(first, known, GROUP), mask=cell < cells)
    tl.store(sums + cells, _sum_columns(second, known, GROUP), mask=cell < cells)


@_jit
def _forward_line(
    x, y, column, mask, t, minus_w, inverse, packed, total, squares,
    LOW_MODE: tl.constexpr, WIDE_MODE: tl.constexpr, COUNT: tl.constexpr, TAIL: tl.constexpr,
):  # fmt: skip
    value = tl.load(x + column, mask=mask).to(tl.float32)
    rounded = _ramp(value, t, minus_w, inverse, LOW_MODE, WIDE_MODE).to(y.dtype.element_ty)
    tl.store(y + column, rounded, mask=mask)
    if COUNT:
        out = rounded.to(tl.float32)
        is_finite = tl.abs(value) < float("inf")
        # Silent, firing and not finite in 10 bits each, which takes one addition.
        kind = tl.where(out == 1.0, 1 << 10, tl.where(out == 0.0, 1, 0))
        kind = tl.where(is_finite, kind, 1 << 20)
        out = tl.where(is_finite, out, 0.0)
        if TAIL:
            kind = tl.where(mask, kind, 0)
            out = tl.where(mask, out, 0.0)
        packed += kind
        total += out
        squares += out * out
    return packed, total, squares


@_jit
def _forward_kernel(
    x, y, low, wide, counts, sums, period, lines, rest, share, neurons, inner,
    LOW_MODE: tl.constexpr, WIDE_MODE: tl.constexpr, COUNT: tl.constexpr, FOLDED: tl.constexpr,
    GROUP: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Compute the output and, with COUNT, the activity of each group of columns in `share` lines.

    `rest` is the number of elements after the last whole line.
    """
    start, column, part, parts = _find_columns(period, COLUMNS)
    known = column < period
    neuron = _find_neurons(column, neurons, inner, FOLDED)
    t = _load_parameter(low, neuron, known, LOW_MODE)
    w = _load_parameter(wide, neuron, known, WIDE_MODE)
    inverse = _invert(w)
    minus_w = -w
    packed = tl.zeros([COLUMNS], tl.int32)
    total = tl.zeros([COLUMNS], tl.float64)
    squares = tl.zeros([COLUMNS], tl.float64)
    line = part.to(tl.int64) * share
    stop = tl.minimum(line + share, lines)
    # Not a for loop, because Triton's interpreter cannot create a range with bounds that are
    # tensors (NumPy 2.4).
    while line + LINES <= stop:
        part_total = tl.zeros([COLUMNS], tl.float32)
        part_squares = tl.zeros([COLUMNS], tl.float32)
        for k in tl.static_range(LINES):
            offset = (line + k) * period
            packed, part_total, part_squares = _forward_line(
                x + offset, y + offset, column, known, t, minus_w, inverse,
                packed, part_total, part_squares, LOW_MODE, WIDE_MODE, COUNT, False,
            )  # fmt: skip
        total += part_total
        squares += part_squares
        line += LINES
    # The remaining lines and, in the last part, the elements after them.
    stop += ((part == parts - 1) & (rest > 0)).to(tl.int64)
    while line < stop:
        offset = line * period
        valid = column < tl.where(line < lines, period, rest)
        zeros = tl.zeros([COLUMNS], tl.float32)
        packed, part_total, part_squares = _forward_line(
            x + offset, y + offset, column, valid, t, minus_w, inverse,
            packed, zeros, zeros, LOW_MODE, WIDE_MODE, COUNT, True,
        )  # fmt: skip
        total += part_total
        squares += part_squares
        line += 1
    if COUNT:
        cells = (period - 1) // GROUP + 1
        cell = start // GROUP + tl.arange(0, COLUMNS // GROUP)
        is_cell = cell < cells
        counts += part.to(tl.int64) * 3 * cells + cell
        for k in tl.static_range(3):
            count = (packed >> 10 * k) & 1023
            tl.store(counts + k * cells, _sum_columns(count, known, GROUP), mask=is_cell)
        _store_sums(sums, total, squares, start, part, known, period, GROUP, COLUMNS)


@_jit
def _backward_line(
    g, y, d, column, mask, minus_w, inverse, grad, leak, d_low, d_wide,
    WIDE_MODE: tl.constexpr, LEAK: tl.constexpr, ONE_GRAD: tl.constexpr,
    SUM_LOW: tl.constexpr, SUM_WIDE: tl.constexpr, TAIL: tl.constexpr,
):  # fmt: skip
    out = tl.load(y + column, mask=mask).to(tl.float32)
    if not ONE_GRAD:
        grad = tl.load(g + column, mask=mask).to(tl.float32)
    ramp_grad = grad
    if WIDE_MODE > 0:
        quotient = grad * inverse
        ramp_grad = tl.fma(tl.fma(quotient, minus_w, grad), inverse, quotient)
        ramp_grad = tl.where(tl.abs(quotient) < float("inf"), ramp_grad, quotient)
    leak_grad = grad * leak if LEAK else tl.zeros_like(out)
    d_input = tl.where((out > 0.0) & (out < 1.0), ramp_grad, leak_grad)
    tl.store(d + column, d_input.to(d.dtype.element_ty), mask=mask)
    if TAIL:
        d_input = tl.where(mask, d_input, 0.0)
        out = tl.where(mask, out, 0.0)
    if SUM_LOW:
        d_low -= d_input
    if SUM_WIDE:
        d_wide -= out * d_input
    return d_low, d_wide


@_jit
def _backward_kernel(
    g, y, d, wide, sums, period, lines, rest, share, neurons, inner,
    WIDE_MODE: tl.constexpr, LEAK: tl.constexpr, ONE_GRAD: tl.constexpr,
    SUM_LOW: tl.constexpr, SUM_WIDE: tl.constexpr, FOLDED: tl.constexpr,
    GROUP: tl.constexpr, LINES: tl.constexpr, COLUMNS: tl.constexpr, leak,
):  # fmt: skip
    """Compute the gradient of the input and partial sums for those of threshold and width."""
    start, column, part, parts = _find_columns(period, COLUMNS)
    known = column < period
    neuron = _find_neurons(column, neurons, inner, FOLDED)
    w = _load_parameter(wide, neuron, known, WIDE_MODE)
    inverse = _invert(w)
    minus_w = -w
    grad = tl.load(g).to(tl.float32) if ONE_GRAD else 0.0
    d_low = tl.zeros([COLUMNS], tl.float64)
    d_wide = tl.zeros([COLUMNS], tl.float64)
    line = part.to(tl.int64) * share
    stop = tl.minimum(line + share, lines)
    while line + LINES <= stop:
        part_low = tl.zeros([COLUMNS], tl.float32)
        part_wide = tl.zeros([COLUMNS], tl.float32)
        for k in tl.static_range(LINES):
            offset = (line + k) * period
            part_low, part_wide = _backward_line(
                g + offset, y + offset, d + offset, column, known, minus_w, inverse, grad, leak,
                part_low, part_wide, WIDE_MODE, LEAK, ONE_GRAD, SUM_LOW, SUM_WIDE, False,
            )  # fmt: skip
        d_low += part_low
        d_wide += part_wide
        line += LINES
    stop += ((part == parts - 1) & (rest > 0)).to(tl.int64)
    while line < stop:
        offset = line * period
        valid = column < tl.where(line < lines, period, rest)
        zeros = tl.zeros([COLUMNS], tl.float32)
        part_low, part_wide = _backward_line(
            g + offset, y + offset, d + offset, column, valid, minus_w, inverse, grad, leak,
            zeros, zeros, WIDE_MODE, LEAK, ONE_GRAD, SUM_LOW, SUM_WIDE, True,
        )  # fmt: skip
        d_low += part_low
        d_wide += part_wide
        line += 1
    if SUM_LOW or SUM_WIDE:
        _store_sums(sums, d_low, d_wide, start, part, known, period, GROUP, COLUMNS)


class _Plan(NamedTuple):
    """How a kernel traverses the memory; the arguments that all kernels share, in their order."""

    period: int
    lines: int
    rest: int
    share: int
    neurons: int
    inner: int
    folded: bool
    group: int
    lines_at_once: int
    columns: int

    @property
    def parts(self) -> int:
        """Number of programs that share a column."""
        return max(1, -(-self.lines // self.share))

    @property
    def grid(self) -> tuple[int]:
        """Number of programs; those of the same lines follow each other."""
        return (-(-self.period // self.columns) * self.parts,)

    def create_parts(self, kinds: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Create memory for sums of each group of columns in each part."""
        cells = -(-self.period // self.group)
        return torch.empty(self.parts, kinds, cells, dtype=dtype, device=device)

    def sum_parts(self, partial: Tensor, dtype: torch.dtype) -> Tensor:
        """Reduce (parts, kinds, cells) to (kinds, neurons)."""
        kinds = partial.sum(0, dtype=dtype)
        if self.neurons == 1:
            return kinds.sum(1, keepdim=True)
        return kinds.view(len(kinds), -1, self.neurons, self.inner // self.group).sum((1, 3))


def _make_plan(total: int, neurons: int, inner: int, *, sums: bool) -> _Plan:
    """Choose lines of about `_PERIOD` elements that hold every neuron equally often.

    The elements are (outer, neurons, inner). Programs that leave `sums` should be few.
    """
    if neurons == 1:
        inner = 1
    # Aligned, because Triton loads 128 bits only where it can prove that.
    step = math.lcm(neurons * inner, 16)
    period = step * max(1, min(total, _PERIOD) // step)
    lines, rest = divmod(total, period)
    # A program repays its start with many lines; without sums, more programs balance the load.
    programs = _PROGRAMS if sums else 4 * _PROGRAMS
    share = -(-lines * -(-period // _COLUMNS) // (programs * _LINES)) * _LINES
    share = min(max(share, 4 * _LINES if sums else _LINES), _MAX_SHARE)
    group = _COLUMNS if neurons == 1 else math.gcd(inner, _COLUMNS)
    folded = period > neurons * inner
    return _Plan(period, lines, rest, share, neurons, inner, folded, group, _LINES, _COLUMNS)


def _find_layout(dense: Tensor, dim: int, *, per_neuron: bool) -> tuple[int, int]:
    """Return the number of neurons and of adjacent elements of one neuron in memory."""
    if not per_neuron or dense.dim() == 0 or dense.shape[dim] == 1:
        return 1, 1
    # The stride of a dimension of dense memory is the number of elements inside it.
    return dense.shape[dim], max(dense.stride(dim), 1)


def _prepare_parameter(
    parameter: RampParameter, implied: float, like: Tensor
) -> tuple[Tensor, int]:
    """Return the parameter in memory, and how the kernels use it."""
    if isinstance(parameter, Tensor):
        values = parameter.detach().float().reshape(-1).contiguous()
        return values, _SHARED if values.numel() == 1 else _PER_NEURON
    if parameter == implied:
        return like, _IMPLIED
    return torch.full((), parameter, dtype=torch.float32, device=like.device), _SHARED


def run_forward(
    input: Tensor,
    threshold: RampParameter,
    width: RampParameter,
    dim: int,
    counters: tuple[Tensor, Tensor] | None,
) -> Tensor:
    """Compute the ramp, and add the activity of the neurons to the counters."""
    if not torch.ops.aten.is_non_overlapping_and_dense(input):
        input = input.contiguous()
    output = torch.empty_like(input)
    total = output.numel()
    if not total:
        return output
    low, low_mode = _prepare_parameter(threshold, 0.0, output)
    wide, wide_mode = _prepare_parameter(width, 1.0, output)
    per_neuron = _PER_NEURON in (low_mode, wide_mode)
    per_neuron = per_neuron or (counters is not None and counters[0].shape[1] > 1)
    neurons, inner = _find_layout(output, dim, per_neuron=per_neuron)
    plan = _make_plan(total, neurons, inner, sums=counters is not None)
    counts = sums = output
    if counters is not None:
        counts = plan.create_parts(3, torch.int32, output.device)
        sums = plan.create_parts(2, torch.float32, output.device)
    tensors = input, output, low, wide, counts, sums
    _launch(_forward_kernel, plan, tensors, (low_mode, wide_mode, counters is not None))
    if counters is not None:
        silent, firing, not_finite = plan.sum_parts(counts, torch.int64)
        on_ramp = total // neurons - silent - firing - not_finite
        counters[0].add_(torch.stack([silent, on_ramp, firing, not_finite]))
        counters[1].add_(plan.sum_parts(sums, torch.float64))
    return output


def run_backward(
    grad: Tensor,
    output: Tensor,
    threshold: RampParameter,
    width: RampParameter,
    leak: float,
    dim: int,
    needed: tuple[bool, bool],
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Compute the gradients of input, threshold and width."""
    # The gradient of a sum is one number, expanded to the shape of the output.
    is_one = not any(grad.stride())
    if not is_one and grad.stride() != output.stride():
        grad = torch.empty_like(output).copy_(grad)
    d_input = torch.empty_like(output)
    wide, wide_mode = _prepare_parameter(width, 1.0, output)
    learnable = [p for p, is_needed in zip((threshold, width), needed, strict=True) if is_needed]
    per_neuron = any(isinstance(p, Tensor) and p.numel() > 1 for p in (width, *learnable))
    neurons, inner = _find_layout(output, dim, per_neuron=per_neuron)
    plan = _make_plan(output.numel(), neurons, inner, sums=any(needed))
    sums = plan.create_parts(2, torch.float32, output.device) if any(needed) else output
    tensors = grad, output, d_input, wide, sums
    _launch(_backward_kernel, plan, tensors, (wide_mode, leak != 0.0, is_one, *needed), leak=leak)
    if not any(needed):
        return d_input, None, None
    d_low, d_wide = (
        _shape_gradient(total, parameter) if is_needed and isinstance(parameter, Tensor) else None
        for total, parameter, is_needed in zip(
            plan.sum_parts(sums, torch.float64), (threshold, width), needed, strict=True
        )
    )
    return d_input, d_low, d_wide


def _shape_gradient(gradient: Tensor, parameter: Tensor) -> Tensor:
    gradient = gradient.sum() if parameter.numel() == 1 else gradient
    return gradient.reshape(parameter.shape).to(parameter.dtype)


def _launch(
    kernel: Any, plan: _Plan, tensors: tuple[Tensor, ...], modes: tuple[int, ...], **numbers: float
) -> None:
    with torch.cuda.device_of(tensors[0]):
        kernel[plan.grid](*tensors, *plan[:6], *modes, *plan[6:], **numbers)
