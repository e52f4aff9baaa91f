"""The threshold ramp on CUDA: one Triton kernel each way, sums and counters in the same pass."""

from __future__ import annotations

# ruff: noqa: ANN001, ANN202, N803
# mypy: disable-error-code="import-untyped, import-not-found, no-untyped-def, untyped-decorator"
# mypy: no-warn-return-any
# (The bodies of Triton's kernels are a language of their own, which no type checker knows.)
from typing import NamedTuple

import torch
from torch import Tensor

from brainnet.kernels import reference
from brainnet.kernels.reference import RampParameter

try:
    import triton
    import triton.language as tl
except ImportError:  # Where there is no GPU there may be no Triton; then nothing here is called.
    triton = tl = None

_PLAIN_BLOCK = 4096

_TILE = 2048  # elements that a program adds up at a time

_COLUMNS = 64  # of as many neurons, at most
# Partial sums per neuron, or programs where neurons are few; whatever the device, so that every
# device adds alike.
_PARTS = 128

_PROGRAMS = 1024


_jit = triton.jit if triton else lambda kernel: kernel


@_jit
def _ramp(x, low, wide):
    z = tl.div_rn(x - low, wide) if x.dtype == tl.float32 else (x - low) / wide
    # Comparisons rather than minimum and maximum: a NaN fails both and stays.
    z = tl.where(z < 0.0, 0.0, z)
    return tl.where(z > 1.0, 1.0, z)


@_jit
def _sloped(g, y, wide, leak, LEAKS: tl.constexpr):
    inside = tl.div_rn(g, wide) if g.dtype == tl.float32 else g / wide
    outside = g * tl.load(leak) if LEAKS else tl.zeros_like(g)
    return tl.where((y > 0.0) & (y < 1.0), inside, outside)


@_jit
def _wide_enough(x):
    return x if x.dtype == tl.float64 else x.to(tl.float32)


@_jit
def _parameters(low, wide, j, inside, PER_LOW: tl.constexpr, PER_WIDE: tl.constexpr):
    """Threshold and width of the neurons `j`, one value each where they are shared."""
    t = tl.load(low + j, mask=inside, other=0.0) if PER_LOW else tl.load(low)
    w = tl.load(wide + j, mask=inside, other=1.0) if PER_WIDE else tl.load(wide)
    return t, w


@_jit
def _forward_kernel(
    x, y, low, wide, total, neurons, inner,
    PER_LOW: tl.constexpr, PER_WIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Elementwise, without counters: any layout, each byte moved once."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < total
    j = (at // inner) % neurons
    t, w = _parameters(low, wide, j, inside, PER_LOW, PER_WIDE)
    value = _wide_enough(tl.load(x + at, mask=inside, other=0.0))
    tl.store(y + at, _ramp(value, t, w).to(y.dtype.element_ty), mask=inside)


@_jit
def _backward_kernel(
    g, y, d, wide, leak, total, neurons, inner,
    PER_WIDE: tl.constexpr, LEAKS: tl.constexpr, ONE_GRAD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The input's gradient alone."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < total
    j = (at // inner) % neurons
    w = tl.load(wide + j, mask=inside, other=1.0) if PER_WIDE else tl.load(wide)
    grad = (
        tl.load(g) + tl.zeros([BLOCK], g.dtype.element_ty)
        if ONE_GRAD
        else tl.load(g + at, mask=inside, other=0.0)
    )
    out = _wide_enough(tl.load(y + at, mask=inside, other=0.0))
    moved = _sloped(_wide_enough(grad), out, w, leak, LEAKS)
    tl.store(d + at, moved.to(d.dtype.element_ty), mask=inside)


@_jit
def _summing_kernel(
    g, y, d, wide, leak, sums, lines, neurons, inner, parts,
    PER_WIDE: tl.constexpr, LEAKS: tl.constexpr, ONE_GRAD: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """All three gradients: part p of them takes the lines p * ROWS + k * parts * ROWS.

    A line is one element of every neuron, whichever way the memory lies.
    """
    j = tl.program_id(0).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    part = tl.program_id(1)
    known = j < neurons
    w = tl.load(wide + j, mask=known, other=1.0) if PER_WIDE else tl.load(wide)
    d_low = tl.zeros([COLUMNS], tl.float64)
    d_wide = tl.zeros([COLUMNS], tl.float64)
    start = part.to(tl.int64) * ROWS
    while start < lines:  # not a range: Triton's interpreter makes none from tensors (NumPy 2.4)
        line = start + tl.arange(0, ROWS)
        at = ((line // inner) * neurons * inner + line % inner)[:, None] + j[None, :] * inner
        inside = (line < lines)[:, None] & known[None, :]
        grad = (
            tl.load(g) + tl.zeros([ROWS, COLUMNS], g.dtype.element_ty)
            if ONE_GRAD
            else tl.load(g + at, mask=inside, other=0.0)
        )
        out = _wide_enough(tl.load(y + at, mask=inside, other=0.0))
        moved = _sloped(_wide_enough(grad), out, w, leak, LEAKS)
        tl.store(d + at, moved.to(d.dtype.element_ty), mask=inside)
        moved = tl.where(inside, moved, 0.0)
        d_low -= tl.sum(moved.to(tl.float64), 0)
        d_wide -= tl.sum((out * moved).to(tl.float64), 0)
        start += parts * ROWS
    tl.store(sums + (part * 2) * neurons + j, d_low, mask=known)
    tl.store(sums + (part * 2 + 1) * neurons + j, d_wide, mask=known)


@_jit
def _counting_kernel(
    x, y, low, wide, counts, sums, lines, neurons, inner, parts,
    PER_LOW: tl.constexpr, PER_WIDE: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The output and what each neuron did, in parts as in the summing kernel."""
    j = tl.program_id(0).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    part = tl.program_id(1)
    known = j < neurons
    t, w = _parameters(low, wide, j, known, PER_LOW, PER_WIDE)
    silent = tl.zeros([COLUMNS], tl.int64)
    rising = tl.zeros([COLUMNS], tl.int64)
    firing = tl.zeros([COLUMNS], tl.int64)
    odd = tl.zeros([COLUMNS], tl.int64)
    total = tl.zeros([COLUMNS], tl.float64)
    squares = tl.zeros([COLUMNS], tl.float64)
    start = part.to(tl.int64) * ROWS
    while start < lines:  # not a range: Triton's interpreter makes none from tensors (NumPy 2.4)
        line = start + tl.arange(0, ROWS)
        at = ((line // inner) * neurons * inner + line % inner)[:, None] + j[None, :] * inner
        inside = (line < lines)[:, None] & known[None, :]
        value = _wide_enough(tl.load(x + at, mask=inside, other=0.0))
        held = _ramp(value, t, w).to(y.dtype.element_ty)
        tl.store(y + at, held, mask=inside)
        out = held.to(tl.float64)
        finite = (value > float("-inf")) & (value < float("inf"))
        odd += tl.sum((inside & (finite == 0)).to(tl.int64), 0)
        finite = finite & inside
        silent += tl.sum((finite & (out == 0.0)).to(tl.int64), 0)
        firing += tl.sum((finite & (out == 1.0)).to(tl.int64), 0)
        rising += tl.sum((finite & (out > 0.0) & (out < 1.0)).to(tl.int64), 0)
        out = tl.where(finite, out, 0.0)
        total += tl.sum(out, 0)
        squares += tl.sum(out * out, 0)
        start += parts * ROWS
    tl.store(counts + (part * 4) * neurons + j, silent, mask=known)
    tl.store(counts + (part * 4 + 1) * neurons + j, rising, mask=known)
    tl.store(counts + (part * 4 + 2) * neurons + j, firing, mask=known)
    tl.store(counts + (part * 4 + 3) * neurons + j, odd, mask=known)
    tl.store(sums + (part * 2) * neurons + j, total, mask=known)
    tl.store(sums + (part * 2 + 1) * neurons + j, squares, mask=known)


def _layout(dense: Tensor, dim: int, per_neuron: bool) -> tuple[int, int, int]:
    """Memory as (outer, neurons, inner); a dense dimension's stride counts what lies within it."""
    if not per_neuron or dense.dim() == 0 or dense.shape[dim] == 1:
        return 1, 1, dense.numel()
    neurons = dense.shape[dim]
    inner = max(dense.stride(dim), 1)
    return dense.numel() // max(neurons * inner, 1), neurons, inner


class _Tiles(NamedTuple):
    """How a kernel with sums goes over memory: by tiles of some lines of some neurons."""

    lines: int  # one element of every neuron each
    neurons: int
    inner: int
    parts: int
    rows: int
    columns: int

    @property
    def grid(self) -> tuple[int, int]:
        return -(-self.neurons // self.columns), self.parts


def _tiles(layout: tuple[int, int, int]) -> _Tiles:
    """Tiles of one size; where neurons are few they take more lines, and more parts share them."""
    outer, neurons, inner = layout
    if neurons == 1:  # all that lies within the one neuron is lines, one after the other
        outer, inner = outer * inner, 1
    columns = min(_COLUMNS, 1 << (neurons - 1).bit_length())
    rows = _TILE // columns
    parts = max(_PARTS, _PROGRAMS // -(-neurons // columns))
    return _Tiles(
        outer * inner, neurons, inner, min(parts, -(-outer * inner // rows)), rows, columns
    )


def _held(parameter: RampParameter, like: Tensor) -> Tensor:
    dtype = reference.compute_dtype(like.dtype)
    if isinstance(parameter, Tensor):
        return parameter.detach().to(dtype).contiguous()
    return torch.full((), parameter, dtype=dtype, device=like.device)


def _forward(
    input: Tensor,
    output: Tensor,
    threshold: RampParameter,
    width: RampParameter,
    dim: int,
    counters: tuple[Tensor, Tensor] | None,
) -> None:
    low, wide = _held(threshold, input), _held(width, input)
    per_low, per_wide = low.numel() > 1, wide.numel() > 1
    counting = counters is not None and counters[0].shape[1] != 1
    layout = _layout(output, dim, per_low or per_wide or counting)
    total = output.numel()
    if counters is None:
        _forward_kernel[(triton.cdiv(total, _PLAIN_BLOCK),)](
            input, output, low, wide, total, layout[1], layout[2], per_low, per_wide, _PLAIN_BLOCK
        )
        return
    tiles = _tiles(layout)
    counts = torch.empty(tiles.parts, 4, tiles.neurons, dtype=torch.int64, device=input.device)
    sums = torch.empty(tiles.parts, 2, tiles.neurons, dtype=torch.float64, device=input.device)
    _counting_kernel[tiles.grid](
        input, output, low, wide, counts, sums, *tiles[:4], per_low, per_wide, *tiles[4:]
    )
    counters[0].add_(counts.sum(0))
    counters[1].add_(sums.sum(0))


def _backward(
    grad: Tensor,
    output: Tensor,
    threshold: RampParameter,
    width: RampParameter,
    leak: float,
    dim: int,
    wanted: tuple[bool, bool],
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    one_grad = grad.numel() > 0 and not any(grad.stride())
    if not one_grad and grad.stride() != output.stride():
        grad = torch.empty_like(output).copy_(grad)
    moved, wide = torch.empty_like(output), _held(width, output)
    learning = [p for p, w in zip((threshold, width), wanted, strict=True) if w]
    per_neuron = wide.numel() > 1 or any(isinstance(p, Tensor) and p.dim() for p in learning)
    layout = _layout(output, dim, per_neuron)
    total, leaks, per_wide = output.numel(), leak != 0.0, wide.numel() > 1
    slope = _held(leak, output)  # in memory: Triton passes numbers as float32 alone
    if not any(wanted):
        _backward_kernel[(triton.cdiv(total, _PLAIN_BLOCK),)](
            grad, output, moved, wide, slope, total, layout[1], layout[2],
            per_wide, leaks, one_grad, _PLAIN_BLOCK,
        )  # fmt: skip
        return moved, None, None
    tiles = _tiles(layout)
    sums = torch.empty(tiles.parts, 2, tiles.neurons, dtype=torch.float64, device=output.device)
    _summing_kernel[tiles.grid](
        grad, output, moved, wide, slope, sums, *tiles[:4], per_wide, leaks, one_grad, *tiles[4:]
    )
    found = [
        each.sum_to_size(p.shape).to(p.dtype) if w and isinstance(p, Tensor) else None
        for each, p, w in zip(sums.sum(0), (threshold, width), wanted, strict=True)
    ]
    return moved, found[0], found[1]


def run_forward(
    input: Tensor,
    threshold: RampParameter,
    width: RampParameter,
    dim: int,
    reuse_input: bool,
    counters: tuple[Tensor, Tensor] | None,
) -> Tensor:
    """Compute the ramp, in the memory of the input where that is allowed and invisible."""
    dense = input if _is_dense(input) else input.contiguous()
    output = input if reuse_input and _can_overwrite(input) else torch.empty_like(dense)
    if output.numel():
        with torch.cuda.device_of(input):
            _forward(dense, output, threshold, width, dim, counters)
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
    with torch.cuda.device_of(output):
        return _backward(grad, output, threshold, width, leak, dim, needed)


def _is_dense(tensor: Tensor) -> bool:
    return torch.ops.aten.is_non_overlapping_and_dense(tensor)


def _can_overwrite(input: Tensor) -> bool:
    """Only memory whose values nobody can ask for again: no leaf, no view, no hooks on it."""
    # Two hold it: the tensor, and the object that is asked here.
    held = torch._C._storage_Use_Count(input.untyped_storage()._cdata)
    alone = _is_dense(input) and not input._is_view() and not input.is_inference() and held <= 2
    if not alone or not input.requires_grad:
        return alone
    return not (input.is_leaf or input.retains_grad or input._backward_hooks)
