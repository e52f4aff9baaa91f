"""Gradient: the derivative of the loss with respect to each weight."""

import math
from dataclasses import dataclass

from torch import Tensor, nn

from brainnet import concepts
from brainnet.structure.inspection import find_layers


@dataclass(frozen=True, eq=False, slots=True)
class Gradient:
    """The gradient of one layer: a labeled view of the `.grad` of its parameters, or None."""

    concept = concepts.GRADIENT

    name: str
    weights: Tensor | None
    bias: Tensor | None

    @property
    def norm(self) -> float:
        """Euclidean norm over weights and bias; 0 without gradients."""
        parts = [part for part in (self.weights, self.bias) if part is not None]
        # In float64, as the square of a small float32 is zero, and of a moderate float16 infinite.
        return math.hypot(*(float(part.cpu().double().norm()) for part in parts))

    def __str__(self) -> str:
        """Name and norm."""
        return f"{self.name}: gradient norm {self.norm:.4g}"

    __repr__ = __str__


def get_gradients(model: nn.Module) -> list[Gradient]:
    """Return the gradient of each layer after a backward pass, for any model.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(2, 1))
        >>> model(torch.tensor([[3.0, 4.0]])).sum().backward()
        >>> get_gradients(model)[0].weights
        tensor([[3., 4.]])
    """
    return [
        Gradient(layer.name, *map(_get_grad, layer.find_parameters()))
        for layer in find_layers(model)
    ]


def _get_grad(part: Tensor | None) -> Tensor | None:
    # Parametrized weights are no leaves: they have no `.grad`, and reading it warns.
    return part.grad if part is not None and part.is_leaf else None
