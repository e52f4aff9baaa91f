"""Statistics of many tensors on CUDA: two launches for a list, whatever its length.

A table of chunks tells the first kernel where each stretch of memory lies and to which row it
belongs. Its programs leave moments chunk by chunk, and add counts, which are integers and so add
up alike in any order; the second kernel adds up each row's moments in the order of its chunks.
"""

from __future__ import annotations

# ruff: noqa: ANN001, ANN202, N803
# The bodies of Triton's kernels are a language of their own, which no type checker knows.
# mypy: disallow-untyped-defs=False, disallow-untyped-decorators=False, ignore-missing-imports
# mypy: disallow-untyped-calls=False, disallow-any-generics=False, disallow-incomplete-defs=False
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from brainnet.kernels.histogram_layout import STATISTICS_LAYOUT as LAYOUT

try:
    import triton
    import triton.language as tl
except ImportError:  # Where there is no GPU there may be no Triton; then nothing here is called.
    triton = tl = None

CHUNK = 65536

BLOCK = 2048

PARTIALS = 256  # chunks whose moments are added up side by side

SPARE = 1024  # bins of the kernel's own histogram: a power of two, those of the layout and more

_jit = triton.jit if triton else lambda kernel: kernel


def add_statistics(tensors: Sequence[Tensor], table: Tensor) -> None:
    """Add each tensor's statistics to its row of the table; waits for nothing."""
    # Copies of scattered tensors live until the kernels that read them are queued.
    dense = [_dense(each) for each in tensors]
    for dtype in {each.dtype for each in dense if each.numel()}:
        chunks, rows = _chunks(dense, dtype)
        _launch(chunks, rows, dtype, table)


def _dense(tensor: Tensor) -> Tensor:
    """The tensor's elements as one stretch of memory, in whatever order."""
    if tensor.is_contiguous() and not tensor.is_neg():
        return tensor
    values = tensor.detach().resolve_neg()
    strides = sorted(zip(values.stride(), values.shape, strict=True), reverse=True)
    size = 1
    for stride, length in reversed(strides):
        if length > 1 and stride != size:
            return values.contiguous()
        size *= length
    return values


def _chunks(
    tensors: Sequence[Tensor], dtype: torch.dtype
) -> tuple[list[list[int]], list[list[int]]]:
    """Chunks as (address, length, row); for each row that has some (row, first, end, size)."""
    chunks: list[list[int]] = []
    rows: list[list[int]] = []
    for row, tensor in enumerate(tensors):
        if tensor.dtype != dtype or not (size := tensor.numel()):
            continue
        first, address = len(chunks), tensor.data_ptr()
        chunks += [
            [address + begin * dtype.itemsize, min(CHUNK, size - begin), row]
            for begin in range(0, size, CHUNK)
        ]
        rows.append([row, first, len(chunks), size])
    return chunks, rows


def _launch(
    chunks: list[list[int]], rows: list[list[int]], dtype: torch.dtype, table: Tensor
) -> None:
    numbers = torch.tensor([number for line in chunks + rows for number in line])
    if table.is_cuda:  # from pinned memory the copy waits for nobody
        numbers = numbers.pin_memory().to(table.device, non_blocking=True)
    partials = torch.empty(4, len(chunks), dtype=torch.float64, device=table.device)
    kind: Any = {
        torch.float32: tl.float32,
        torch.bfloat16: tl.bfloat16,
        torch.float16: tl.float16,
        torch.float64: tl.float64,
    }[dtype]
    wide = tl.float64 if dtype == torch.float64 else tl.float32
    with torch.cuda.device(table.device) if table.is_cuda else nullcontext():
        _chunk_kernel[(len(chunks),)](
            numbers, partials, table, len(chunks),
            KIND=kind, WIDE=wide, BINS=LAYOUT.bins, SPARE=SPARE, STEPS=LAYOUT.steps,
            LOWEST=LAYOUT.lowest, PER_OCTAVE=LAYOUT.per_octave, WIDTH=LAYOUT.width,
            NON_FINITE=LAYOUT.non_finite, FIRST_BIN=LAYOUT.first_bin, BLOCK=BLOCK, num_warps=8,
        )  # fmt: skip
        _row_kernel[(len(rows),)](
            numbers[3 * len(chunks) :], partials, table, table.view(torch.float64), len(chunks),
            COUNT=LAYOUT.count, MINIMUM=LAYOUT.minimum, MAXIMUM=LAYOUT.maximum, SUM=LAYOUT.sum,
            SQUARES=LAYOUT.sum_of_squares, WIDTH=LAYOUT.width, BLOCK=PARTIALS,
        )  # fmt: skip


@_jit
def _bins(bits, magnitude, finite, inside, SHIFT: tl.constexpr, START: tl.constexpr,
          STEPS: tl.constexpr, BINS: tl.constexpr):  # fmt: skip
    """The bin of each value; one after the last for non-finite ones, then one for none at all."""
    step = (magnitude >> SHIFT).to(tl.int32) - START
    step = tl.minimum(tl.maximum(step, -1), STEPS) + 2
    step = tl.where(magnitude == 0, 0, step)
    bin = tl.where(bits < 0, -step, step) + (STEPS + 2)
    bin = tl.where(finite, bin, BINS)
    return tl.where(inside, bin, BINS + 1)


@_jit
def _chunk_kernel(
    chunks, partials, table, number,
    KIND: tl.constexpr, WIDE: tl.constexpr, BINS: tl.constexpr, SPARE: tl.constexpr,
    STEPS: tl.constexpr, LOWEST: tl.constexpr, PER_OCTAVE: tl.constexpr, WIDTH: tl.constexpr,
    NON_FINITE: tl.constexpr, FIRST_BIN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One chunk: its moments into the partials, its counts into the table."""
    chunk = tl.program_id(0)
    values = tl.load(chunks + 3 * chunk).to(tl.pointer_type(KIND))
    length = tl.load(chunks + 3 * chunk + 1)
    row = tl.load(chunks + 3 * chunk + 2)
    total = tl.zeros([BLOCK], tl.float64)
    squares = tl.zeros([BLOCK], tl.float64)
    infinity = float("inf")
    low = tl.full([BLOCK], infinity, WIDE)
    high = tl.full([BLOCK], -infinity, WIDE)
    counts = tl.zeros([SPARE], tl.int32)
    begin = length * 0
    while begin < length:
        at = begin + tl.arange(0, BLOCK)
        inside = at < length
        value = tl.load(values + at, mask=inside, other=0.0)
        if tl.float64 == KIND:
            bits = value.to(tl.int64, bitcast=True)
            magnitude = bits & 0x7FFFFFFFFFFFFFFF
            finite = magnitude < 0x7FF0000000000000
            bin = _bins(
                bits, magnitude, finite, inside, 50, (1023 + LOWEST) * PER_OCTAVE, STEPS, BINS
            )
        else:
            value = value.to(WIDE)
            bits = value.to(tl.int32, bitcast=True)
            magnitude = bits & 0x7FFFFFFF
            finite = magnitude < 0x7F800000
            bin = _bins(
                bits, magnitude, finite, inside, 21, (127 + LOWEST) * PER_OCTAVE, STEPS, BINS
            )
        counts += tl.histogram(bin, SPARE)
        taken = finite & inside
        wide = tl.where(taken, value, 0.0).to(tl.float64)
        total += wide
        squares += wide * wide
        low = tl.minimum(low, tl.where(taken, value, infinity))
        high = tl.maximum(high, tl.where(taken, value, -infinity))
        begin += BLOCK
    tl.store(partials + chunk, tl.sum(total))
    tl.store(partials + number + chunk, tl.sum(squares))
    tl.store(partials + 2 * number + chunk, tl.min(low).to(tl.float64))
    tl.store(partials + 3 * number + chunk, tl.max(high).to(tl.float64))
    bin = tl.arange(0, SPARE)
    column = tl.where(bin == BINS, NON_FINITE, bin + FIRST_BIN)
    wanted = (bin <= BINS) & (counts != 0)
    tl.atomic_add(table + row * WIDTH + column, counts.to(tl.int64), mask=wanted, sem="relaxed")


@_jit
def _row_kernel(
    rows, partials, table, floats, number,
    COUNT: tl.constexpr, MINIMUM: tl.constexpr, MAXIMUM: tl.constexpr, SUM: tl.constexpr,
    SQUARES: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One row: the moments of its chunks, in their order, added to those that stand there."""
    line = rows + 4 * tl.program_id(0)
    row, first, last = tl.load(line), tl.load(line + 1), tl.load(line + 2)
    total = tl.zeros([BLOCK], tl.float64)
    squares = tl.zeros([BLOCK], tl.float64)
    infinity = float("inf")
    low = tl.full([BLOCK], infinity, tl.float64)
    high = tl.full([BLOCK], -infinity, tl.float64)
    begin = first
    while begin < last:
        at = begin + tl.arange(0, BLOCK)
        known = at < last
        total += tl.load(partials + at, mask=known, other=0.0)
        squares += tl.load(partials + number + at, mask=known, other=0.0)
        low = tl.minimum(low, tl.load(partials + 2 * number + at, mask=known, other=infinity))
        high = tl.maximum(high, tl.load(partials + 3 * number + at, mask=known, other=-infinity))
        begin += BLOCK
    table += row * WIDTH
    floats += row * WIDTH
    tl.store(table + COUNT, tl.load(table + COUNT) + tl.load(line + 3))
    tl.store(floats + SUM, tl.load(floats + SUM) + tl.sum(total))
    tl.store(floats + SQUARES, tl.load(floats + SQUARES) + tl.sum(squares))
    # Zero is added so that of two zeros the positive one is told.
    tl.store(floats + MINIMUM, tl.minimum(tl.load(floats + MINIMUM), tl.min(low) + 0.0))
    tl.store(floats + MAXIMUM, tl.maximum(tl.load(floats + MAXIMUM), tl.max(high) + 0.0))
