"""Neuron: the weighted sum of its inputs, plus a bias, through an activation function."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from brainnet import concepts
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.activation_registry import build_activation
from brainnet.structure.bias import Bias
from brainnet.structure.weights import Weights

# Their outputs depend on the pre-activations of several neurons.
_COMBINING_TYPES = (nn.Softmax, nn.LogSoftmax, nn.Softmin, nn.GLU)


class Neuron(nn.Module):
    """One neuron, either on its own or as a view of one row of a layer.

    On its own, for teaching, it owns its weights and its bias. As part of a layer
    (`layer.neuron(3)`) it is a view: the layer owns the parameters, outputs and gradients are those
    of the layer, and the neuron adds nothing to any `state_dict`.

    Args:
        inputs: number of inputs.
        activation: a name in `ACTIVATIONS`, a module (which is copied), or None.
        bias: whether the neuron has a bias.
        generator: source of the initial values; PyTorch's global one by default.
        device, dtype: as in `torch.empty`.

    Shape:
        inputs:  (batch, inputs)
        weights: (inputs,)
        return:  (batch,)

    Example:
        >>> neuron = Neuron(inputs=2)
        >>> _ = neuron.weights.data.copy_(torch.tensor([0.5, -0.25]))
        >>> _ = neuron.bias.data.fill_(0.1)
        >>> neuron(torch.tensor([1.0, 1.0])).item()  # 0.5 - 0.25 + 0.1, on the ramp
        0.3499999940395355
    """

    concept = concepts.NEURONS

    def __init__(
        self,
        inputs: int,
        activation: str | nn.Module | None = "threshold_ramp",
        *,
        bias: bool = True,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.own_weights = Weights(inputs, 1, generator=generator, device=device, dtype=dtype)
        self.own_bias: Bias | None = None
        if bias:
            self.own_bias = Bias(1, inputs, generator=generator, device=device, dtype=dtype)
        self.own_activation = build_activation(activation, 1, device=device, dtype=dtype)
        self._set_view(self.own_weights, self.own_bias, self.own_activation, index=0)

    @classmethod
    def view_row(
        cls, weights: Weights, bias: Bias | None, activation: nn.Module, index: int
    ) -> "Neuron":
        """Create a view of neuron `index` of the layer that owns these modules."""
        if not -weights.neurons <= index < weights.neurons:
            raise IndexError(
                f"the neuron must be between 0 and {weights.neurons - 1}; got {index}."
            )
        neuron = cls.__new__(cls)
        nn.Module.__init__(neuron)
        neuron._set_view(weights, bias, activation, index % weights.neurons)
        # Raises for activations of several neurons now, not in the first call.
        _select_activation(activation, neuron.index)
        return neuron

    def _set_view(
        self, weights: Weights, bias: Bias | None, activation: nn.Module, index: int
    ) -> None:
        # A tuple, because modules in attributes would be registered as children.
        self._parts = (weights, bias, activation)
        self.index = index

    @property
    def weights(self) -> Tensor:
        """The weight of each input, (inputs,)."""
        return self._parts[0].value[self.index]

    @property
    def bias(self) -> Tensor | None:
        """The bias, (), or None."""
        bias = self._parts[1]
        return None if bias is None else bias.value[self.index]

    def pre_activation(self, inputs: Tensor) -> Tensor:
        """Compute the weighted sum of the inputs, plus the bias.

        Shape:
            inputs: (batch, inputs)
            return: (batch,)
        """
        weights, bias, _ = self._parts
        if inputs.shape[-1:] != (weights.inputs,):
            raise ValueError(
                f"this neuron needs {weights.inputs} inputs in the last dimension; got inputs of "
                f"shape {tuple(inputs.shape)}."
            )
        if weights._forward_pre_hooks or (bias is not None and bias._forward_pre_hooks):
            # Hooks such as those of pruning recompute the values when the module is called.
            sums: Tensor = weights(inputs)
            return (sums if bias is None else bias(sums))[..., self.index]
        total = inputs @ self.weights
        return total if bias is None else total + bias.value[self.index]

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the output of the neuron."""
        activate = _select_activation(self._parts[2], self.index)
        return activate(self.pre_activation(inputs))

    def extra_repr(self) -> str:
        """Index, size and the concept of this module."""
        inputs = self._parts[0].inputs
        return f"index={self.index}, inputs={inputs}, concept={self.concept.name}"


def _select_activation(activation: nn.Module, index: int) -> Callable[[Tensor], Tensor]:
    """Return the activation function of one neuron of a layer."""
    if isinstance(activation, ThresholdRamp):
        return activation.select_neuron(index)
    if isinstance(activation, nn.PReLU) and activation.num_parameters > 1:
        return lambda sums: nn.functional.prelu(sums, activation.weight[index])
    if isinstance(activation, _COMBINING_TYPES):
        raise TypeError(
            "a view of a neuron needs an activation that is applied to each neuron separately; got "
            f"{type(activation).__name__}. Use the layer instead."
        )
    return activation
