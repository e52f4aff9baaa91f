"""Statistics: what is worth knowing of a tensor, as small tensors that stay on its device.

None of these waits for the device: whoever asks brings all results home in one copy.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from brainnet.observation.reading import Histogram
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.anatomy import ACTIVATING

BUCKETS = 48
"""Buckets of a histogram; TensorBoard draws 30 of its own from them."""

MOMENTS = 6
"""Numbers that stand before the buckets: see `histogram`."""

FLAT = 0.1
"""A neuron is saturated where its mean slope is less than this share of the steepest."""

UNMEASURED = (nn.Identity, nn.RReLU, nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.Softmin, nn.GLU)
"""Activations without a slope per neuron, or that would draw random numbers to tell it."""

MEASURED = tuple(kind for kind in ACTIVATING if kind not in UNMEASURED)
"""Activations whose slope can be asked for at no risk."""

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

Name = TypeVar("Name", bound=Hashable)


def precise(device: torch.device) -> torch.dtype:
    """The widest float of a device; Apple's GPUs have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def dense(values: Tensor) -> Tensor:
    """The values alone, of a sparse gradient the ones that are stored."""
    stored: Tensor = values.coalesce().values() if values.is_sparse else values
    return stored.detach()


def norm(*parts: Tensor) -> Tensor:
    """Euclidean length of several tensors as one long vector, ().

    Example:
        >>> norm(torch.tensor([3.0]), torch.tensor([[4.0]])).item()
        5.0
    """
    lengths = [
        torch.linalg.vector_norm(dense(part), dtype=precise(part.device)).to(parts[0].device)
        for part in parts
    ]
    length: Tensor = torch.linalg.vector_norm(torch.stack(lengths))
    return length


def histogram(values: Tensor) -> Tensor:
    """Moments and buckets of equal width between the smallest and the largest finite value.

    Returns:
        Finite count, non-finite count, minimum, maximum, sum, sum of squares, then `BUCKETS`
        counts, (54,); `histogram_from` gives them names again.
    """
    kind = precise(values.device)
    flat = dense(values).reshape(-1).to(kind)
    if not flat.numel():
        return flat.new_zeros(MOMENTS + BUCKETS)
    finite = flat.isfinite()
    count = finite.sum()
    low = torch.where(finite, flat, torch.inf).min().where(count > 0, 0.0)
    high = torch.where(finite, flat, -torch.inf).max().where(count > 0, 0.0)
    clean = torch.where(finite, flat, low)
    # Halves, because the distance between the largest and the smallest float is not a float.
    share = (clean / 2 - low / 2) / (high / 2 - low / 2)
    bucket = (share * BUCKETS).nan_to_num(0.0).clamp(0, BUCKETS - 1).long()
    buckets = torch.zeros(BUCKETS, dtype=torch.int64, device=flat.device)
    buckets.scatter_add_(0, bucket, finite.long())
    only = torch.where(finite, flat, 0.0)
    moments = [count, flat.numel() - count, low, high, only.sum(), only.square().sum()]
    return torch.cat([torch.stack([moment.to(kind) for moment in moments]), buckets.to(kind)])


def histogram_from(numbers: Sequence[float]) -> Histogram:
    """The named form of what `histogram` returned, once it is home.

    Example:
        >>> found = histogram_from(histogram(torch.tensor([0.0, 1.0, 1.0, torch.nan])).tolist())
        >>> found.count, found.non_finite, found.maximum, found.buckets[-1]
        (3, 1, 1.0, 2)
    """
    count, non_finite, minimum, maximum, total, squares = numbers[:MOMENTS]
    buckets = tuple(int(number) for number in numbers[MOMENTS:])
    return Histogram(int(count), int(non_finite), minimum, maximum, total, squares, buckets)


def by_unit(values: Tensor, module: nn.Module) -> Tensor:
    """Values of a layer as one column per neuron; a channel of a convolution counts as one.

    Example:
        >>> by_unit(torch.zeros(2, 5, 4, 4), nn.Conv2d(1, 5, 3)).shape
        torch.Size([32, 5])
    """
    depth = -1 - len(module.kernel_size) if isinstance(module, CONVOLUTIONS) else -1
    return values.movedim(depth, -1).flatten(0, -2) if values.ndim > 1 else values[None]


def slope(activation: nn.Module | None, sums: Tensor) -> Tensor | None:
    """Slope of an activation at each sum, as a share of the steepest that it can be.

    A forward and a backward pass of the activation alone, apart from the network's own graph.

    Returns:
        None where the activation has no slope of its own for every neuron.

    Example:
        >>> slope(ThresholdRamp(width=2.0), torch.tensor([-1.0, 1.0, 3.0]))
        tensor([0., 1., 0.])
    """
    if not isinstance(activation, MEASURED):
        return None
    with torch.enable_grad():
        probe = sums.detach().requires_grad_()
        # A clone, for an activation that works in place; `forward`, so that no hook hears of it.
        reaction = activation.forward(probe.clone())
        (slopes,) = torch.autograd.grad(reaction.sum(), probe)
    return slopes.abs() / _steepest(activation)


def _steepest(activation: nn.Module) -> float | Tensor:
    """The largest slope that an activation has anywhere; 1 for most, and about 1 for GELU."""
    if isinstance(activation, ThresholdRamp):
        width = activation.width
        return 1 / (width.detach() if isinstance(width, Tensor) else width)
    return {nn.Sigmoid: 1 / 4, nn.Hardsigmoid: 1 / 6}.get(type(activation), 1.0)


def cosine(first: Tensor, second: Tensor) -> Tensor:
    """Cosine of the angle between two tensors seen as vectors: 1 the same way, -1 straight back."""
    return F.cosine_similarity(first.reshape(-1), second.reshape(-1), dim=0)


def bring_home(measured: Mapping[Name, Tensor]) -> dict[Name, list[float]]:
    """All results as plain numbers, with one copy from the device.

    Example:
        >>> bring_home({"a": torch.tensor(1.0), "b": torch.tensor([2, 3])})
        {'a': [1.0], 'b': [2.0, 3.0]}
    """
    if not measured:
        return {}
    device = next(iter(measured.values())).device
    flat = [result.detach().reshape(-1).to(device, precise(device)) for result in measured.values()]
    parts = torch.cat(flat).cpu().split([len(part) for part in flat])
    return {name: part.tolist() for name, part in zip(measured, parts, strict=True)}
