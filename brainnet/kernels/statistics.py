"""Statistics of many tensors in one go: moments and a logarithmic histogram, every element counted.

The result is one table on the tensors' own device; nothing here waits for that device but `read`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from brainnet.errors import InputError
from brainnet.kernels import dispatch as paths
from brainnet.kernels import statistics_reference
from brainnet.kernels import triton_statistics as statistics_triton
from brainnet.kernels.histogram_layout import LAYOUT

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


@dataclass(frozen=True, slots=True)
class TensorStatistics:
    """One row of a table, as plain numbers.

    Attributes:
        count: elements, whatever they are.
        non_finite: those that are NaN or infinite; nothing below counts them.
        minimum: smallest value; infinity where there is none.
        maximum: largest value; minus infinity where there is none.
        sum: sum of the values.
        sum_of_squares: sum of their squares.
        histogram: counts of the bins, from the most negative to the most positive.
    """

    count: int
    non_finite: int
    minimum: float
    maximum: float
    sum: float
    sum_of_squares: float
    histogram: tuple[int, ...]

    @property
    def finite(self) -> int:
        """Elements that are numbers."""
        return self.count - self.non_finite

    @property
    def zeros(self) -> int:
        """Elements that are exactly zero, of either sign."""
        return self.histogram[LAYOUT.zeros - LAYOUT.first_bin]

    @property
    def mean(self) -> float:
        """Mean of the finite values; NaN where there is none."""
        return self.sum / self.finite if self.finite else math.nan

    @property
    def norm(self) -> float:
        """Euclidean length of the finite values as one vector."""
        return math.sqrt(self.sum_of_squares)

    @property
    def buckets(self) -> list[tuple[float, float, int]]:
        """Ready buckets (left, right, count) for TensorBoard, ascending and without holes.

        They go to `SummaryWriter.add_histogram_raw` as they are: the right ends as
        `bucket_limits`, the counts as `bucket_counts`.

        Example:
            >>> read(statistics([torch.tensor([1.0, 1.1, 3.0])]))[0].buckets
            [(1.0, 1.25, 2), (1.25, 3.0, 0), (3.0, 3.5, 1)]
        """
        return LAYOUT.buckets(self.histogram, self.minimum, self.maximum)


def compute_statistics(tensors: Sequence[Tensor], *, into: Tensor | None = None) -> Tensor:
    """Count, moments, extremes and histogram of each tensor, as one table on their device.

    Every element is counted. Counts, extremes and histogram are exact and the same on every path;
    sums are those of float64 up to its rounding, and do not depend on the number of threads. The
    order of summation, and so the last bits of a sum, may differ between paths. Sums of squares
    overflow where float64 does. Without float64 (on MPS) squares are rounded to float32 first.

    Args:
        tensors: float32, bfloat16, float16 or float64, of any shape and memory layout, all on one
            device. What autograd knows of them is ignored.
        into: a table of a list just as long, to which these tensors are added; it is returned.

    Returns:
        Table of int64, one row per tensor; `LAYOUT` names its columns, and `read` makes plain
        numbers of it.

    Raises:
        InputError: For tensors of another dtype or layout, for several devices, or for a table
            that does not fit the list.

    Example:
        >>> table = statistics([torch.tensor([0.0, 0.5, -2.0]), torch.tensor([torch.inf])])
        >>> table.shape
        torch.Size([2, 779])
        >>> weights, bias = read(table)
        >>> weights.count, weights.zeros, weights.sum, weights.minimum, bias.non_finite
        (3, 1, -1.5, -2.0, 1)
    """
    device = _common_device(tensors, into)
    if into is not None:
        _check_table(into, len(tensors), device)
    kernel = _kernel(device) if _plain(tensors) else None
    if kernel is not None:
        table = create_table(len(tensors), device=device) if into is None else into
        kernel(tensors, table)
        return table
    fresh = statistics_reference.table_of(tensors, device)
    return fresh if into is None else _merge_into(into, fresh)


def create_table(rows: int, *, device: torch.device | str = "cpu") -> Tensor:
    """The table of tensors without elements: where adding up begins."""
    return statistics_reference.empty_table(rows, torch.device(device))


def merge_tables(*tables: Tensor) -> Tensor:
    """Tables of the same list, row by row added up: over steps, or over ranks.

    Counts are exact; sums are added in float64, in the order given.

    Raises:
        InputError: Where nothing is given, tables do not fit one another, or their device has no
            float64.

    Example:
        >>> halves = [statistics([half]) for half in torch.arange(8.0).split(4)]
        >>> read(merge(*halves)) == read(statistics([torch.arange(8.0)]))
        True
    """
    if not tables:
        raise InputError("merge needs at least one table; got none. Use empty_table(rows).")
    for table in tables:
        _check_table(table, len(tables[0]), tables[0].device)
    merged = tables[0].clone()
    for table in tables[1:]:
        _merge_into(merged, table)
    return merged


def sum_rows(table: Tensor) -> Tensor:
    """All rows of a table added up into one, in their order: over layers.

    Example:
        >>> read(total(statistics([torch.ones(3), -torch.ones(2)])))[0].sum
        1.0
    """
    return merge_tables(*table.split(1)) if len(table) else create_table(1, device=table.device)


def read_statistics(table: Tensor) -> list[TensorStatistics]:
    """The rows of a table as plain numbers, with one copy from its device."""
    _check_table(table, len(table), table.device)
    home = table.cpu()
    counts: list[tuple[int, int]] = home[:, : LAYOUT.minimum].tolist()
    moments: list[tuple[float, float, float, float]]
    moments = home[:, LAYOUT.minimum : LAYOUT.first_bin].view(torch.float64).tolist()
    histograms = home[:, LAYOUT.first_bin :].tolist()
    return [
        TensorStatistics(count, non_finite, *floats, tuple(bins))
        for (count, non_finite), floats, bins in zip(counts, moments, histograms, strict=True)
    ]


def _kernel(device: torch.device) -> Callable[[Sequence[Tensor], Tensor], None] | None:
    """The kernel in force on a device, or None where the reference computes."""
    if device.type == "cpu" and paths.cpu_kernel() is not None:
        kernel: Callable[[Sequence[Tensor], Tensor], None]
        kernel = torch.ops.brainnet.statistics_cpu.default  # built into the same library
        return kernel
    if device.type == "cuda" and paths.has_triton():
        return statistics_triton.add
    return None


def _plain(tensors: Sequence[Tensor]) -> bool:
    """Whether a kernel may read the memory: no subclass, no tracing, no function transform."""
    return (
        not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and not torch._C._len_torch_dispatch_stack()
        and all(type(tensor) in (Tensor, torch.nn.Parameter) for tensor in tensors)
    )


def _merge_into(table: Tensor, other: Tensor) -> Tensor:
    if not statistics_reference.has_float64(table.device):
        raise InputError(
            f"tables are added up in float64, which {table.device.type} lacks. "
            "Bring them home first: merge(one.cpu(), other.cpu())."
        )
    statistics_reference.merge_into(table, other)
    return table


def _common_device(tensors: Sequence[Tensor], into: Tensor | None) -> torch.device:
    """The tensors' device, after a look at their kind; that of the table where there is none."""
    for place, tensor in enumerate(tensors):
        if tensor.dtype not in DTYPES or tensor.layout != torch.strided:
            raise InputError(
                "statistics takes dense tensors of float32, bfloat16, float16 or float64; number "
                f"{place} is {tensor.layout} of {tensor.dtype}. Give its stored values, say: "
                "tensor.coalesce().values(), or tensor.float()."
            )
    devices = {tensor.device for tensor in tensors}
    if len(devices) > 1:
        raise InputError(
            "statistics takes tensors of one device, as its result lies there; got "
            f"{', '.join(sorted(map(str, devices)))}. Call it once per device."
        )
    if devices:
        return devices.pop()
    return torch.device("cpu") if into is None else into.device


def _check_table(table: Tensor, rows: int, device: torch.device) -> None:
    shape, found = (rows, LAYOUT.width), tuple(table.shape)
    if table.dtype != torch.int64 or found != shape or table.device != device:
        raise InputError(
            f"a table of statistics is int64 of shape {shape} on {device} here; got {table.dtype} "
            f"of shape {found} on {table.device}. Use what statistics() or empty_table() returned "
            "for a list just as long."
        )
    if not table.is_contiguous():
        raise InputError("a table of statistics is contiguous; got a view. Use table.contiguous().")
