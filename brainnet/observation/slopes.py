"""Slopes: how much of an activation's steepest slope is left to each neuron to learn through."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.anatomy import ACTIVATING

FLAT = 0.1
"""A neuron is saturated where its mean slope is less than this share of the steepest."""

UNMEASURED = (nn.Identity, nn.RReLU, nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.Softmin, nn.GLU)
"""Activations without a slope per neuron, or that would draw random numbers to tell it."""

MEASURED = tuple(kind for kind in ACTIVATING if kind not in UNMEASURED)
"""Activations whose slope can be asked for at no risk."""

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


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
    # Whoever counts what is saved for the backward pass, as a checkpoint does, hears of none of it.
    with torch.enable_grad(), _unheard():
        probe = sums.detach().requires_grad_()
        # A clone, for an activation that works in place; `forward`, so that no hook hears of it.
        reaction = activation.forward(probe.clone())
        (slopes,) = torch.autograd.grad(reaction.sum(), probe)
    return slopes.abs() / _steepest(activation)


def _unheard() -> AbstractContextManager[object]:
    """Keep hooks on saved tensors from what is saved here."""
    # Where somebody allows no such hooks, there are none to keep from it, and ours is refused.
    refusal = torch._C._autograd._saved_tensors_hooks_get_disabled_error_message()
    return saved_tensors_hooks(_as_it_is, _as_it_is) if refusal is None else nullcontext()


def _as_it_is(saved: Tensor) -> Tensor:
    return saved


def _steepest(activation: nn.Module) -> float | Tensor:
    """The largest slope that an activation has anywhere; 1 for most, and about 1 for GELU."""
    if isinstance(activation, ThresholdRamp):
        width = activation.width
        return 1 / (width.detach() if isinstance(width, Tensor) else width)
    return {nn.Sigmoid: 1 / 4, nn.Hardsigmoid: 1 / 6}.get(type(activation), 1.0)
