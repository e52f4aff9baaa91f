"""Statistics of many tensors in one call: moments and a logarithmic histogram of all elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from brainnet.errors import InputError
from brainnet.kernels import dispatch, statistics_reference
from brainnet.kernels.dispatch import has_plain_memory
from brainnet.kernels.histogram_layout import STATISTICS_LAYOUT as LAYOUT
from brainnet.kernels.statistics_reference import create_table

STATISTICS_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def compute_statistics(tensors: Sequence[Tensor], *, into: Tensor | None = None) -> Tensor:
    """Compute count, moments, extremes and histogram of each tensor, without a synchronization.

    The tensors are dense, of any shape and of `STATISTICS_DTYPES`, all on one device, and read
    without autograd. The result is an int64 table with one row per tensor and the columns of
    `STATISTICS_LAYOUT`, on their device (on the CPU for MPS, which lacks float64). With `into`, the
    statistics are added to that table.

    Counts, extremes and histogram are exact and the same for all implementations. Sums have the
    precision of float64 and do not depend on the number of threads; their last bits may differ
    between implementations. On CUDA, a sum of float32, float16 or bfloat16 values errs by less than
    4e-15 times the count times the largest magnitude, and a sum of squares by less than 1e-12 of
    itself.

    Example:
        >>> table = compute_statistics([torch.tensor([0.0, 0.5, -2.0]), torch.tensor([torch.inf])])
        >>> table.shape, table[:, LAYOUT.count].tolist(), table[:, LAYOUT.non_finite].tolist()
        (torch.Size([2, 779]), [3, 1], [0, 1])
        >>> table.view(torch.float64)[0, [LAYOUT.sum, LAYOUT.minimum]].tolist()
        [-1.5, -2.0]
    """
    device = _check_tensors(tensors, into)
    if device.type == "mps":
        device, tensors = torch.device("cpu"), [tensor.detach().cpu() for tensor in tensors]
    if into is not None:
        _check_table(into, len(tensors), device)
    kernel = _find_kernel(tensors, device)
    if kernel is None:
        table = statistics_reference.compute_table(tensors, device)
        return table if into is None else statistics_reference.add_table(into, table)
    table = create_table(len(tensors), device=device) if into is None else into
    kernel(tensors, table)
    return table


def _find_kernel(
    tensors: Sequence[Tensor], device: torch.device
) -> Callable[[Sequence[Tensor], Tensor], None] | None:
    """Return the kernel for the tensors, or None where the reference computes."""
    if not has_plain_memory(*tensors):
        return None
    if device.type == "cpu" and dispatch.find_cpu_kernel() is not None:
        # Both CPU kernels are in one library.
        kernel: Callable[[Sequence[Tensor], Tensor], None]
        kernel = torch.ops.brainnet.statistics_cpu.default
        return kernel
    is_double = any(tensor.dtype == torch.float64 for tensor in tensors)
    if device.type == "cuda" and dispatch.has_triton() and not is_double:
        # Triton takes long to import, which a program on the CPU should not pay.
        from brainnet.kernels.triton_statistics import add_statistics

        return add_statistics
    return None


def _check_tensors(tensors: Sequence[Tensor], into: Tensor | None) -> torch.device:
    """Check the tensors and return their device; that of the table if there is no tensor."""
    for index, tensor in enumerate(tensors):
        if tensor.dtype not in STATISTICS_DTYPES or tensor.layout != torch.strided:
            raise InputError(
                "statistics need dense tensors of float32, bfloat16, float16 or float64; tensor "
                f"{index} is {tensor.layout} of {tensor.dtype}. Pass its stored values "
                "(tensor.coalesce().values()) or tensor.float()."
            )
    devices = {tensor.device for tensor in tensors}
    if len(devices) > 1:
        names = ", ".join(sorted(map(str, devices)))
        raise InputError(
            f"statistics need tensors on one device; got {names}. Call compute_statistics once per "
            "device."
        )
    if devices:
        return devices.pop()
    return torch.device("cpu") if into is None else into.device


def _check_table(table: Tensor, rows: int, device: torch.device) -> None:
    shape = (rows, LAYOUT.width)
    is_fit = table.dtype == torch.int64 and tuple(table.shape) == shape and table.device == device
    if not is_fit or not table.is_contiguous():
        raise InputError(
            f"the statistics table must be contiguous int64 of shape {shape} on {device}; got "
            f"{table.dtype} of shape {tuple(table.shape)} on {table.device}. Use the result of "
            "compute_statistics() or create_table() for as many tensors."
        )
