"""Reference implementation of tensor statistics in plain ATen operations."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

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
    low, high = (
        function(floats[:, column], other_floats[:, column])
        for function, column in ((torch.minimum, LAYOUT.minimum), (torch.maximum, LAYOUT.maximum))
    )
    columns = slice(LAYOUT.sum, LAYOUT.sum_of_squares + 1)
    sums = floats[:, columns] + other_floats[:, columns]
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
    finite = None if _can_read(values) and not counts[-1] else values.isfinite()
    return torch.cat([sizes, _compute_moments(values, finite), counts[:-1]])


def _can_read(values: Tensor) -> bool:
    """Whether a value may decide what is computed: on the CPU, and not while tracing."""
    return (
        values.device.type == "cpu"
        and type(values) is Tensor
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and not torch._C._len_torch_dispatch_stack()
    )


def _count_bins(values: Tensor) -> Tensor:
    """Count the elements of all bins and, at the end, the non-finite elements.

    Sign, exponent and the top two bits of the mantissa, read as one integer, are counted first. The
    bin is then looked up for these few thousand integers, not for each element.
    """
    is_double = values.dtype == torch.float64
    bits = values.view(torch.int64 if is_double else torch.int32)
    half = 2**13 if is_double else 2**10
    keys = (bits >> (50 if is_double else 21)) + half
    if keys.device.type == "cpu":
        key_counts = torch.bincount(keys, minlength=2 * half)
    # On other devices, `bincount` is a synchronization.
    else:
        keys = keys.long()
        key_counts = torch.zeros(2 * half, dtype=torch.int64, device=keys.device)
        key_counts = key_counts.scatter_add_(0, keys, torch.ones_like(keys))
    counts = torch.zeros(LAYOUT.bins + 1, dtype=torch.int64, device=key_counts.device)
    # A tensor that is created while tracing must not be cached.
    map_keys = _map_keys_cached if _can_read(values) else _map_keys_to_bins
    counts = counts.index_add_(0, map_keys(key_counts.device, is_double), key_counts)
    # Zeros share their keys with the smallest denormals. They are compared as integers, because a
    # processor may treat denormals as zeros.
    positive = bits.numel() - torch.count_nonzero(bits)
    negative = bits.numel() - torch.count_nonzero(bits ^ torch.iinfo(bits.dtype).min)
    middle = LAYOUT.zeros - LAYOUT.first_bin
    counts[middle - 1 : middle + 2] += torch.stack([-negative, negative + positive, -positive])
    return counts


def _map_keys_to_bins(device: torch.device, is_double: bool) -> Tensor:
    """Return the bin of each key (sign, exponent, quarter); non-finite keys have the last index."""
    bias, exponents = (1023, 2**11) if is_double else (127, 2**8)
    half = exponents * LAYOUT.per_octave
    magnitude = torch.arange(half, device=device)
    step = magnitude - (bias + LAYOUT.lowest) * LAYOUT.per_octave
    distance = step.clamp(-1, LAYOUT.steps) + 2
    finite = magnitude < half - LAYOUT.per_octave
    middle = LAYOUT.steps + 2
    positive = torch.where(finite, middle + distance, LAYOUT.bins)
    # As integers in two's complement, negative floats come first, the smallest magnitude foremost.
    negative = torch.where(finite, middle - distance, LAYOUT.bins)
    return torch.cat([negative, positive])


_map_keys_cached = functools.cache(_map_keys_to_bins)


def _compute_moments(values: Tensor, finite: Tensor | None) -> Tensor:
    """Return minimum, maximum, sum and sum of squares of the finite values as bits of float64.

    Args:
        values: float32 or float64.
        finite: mask of the finite values; None if all are finite.
    """
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
