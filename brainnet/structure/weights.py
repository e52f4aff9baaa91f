"""Weights: how strongly each input reaches each neuron."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from brainnet import concepts


class Weights(nn.Module):
    """One row of connection strengths per neuron.

    Initial values are those of `torch.nn.Linear`, drawn in the same order: uniform within
    ±1/√inputs (LeCun et al., 1998, "Efficient BackProp").

    Args:
        inputs: number of inputs of each neuron.
        neurons: number of neurons.
        generator: source of the initial values; PyTorch's global one by default.
        device, dtype: as in `torch.empty`.

    Raises:
        ValueError: if a size is not positive.

    Shape:
        inputs: (batch, inputs)
        value:  (neurons, inputs)
        return: (batch, neurons)

    Example:
        >>> Weights(inputs=3, neurons=2)(torch.ones(4, 3)).shape
        torch.Size([4, 2])
    """

    concept = concepts.WEIGHTS
    value: nn.Parameter

    def __init__(
        self,
        inputs: int,
        neurons: int,
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if inputs < 1 or neurons < 1:
            raise ValueError(
                f"weights need a positive size; got inputs={inputs}, neurons={neurons}."
            )
        self.inputs = inputs
        self.neurons = neurons
        self.value = nn.Parameter(torch.empty(neurons, inputs, device=device, dtype=dtype))
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new initial values, as `torch.nn.Linear` does."""
        # With a = √5, Kaiming's bound becomes 1/√inputs.
        nn.init.kaiming_uniform_(self.value, a=math.sqrt(5), generator=generator)

    def forward(self, inputs: Tensor, bias: Tensor | None = None) -> Tensor:
        """Compute the weighted sums, plus the bias if given, in one operation."""
        return F.linear(inputs, self.value, bias)

    def extra_repr(self) -> str:
        """Sizes and the concept of this module."""
        return f"inputs={self.inputs}, neurons={self.neurons}, concept={self.concept.name}"
