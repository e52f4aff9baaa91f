"""Gradient: the slope underfoot, on a hill in fog; for each weight, which way and how steeply."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brainnet import concepts
from brainnet.structure.inspection import find_layers


@dataclass(frozen=True, eq=False, slots=True)
class Gradient:
    """The slope of the loss at one layer: a labelled view of its `.grad`.

    Attributes:
        name: the layer's name.
        weights: dL/dw in the shape of the weights, the very tensor in `.grad`; None without one.
        bias: dL/db in the shape of the bias; None without one.
    """

    concept = concepts.GRADIENT

    name: str
    weights: Tensor | None
    bias: Tensor | None

    @property
    def norm(self) -> float:
        """Euclidean norm over weights and bias: 0 on flat ground or where nothing arrived."""
        parts = [to_wide(part) for part in (self.weights, self.bias) if part is not None]
        return math.hypot(*(float(part.norm()) for part in parts))

    def __str__(self) -> str:
        """Name and steepness."""
        return f"{self.name}: steepness {self.norm:.4g}"

    __repr__ = __str__


def get_gradients(model: nn.Module) -> list[Gradient]:
    """What the last pass backward left in each layer of any model, by the layer's name.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(2, 1))
        >>> model(torch.tensor([[3.0, 4.0]])).sum().backward()
        >>> gradients(model)[0].weights
        tensor([[3., 4.]])
    """
    return [
        Gradient(place.name, *map(_arrived, place.find_parameters()))
        for place in find_layers(model)
    ]


def _arrived(part: Tensor | None) -> Tensor | None:
    """The gradient; None where there is none, as of weights that others are normalised to."""
    return part.grad if part is not None and part.is_leaf else None


def to_wide(values: Tensor) -> Tensor:
    """Values as they are measured: in float64, or float32 where the device has nothing wider.

    The square of a vanishing float32 is zero, and that of a middling float16 infinite.
    """
    return values.to(torch.float32 if values.device.type == "mps" else torch.float64)
