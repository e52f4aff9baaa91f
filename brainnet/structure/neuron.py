"""Neuron: collects its signals, weighs them, and fires when the sum is strong enough."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from brainnet import concepts
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.activation_registry import build_activation
from brainnet.structure.bias import Bias
from brainnet.structure.weights import Weights


class Neuron(nn.Module):
    """One neuron: the weighted sum of its inputs, plus its bias, through its activation.

    It stands alone, for teaching, and then owns its row of weights and its bias. Seen inside a
    layer (`layer.neuron(3)`) it is a view: the layer owns the tensors, what the neuron computes
    and the gradients it sends are the layer's own, and it adds nothing to any `state_dict`.

    Args:
        inputs: number of signals that arrive.
        activation: a name of `ACTIVATIONS`, a module, or None.
        bias: whether the neuron has a tendency of its own.
        generator: source of the initial values; PyTorch's global one where None.
        device: as in `torch.empty`.
        dtype: as in `torch.empty`.

    Shape:
        signals: (batch, inputs)
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
        self._see(self.own_weights, self.own_bias, self.own_activation, index=0)

    @classmethod
    def of(cls, weights: Weights, bias: Bias | None, activation: nn.Module, index: int) -> "Neuron":
        """Neuron `index` of the layer that owns these parts: a view, not a copy.

        Raises:
            IndexError: where the layer has no such neuron.
            TypeError: where the activation mixes the neurons, so that one alone has no meaning.
        """
        if not -weights.neurons <= index < weights.neurons:
            raise IndexError(
                f"the layer has neurons 0 to {weights.neurons - 1}; got {index}. Choose one."
            )
        neuron = cls.__new__(cls)
        nn.Module.__init__(neuron)
        neuron._see(weights, bias, activation, index % weights.neurons)
        _activation_of_neuron(activation, neuron.index)
        return neuron

    def _see(self, weights: Weights, bias: Bias | None, activation: nn.Module, index: int) -> None:
        """Look at row `index` of these parts, in a plain tuple: nothing is registered."""
        self._parts = (weights, bias, activation)
        self.index = index

    @property
    def weights(self) -> Tensor:
        """This neuron's row: how much attention it gives to each input, shape (inputs,)."""
        return self._parts[0].value[self.index]

    @property
    def bias(self) -> Tensor | None:
        """This neuron's own tendency, shape (), or None."""
        bias = self._parts[1]
        return None if bias is None else bias.value[self.index]

    def pre_activation(self, signals: Tensor) -> Tensor:
        """Weighted sum of the signals plus the bias: how strongly the neuron is stirred.

        Shape:
            signals: (batch, inputs)
            return:  (batch,)
        """
        if signals.shape[-1:] != (self._parts[0].inputs,):
            raise ValueError(
                f"this neuron needs {self._parts[0].inputs} signals in the last dimension; got "
                f"shape {tuple(signals.shape)}."
            )
        weights, bias, _ = self._parts
        if weights._forward_pre_hooks or (bias is not None and bias._forward_pre_hooks):
            # Such hooks make the values anew at each call, as pruning does: have all of them made.
            sums: Tensor = weights(signals)
            return (sums if bias is None else bias(sums))[..., self.index]
        total = signals @ self.weights
        return total if bias is None else total + bias.value[self.index]

    def forward(self, signals: Tensor) -> Tensor:
        """Collect the signals and react."""
        return self._react(self.pre_activation(signals))

    @property
    def _react(self) -> Callable[[Tensor], Tensor]:
        return _activation_of_neuron(self._parts[2], self.index)

    def extra_repr(self) -> str:
        """Its place and size, and the concept that this part embodies."""
        inputs = self._parts[0].inputs
        return f"index={self.index}, inputs={inputs}, concept={self.concept.name}"


_MIXING = (nn.Softmax, nn.LogSoftmax, nn.Softmin, nn.GLU)


def _activation_of_neuron(activation: nn.Module, index: int) -> Callable[[Tensor], Tensor]:
    if isinstance(activation, ThresholdRamp):
        return activation.of_neuron(index)
    if isinstance(activation, nn.PReLU) and activation.num_parameters > 1:
        return lambda signal: nn.functional.prelu(signal, activation.weight[index])
    if isinstance(activation, _MIXING):
        raise TypeError(
            f"a neuron seen alone needs an activation that reacts to its own sum; "
            f"{type(activation).__name__} mixes the neurons of the layer. Look at the layer."
        )
    return activation
