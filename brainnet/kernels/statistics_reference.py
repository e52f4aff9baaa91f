"""Reference implementation of tensor statistics in plain ATen operations."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from brainnet.kernels.dispatch import has_plain_memory
from brainnet.kernels.histogram_layout import STATISTICS_LAYOUT as LAYOUT

# Below the size from which PyTorch splits one sum among threads.
_SUM_SIZE = 16384


def compute_table(tensors: Sequence[Tensor], device: torch.device) -> Tensor:
    """Compute one row of statistics per tensor; the tensors must be on `device`."""
    rows = [_compute_row(tensor) for tensor in tensors]
    return torch.stack(rows) if rows else create_table(0, device=device)


def create_table(rows: int, *, device: torch.device | str | None = None) -> Tensor:
    """Create a table of rows for no elements, to which statistics can be added."""
    table = torch.zeros(rows, LAYOUT.width, dtype=torch.int64, device=device)
    floats = table.view(torch.float64)
    floats[:, LAYOUT.minimum] = torch.inf
    floats[:, LAYOUT.maximum] = -torch.inf
    return table


def add_table(table: Tensor, other: Tensor) -> Tensor:
    """Add the rows of `other` to those of `table`, in place."""
    floats, other_floats = table.view(torch.float64), other.view(torch.float64)
    low = torch.minimum(floats[:, LAYOUT.minimum], other_floats[:, LAYOUT.minimum])
    high = torch.maximum(floats[:, LAYOUT.maximum], other_floats[:, LAYOUT.maximum])
    columns = slice(LAYOUT.sum, LAYOUT.sum_of_squares + 1)
    sums = floats[:, columns] + other_floats[:, columns]
    # Adds the bits of the floats too, which are then replaced.
    table += other
    floats[:, LAYOUT.minimum], floats[:, LAYOUT.maximum], floats[:, columns] = low, high, sums
    return table


def _compute_row(tensor: Tensor) -> Tensor:
    values = tensor.detach().resolve_neg().reshape(-1)
    if values.dtype.itemsize < torch.float32.itemsize:
        values = values.float()
    if values.numel() == 0:
        return create_table(1, device=values.device)[0]
    counts = _count_bins(values)
    sizes = torch.stack([counts.sum(), counts[-1]])
    # On other devices, reading the count would be a synchronization.
    is_all_finite = values.is_cpu and has_plain_memory(values) and not counts[-1]
    finite = None if is_all_finite else values.isfinite()
    return torch.cat([sizes, _compute_moments(values, finite), counts[:-1]])


def _count_bins(values: Tensor) -> Tensor:
    """Count the elements of all bins and, at the end, the non-finite elements.

    Elements are counted by key: sign, exponent and the top two bits of the mantissa, read as one
    integer. The bin is then computed for these few thousand keys, not for each element.
    """
    is_double = values.dtype == torch.float64
    bits = values.view(torch.int64 if is_double else torch.int32)
    shift, bias, half = (50, 1023, 2**13) if is_double else (21, 127, 2**10)
    indices = (bits >> shift) + half
    if indices.is_cpu:
        key_counts = torch.bincount(indices, minlength=2 * half)
    else:
        # On other devices, `bincount` is a synchronization.
        indices = indices.long()
        key_counts = torch.zeros(2 * half, dtype=torch.int64, device=indices.device)
        key_counts = key_counts.scatter_add_(0, indices, torch.ones_like(indices))
    # A tensor that is created while tracing must not be cached.
    find_bins = _find_key_bins if has_plain_memory(values) else _find_key_bins.__wrapped__
    counts = torch.zeros(LAYOUT.bins + 1, dtype=torch.int64, device=bits.device)
    counts = counts.index_add_(0, find_bins(bits.device, half, bias), key_counts)
    # Zeros share their keys with the smallest denormals. They are compared as integers, because a
    # processor may treat denormals as zeros.
    positive = bits.numel() - torch.count_nonzero(bits)
    negative = bits.numel() - torch.count_nonzero(bits ^ torch.iinfo(bits.dtype).min)
    middle = LAYOUT.zeros - LAYOUT.first_bin
    counts[middle - 1 : middle + 2] += torch.stack([-negative, negative + positive, -positive])
    return counts


@functools.cache
def _find_key_bins(device: torch.device, half: int, bias: int) -> Tensor:
    """Return the bin of each key, negative ones first; non-finite keys have the last index."""
    key = torch.arange(-half, half, device=device)
    # In two's complement, the lower bits of a negative key are its magnitude, too.
    magnitude = key & (half - 1)
    step = magnitude - (bias + LAYOUT.lowest) * LAYOUT.per_octave
    distance = step.clamp(-1, LAYOUT.steps) + 2
    middle = LAYOUT.zeros - LAYOUT.first_bin
    bins = torch.where(key < 0, middle - distance, middle + distance)
    return torch.where(magnitude < half - LAYOUT.per_octave, bins, LAYOUT.bins)


def _compute_moments(values: Tensor, finite: Tensor | None) -> Tensor:
    """Return minimum, maximum, sum and sum of squares of the finite values as bits of float64."""
    if finite is None:
        low, high = values.aminmax()
        exact = values.double()
    else:
        exact = torch.where(finite, values, 0.0).double()
        low = torch.where(finite, values, torch.inf).amin()
        high = torch.where(finite, values, -torch.inf).amax()
    # Adding 0 turns -0 into +0.
    ends = [low.double() + 0.0, high.double() + 0.0]
    sums = [_sum_in_order(exact), _sum_in_order(exact * exact)]
    return torch.stack([*ends, *sums]).view(torch.int64)


def _sum_in_order(values: Tensor) -> Tensor:
    """Sum in an order that depends on the size only, not on the number of threads."""
    while values.numel() > _SUM_SIZE:
        whole = values.numel() // _SUM_SIZE * _SUM_SIZE
        rest = values[whole:].sum(0, keepdim=True)
        values = torch.cat([values[:whole].view(-1, _SUM_SIZE).sum(1), rest])
    return values.sum()
