"""Statistics of many tensors on CUDA: two kernel launches per dtype, for any number of tensors.

A list of chunks gives the first kernel the address, length and row of each piece of memory. Its
programs store the moments of a chunk and add its histogram to the table: integers, whose sum does
not depend on the order. The second kernel adds the moments of each row in the order of its chunks.

The histogram is counted in shared memory, with one atomic addition per element. Triton has no such
operation, so it is written as inline PTX; Triton's interpreter counts in global memory instead.
"""

from __future__ import annotations

# mypy: disable-error-code="import-untyped, import-not-found, no-untyped-def, untyped-decorator"
# mypy: no-warn-return-any
# (Kernels are written in Triton's own language, whose types these tools do not know.)
import os
from collections.abc import Sequence

import torch
from torch import Tensor

from brainnet.kernels.histogram_layout import STATISTICS_LAYOUT as LAYOUT

# Triton is not installed on every machine, and without a GPU nothing here is called.
try:
    import triton
    import triton.language as tl
except ImportError:
    triton = tl = None

# Elements of a program, and of one step of its loop: 128 bits of the half types per thread.
_CHUNK = 131072
_BLOCK = 2048
# Chunks whose moments are added in parallel.
_PARTIALS = 256
_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
_jit = triton.jit if triton else lambda kernel: kernel
_constant = tl.constexpr if triton else int

# A key is the sign, the exponent and two bits of the mantissa. Two more: zeros, and no element.
_KEYS = _constant(2048)
_COUNTERS = _constant(2050)
_STEPS = _constant(LAYOUT.steps)
_START = _constant((127 + LAYOUT.lowest) * LAYOUT.per_octave)
_WIDTH = _constant(LAYOUT.width)
_COUNT = _constant(LAYOUT.count)
_NON_FINITE = _constant(LAYOUT.non_finite)
_MINIMUM = _constant(LAYOUT.minimum)
_MAXIMUM = _constant(LAYOUT.maximum)
_SUM = _constant(LAYOUT.sum)
_SQUARES = _constant(LAYOUT.sum_of_squares)
_ZEROS = _constant(LAYOUT.zeros)


def add_statistics(tensors: Sequence[Tensor], table: Tensor) -> None:
    """Add the statistics of each tensor to its row of the table, without a synchronization."""
    # Copies of non-dense tensors must live until the kernels that read them are queued.
    dense = [_flatten(tensor) for tensor in tensors]
    groups: dict[tuple[torch.dtype, bool], dict[int, Tensor]] = {}
    for row, tensor in enumerate(dense):
        if tensor.numel():
            is_aligned = tensor.data_ptr() % 16 == 0
            groups.setdefault((tensor.dtype, is_aligned), {})[row] = tensor
    for (dtype, is_aligned), rows in groups.items():
        _launch(rows, dtype, table, is_aligned=is_aligned)


def _flatten(tensor: Tensor) -> Tensor:
    """Return a tensor with the same elements, in any order, that is dense in memory."""
    values = tensor.detach().resolve_neg()
    is_dense = torch.ops.aten.is_non_overlapping_and_dense(values)
    return values if is_dense else values.contiguous()


def _launch(
    rows: dict[int, Tensor], dtype: torch.dtype, table: Tensor, *, is_aligned: bool
) -> None:
    """Launch both kernels for tensors of one dtype, given by their row of the table."""
    chunks: list[list[int]] = []
    spans: list[list[int]] = []
    for row, tensor in rows.items():
        size, first = tensor.numel(), len(chunks)
        for begin in range(0, size, _CHUNK):
            address = tensor.data_ptr() + begin * dtype.itemsize
            chunks.append([address, min(_CHUNK, size - begin), row])
        spans.append([row, first, len(chunks), size])
    numbers = torch.tensor([number for line in chunks + spans for number in line])
    if table.is_cuda:
        # A copy from pinned memory is asynchronous.
        numbers = numbers.pin_memory().to(table.device, non_blocking=True)
    partials = torch.empty(4, len(chunks), dtype=torch.float64, device=table.device)
    scratch = torch.zeros(len(chunks), 2050, dtype=torch.int32) if _INTERPRETED else table
    with torch.cuda.device_of(table):
        _chunk_kernel[(len(chunks),)](
            numbers, partials, table, scratch, len(chunks), KIND=getattr(tl, str(dtype)[6:]),
            ALIGNED=is_aligned, DOUBLE=_has_fast_double(table.device), SHARED=not _INTERPRETED,
            BLOCK=_BLOCK, num_warps=8,
        )  # fmt: skip
        floats = table.view(torch.float64)
        _row_kernel[(len(spans),)](
            numbers[3 * len(chunks) :], partials, table, floats, len(chunks), BLOCK=_PARTIALS
        )


def _has_fast_double(device: torch.device) -> bool:
    """Whether float64 is fast: on GPUs of data centers (8.0, 9.0, 10.0); others have 1/64."""
    return device.type != "cuda" or torch.cuda.get_device_capability(device)[1] == 0


@_jit
def _find_counters(scratch, SHARED: tl.constexpr):
    """The address of the counters in shared memory or, interpreted, a pointer to `scratch`."""
    counters = scratch + tl.program_id(0) * _COUNTERS
    if SHARED:
        counters = tl.inline_asm_elementwise(
            ".shared .align 16 .b32 brainnet_counters[2050]; mov.u32 $0, brainnet_counters;",
            "=r,r", [tl.program_id(0)], dtype=tl.int32, is_pure=False, pack=1,
        )  # fmt: skip
    return counters


@_jit
def _clear_counter(counters, key, SHARED: tl.constexpr):
    if SHARED:
        tl.inline_asm_elementwise(
            "st.shared.u32 [$1], 0; mov.u32 $0, 0;",
            "=r,r", [counters + 4 * key], dtype=tl.int32, is_pure=False, pack=1,
        )  # fmt: skip


@_jit
def _read_counter(counters, key, SHARED: tl.constexpr):
    if SHARED:
        count = tl.inline_asm_elementwise(
            "ld.shared.u32 $0, [$1];",
            "=r,r", [counters + 4 * key], dtype=tl.int32, is_pure=False, pack=1,
        )  # fmt: skip
    else:
        count = tl.load(counters + key)
    return count


@_jit
def _increment_counter(counters, key, SHARED: tl.constexpr):
    if SHARED:
        tl.inline_asm_elementwise(
            "red.shared.add.u32 [$1], 1; mov.u32 $0, 0;",
            "=r,r", [counters + 4 * key], dtype=tl.int32, is_pure=False, pack=1,
        )  # fmt: skip
    else:
        tl.atomic_add(counters + key, 1, sem="relaxed")


@_jit
def _find_keys(value):
    """The counter of each value."""
    key = (value.to(tl.int32, bitcast=True) >> 21) & (_KEYS - 1)
    return tl.where(value == 0.0, _KEYS, key)


@_jit
def _find_columns(key):
    """The column of the table of each counter."""
    magnitude = key & 1023
    step = tl.minimum(tl.maximum(magnitude - _START, -1), _STEPS) + 2
    column = _ZEROS + tl.where(key < 1024, step, -step)
    return tl.where(magnitude < 1020, column, _NON_FINITE)


@_jit
def _add_exactly(total, error, value):
    """The rounded sum, and the error so far plus the rounding error of this sum (Knuth 1969)."""
    rounded = total + value
    added = rounded - total
    return rounded, error + ((total - (rounded - added)) + (value - added))


@_jit
def _add_moments(
    value, low_value, high_value, total, squares, total_error, squares_error, low, high,
    DOUBLE: tl.constexpr,
):  # fmt: skip
    # The values that a thread loads at once share one accumulator, which saves registers.
    lanes: tl.constexpr = low.shape[0]
    width: tl.constexpr = value.shape[0] // lanes
    low = tl.minimum(low, tl.min(tl.reshape(low_value, [lanes, width]), 1))
    high = tl.maximum(high, tl.max(tl.reshape(high_value, [lanes, width]), 1))
    if DOUBLE:
        exact = tl.reshape(value, [lanes, width]).to(tl.float64)
        total += tl.sum(exact, 1)
        squares += tl.sum(exact * exact, 1)
    else:
        total, total_error = _add_exactly(total, total_error, value)
        square = value * value
        # The rounding error of the square (Dekker 1971): `head` has half of the mantissa.
        head = (value.to(tl.int32, bitcast=True) & -4096).to(tl.float32, bitcast=True)
        rest = value - head
        squares_error += ((head * head - square) + 2.0 * head * rest) + rest * rest
        squares, squares_error = _add_exactly(squares, squares_error, square)
    return total, squares, total_error, squares_error, low, high


@_jit
def _chunk_kernel(
    chunks, partials, table, scratch, number,
    KIND: tl.constexpr, ALIGNED: tl.constexpr, DOUBLE: tl.constexpr, SHARED: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Store the moments of one chunk and add its histogram to the table."""
    chunk = tl.program_id(0)
    values = tl.load(chunks + 3 * chunk).to(tl.pointer_type(KIND))
    length = tl.load(chunks + 3 * chunk + 1).to(tl.int32)
    row = tl.load(chunks + 3 * chunk + 2)
    # An address from memory has no known alignment, without which loads have 32 bits.
    if ALIGNED:
        values = tl.multiple_of(values, 16)
    counters = _find_counters(scratch, SHARED)
    key = tl.arange(0, _KEYS)
    _clear_counter(counters, key, SHARED)
    _clear_counter(counters, _KEYS + tl.arange(0, 2), SHARED)
    tl.debug_barrier()
    # As many accumulators as 128-bit loads.
    lanes: tl.constexpr = BLOCK * (KIND.primitive_bitwidth // 8) // 16
    added: tl.constexpr = lanes if DOUBLE else BLOCK
    wide: tl.constexpr = tl.float64 if DOUBLE else tl.float32
    infinity = float("inf")
    total = tl.zeros([added], wide)
    squares = tl.zeros([added], wide)
    total_error = tl.zeros([added], wide)
    squares_error = tl.zeros([added], wide)
    low = tl.full([lanes], infinity, tl.float32)
    high = tl.full([lanes], -infinity, tl.float32)
    begin = length * 0
    while begin + BLOCK <= length:
        value = tl.load(values + begin + tl.arange(0, BLOCK)).to(tl.float32)
        _increment_counter(counters, _find_keys(value), SHARED)
        total, squares, total_error, squares_error, low, high = _add_moments(
            value, value, value, total, squares, total_error, squares_error, low, high, DOUBLE
        )
        begin += BLOCK
    while begin < length:
        at = begin + tl.arange(0, BLOCK)
        known = at < length
        value = tl.load(values + at, mask=known, other=0.0).to(tl.float32)
        key_or_none = tl.where(known, _find_keys(value), _KEYS + 1)
        _increment_counter(counters, key_or_none, SHARED)
        total, squares, total_error, squares_error, low, high = _add_moments(
            value, tl.where(known, value, infinity), tl.where(known, value, -infinity),
            total, squares, total_error, squares_error, low, high, DOUBLE,
        )  # fmt: skip
        begin += BLOCK
    tl.debug_barrier()
    table += row * _WIDTH
    count = _read_counter(counters, key, SHARED)
    column = _find_columns(key)
    tl.atomic_add(table + column, count.to(tl.int64), mask=count != 0, sem="relaxed")
    zeros = _read_counter(counters, _KEYS + chunk * 0, SHARED)
    tl.atomic_add(table + _ZEROS, zeros.to(tl.int64), mask=zeros != 0, sem="relaxed")
    smallest, largest = tl.min(low), tl.max(high)
    sums = tl.sum(total.to(tl.float64) + total_error.to(tl.float64))
    sums_of_squares = tl.sum(squares.to(tl.float64) + squares_error.to(tl.float64))
    careful = tl.sum(tl.where(column == _NON_FINITE, count, 0)) > 0
    if not DOUBLE:
        # Where float32 overflows, or the errors of the squares underflow.
        magnitude = tl.maximum(-smallest, largest)
        careful = careful | (magnitude > 1e18) | ((magnitude < 1e-12) & (magnitude > 0.0))
    if careful:
        sums, sums_of_squares, smallest, largest = _measure_carefully(values, length, KIND, BLOCK)
    tl.store(partials + chunk, sums)
    tl.store(partials + number + chunk, sums_of_squares)
    tl.store(partials + 2 * number + chunk, smallest.to(tl.float64))
    tl.store(partials + 3 * number + chunk, largest.to(tl.float64))


@_jit
def _measure_carefully(values, length, KIND: tl.constexpr, BLOCK: tl.constexpr):
    """Moments of the finite values alone, in float64: a second pass that few chunks need."""
    lanes: tl.constexpr = BLOCK * (KIND.primitive_bitwidth // 8) // 16
    infinity = float("inf")
    total = tl.zeros([lanes], tl.float64)
    squares = tl.zeros([lanes], tl.float64)
    low = tl.full([lanes], infinity, tl.float32)
    high = tl.full([lanes], -infinity, tl.float32)
    begin = length * 0
    while begin < length:
        at = begin + tl.arange(0, BLOCK)
        value = tl.load(values + at, mask=at < length, other=0.0).to(tl.float32)
        counted = (at < length) & (tl.abs(value) < infinity)
        total, squares, _, _, low, high = _add_moments(
            tl.where(counted, value, 0.0), tl.where(counted, value, infinity),
            tl.where(counted, value, -infinity), total, squares, total, squares, low, high, True,
        )  # fmt: skip
        begin += BLOCK
    return tl.sum(total), tl.sum(squares), tl.min(low), tl.max(high)


@_jit
def _row_kernel(rows, partials, table, floats, number, BLOCK: tl.constexpr):
    """Add the moments of the chunks of one row, in their order, to those in the table."""
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
    table += row * _WIDTH
    floats += row * _WIDTH
    tl.store(table + _COUNT, tl.load(table + _COUNT) + tl.load(line + 3))
    tl.store(floats + _SUM, tl.load(floats + _SUM) + tl.sum(total))
    tl.store(floats + _SQUARES, tl.load(floats + _SQUARES) + tl.sum(squares))
    # Adding 0 turns -0 into +0.
    tl.store(floats + _MINIMUM, tl.minimum(tl.load(floats + _MINIMUM), tl.min(low) + 0.0))
    tl.store(floats + _MAXIMUM, tl.maximum(tl.load(floats + _MAXIMUM), tl.max(high) + 0.0))
