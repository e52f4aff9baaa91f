"""Bias: a number per neuron that is added to its weighted sum, for every input."""

import math

import torch
from torch import Tensor, nn

from brainnet import concepts


class Bias(nn.Module):
    """One bias per neuron: a positive one makes it fire more easily, a negative one less.

    Initial values are those of `torch.nn.Linear`: uniform within ±1/√inputs.

    Args:
        neurons: number of neurons.
        inputs: number of inputs of each neuron, which sets the scale of the initial values.
        generator: source of the initial values; PyTorch's global one by default.
        device, dtype: as in `torch.empty`.

    Raises:
        ValueError: if a size is not positive.

    Shape:
        weighted: (batch, neurons)
        value:    (neurons,)
        return:   (batch, neurons)

    Example:
        >>> Bias(neurons=2, inputs=3)(torch.zeros(4, 2)).shape
        torch.Size([4, 2])
    """

    concept = concepts.BIASES
    value: nn.Parameter

    def __init__(
        self,
        neurons: int,
        inputs: int,
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if inputs < 1 or neurons < 1:
            raise ValueError(
                f"a bias needs a positive size; got neurons={neurons}, inputs={inputs}."
            )
        self.neurons = neurons
        self.inputs = inputs
        self.value = nn.Parameter(torch.empty(neurons, device=device, dtype=dtype))
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new initial values, as `torch.nn.Linear` does."""
        bound = 1 / math.sqrt(self.inputs)
        nn.init.uniform_(self.value, -bound, bound, generator=generator)

    def forward(self, weighted: Tensor) -> Tensor:
        """Add the bias to the weighted sums."""
        return weighted + self.value

    def extra_repr(self) -> str:
        """Size and the concept of this module."""
        return f"neurons={self.neurons}, concept={self.concept.name}"
