"""Weights: how much attention each neuron gives to each input."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from brainnet import concepts


class Weights(nn.Module):
    """One row of connection strengths per neuron: smoke counts more than background music.

    Initial values are those of `torch.nn.Linear`, drawn in the same order: uniform within
    ±1/√inputs (LeCun et al., 1998, "Efficient BackProp").

    Args:
        inputs: number of signals that arrive.
        neurons: number of neurons that listen to them.
        generator: source of the initial values; PyTorch's global one where None.
        device: as in `torch.empty`.
        dtype: as in `torch.empty`.

    Raises:
        ValueError: where a size is not positive.

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
                f"weights connect at least one input with one neuron; got inputs={inputs}, "
                f"neurons={neurons}. Give both a positive size."
            )
        self.inputs = inputs
        self.neurons = neurons
        self.value = nn.Parameter(torch.empty(neurons, inputs, device=device, dtype=dtype))
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the initial values anew, as `torch.nn.Linear` does."""
        nn.init.kaiming_uniform_(self.value, a=math.sqrt(5), generator=generator)

    def forward(self, inputs: Tensor, bias: Tensor | None = None) -> Tensor:
        """Weigh the inputs and sum them up, with the bias in the same operation where given."""
        return F.linear(inputs, self.value, bias)

    def extra_repr(self) -> str:
        """Sizes, and the concept that this part embodies."""
        return f"inputs={self.inputs}, neurons={self.neurons}, concept={self.concept.name}"
