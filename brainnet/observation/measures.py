"""Measures: what can be measured, and the few numbers that are taken tensor by tensor."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from brainnet.kernels.statistics import DTYPES

COORDINATES = 4096
"""Of a gradient, about this many numbers at fixed positions are kept for the next cosine."""


def is_readable(tensor: Tensor) -> bool:
    """Whether its numbers are all here, of a kind that is measured; not of shards or lazy ones."""
    return (
        tensor.dtype in DTYPES
        and not tensor.is_meta
        and not is_lazy(tensor)
        and not hasattr(tensor, "placements")
        and (tensor.layout == torch.strided or tensor.is_sparse)
    )


def parameters_of(optimizer: Optimizer) -> list[nn.Parameter]:
    """All parameters that an optimizer moves."""
    return [each for group in optimizer.param_groups for each in group["params"]]


def dense(values: Tensor) -> Tensor:
    """The values alone, of a sparse gradient the ones that are stored."""
    stored: Tensor = values.coalesce().values() if values.is_sparse else values
    return stored.detach()


def direction(gradient: Tensor) -> Tensor:
    """Some numbers of a gradient, at fixed positions, to compare the next one with."""
    flat = dense(gradient).reshape(-1)
    return flat[:: max(1, len(flat) // COORDINATES)].clone()


def length_of(way: Tensor) -> Tensor:
    """Euclidean length, (); of half types in float32."""
    kind = torch.float64 if way.dtype == torch.float64 else torch.float32
    length: Tensor = torch.linalg.vector_norm(way, dtype=kind)
    return length


def along(gradient: Tensor, way: Tensor) -> Tensor:
    """How far a way goes along a gradient, (): their dot product."""
    if gradient.is_sparse:
        gradient = gradient.to_dense()
    kind = torch.float64 if way.dtype == torch.float64 else torch.float32
    if not gradient.dtype == way.dtype == kind:
        gradient, way = gradient.to(kind), way.to(kind)
    return torch.dot(gradient.reshape(-1), way.reshape(-1))


def side_by_side(numbers: Sequence[Tensor]) -> Tensor:
    """Single numbers as one tensor on the device of the first, wide where it can be."""
    device = numbers[0].device
    wide = torch.float32 if device.type == "mps" else torch.float64
    if len({(each.device, each.dtype) for each in numbers}) > 1:
        numbers = [each.to(device, wide) for each in numbers]
    return torch.stack(list(numbers)).to(wide)
