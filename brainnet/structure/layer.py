"""Layer: one stage of processing; every neuron of it looks at the same signals."""

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from brainnet import concepts
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.activation_registry import build_activation
from brainnet.structure.bias import Bias
from brainnet.structure.neuron import Neuron
from brainnet.structure.weights import Weights


class Layer(nn.Module):
    """Neurons side by side: light comes in, edges go out; edges come in, shapes go out.

    The layer owns the tensors of its neurons and computes them all in one matrix product.

    Args:
        inputs: number of signals that arrive.
        neurons: number of neurons.
        activation: a name of `ACTIVATIONS`, a module (copied), or None for none.
        bias: whether the neurons have tendencies of their own.
        name: what the layer is called in print-outs, in TensorBoard and everywhere else.
        generator: source of the initial values; PyTorch's global one where None.
        device: as in `torch.empty`.
        dtype: as in `torch.empty`.

    Raises:
        ValueError: where a size is not positive or the activation's name is unknown.

    Shape:
        signals: (batch, inputs)
        return:  (batch, neurons)

    Example:
        >>> Layer(inputs=3, neurons=2)(torch.ones(4, 3)).shape
        torch.Size([4, 2])
    """

    concept = concepts.LAYERS

    def __init__(
        self,
        inputs: int,
        neurons: int,
        activation: str | nn.Module | None = "threshold_ramp",
        *,
        bias: bool = True,
        name: str = "layer",
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.inputs = inputs
        self.neurons = neurons
        self.weights = Weights(inputs, neurons, generator=generator, device=device, dtype=dtype)
        self.bias: Bias | None = None
        if bias:
            self.bias = Bias(neurons, inputs, generator=generator, device=device, dtype=dtype)
        self.activation = build_activation(activation, neurons, device=device, dtype=dtype)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Start anew: fresh weights and biases, and the activation where it began."""
        self.weights.reset_parameters(generator)
        if self.bias is not None:
            self.bias.reset_parameters(generator)
        reset_activation = getattr(self.activation, "reset_parameters", None)
        if callable(reset_activation):
            reset_activation()

    def pre_activation(self, signals: Tensor) -> Tensor:
        """Weighted sum plus bias of every neuron: the pre-activation z.

        Shape:
            signals: (batch, inputs)
            return:  (batch, neurons)
        """
        bias = self.bias
        # In one operation with the weights, unless somebody waits for the bias to be called.
        within = None if bias is None or _is_called(bias) else bias.value
        # Asked afterwards, not before: a tracer (torch.fx, torch.jit) could not answer.
        try:
            summed: Tensor = self.weights(signals, within)
        except RuntimeError as error:
            if signals.shape[-1:] == (self.inputs,):
                raise
            raise ValueError(
                f"{self.name} needs {self.inputs} inputs in the last dimension; got signals of "
                f"shape {tuple(signals.shape)}. Give it what it was built for, or build it anew."
            ) from error
        return summed if bias is None or within is not None else bias(summed)

    def forward(self, signals: Tensor) -> Tensor:
        """Weigh the signals, add the biases, react."""
        sums = self.pre_activation(signals)
        if self._can_overwrite_pre_activation(sums):
            return self.activation(sums, reuse_input=True)  # type: ignore[no-any-return]
        reaction: Tensor = self.activation(sums)
        return reaction

    def _can_overwrite_pre_activation(self, sums: Tensor) -> bool:
        """Whether the sums may give way to the reaction: it then needs no memory of its own.

        What PyTorch knows of a tensor (hooks, views, transforms) is `threshold_ramp`'s to ask. Here
        is asked for whoever may be handed the sums on their way: hooks on a module, a module of
        somebody else's, a method that was replaced.
        """
        # Asked of the dictionary that a module keeps: `self.weights` takes a search each time.
        modules = self._modules
        weights, activation = modules["weights"], modules["activation"]
        bias = modules.get("bias")
        if torch.compiler.is_compiling() or type(activation) is not ThresholdRamp:
            return False  # a compiler finds out for itself
        return (
            type(sums) is Tensor
            and type(weights) is Weights
            and type(self).pre_activation is Layer.pre_activation
            and "pre_activation" not in self.__dict__
            and not _has_any_global_hook()
            and not _is_watched(weights)
            and not _is_watched(activation)
            and (bias is None or not _is_called(bias))
        )

    def neuron(self, index: int) -> Neuron:
        """One neuron of this layer, seen alone: a view that shares its tensors.

        Raises:
            IndexError: where the layer has no such neuron.
            TypeError: where the activation mixes the neurons.
        """
        return Neuron.of(self.weights, self.bias, self.activation, index)

    def extra_repr(self) -> str:
        """Name and sizes, and the concept that this part embodies."""
        return f"{self.name}: {self.inputs} -> {self.neurons}, concept={self.concept.name}"


def _is_called(bias: nn.Module) -> bool:
    """Whether a bias has more to do than to hold its value: pruning, for one, is a hook on it."""
    return type(bias) is not Bias or _is_watched(bias)


def _is_watched(module: nn.Module) -> bool:
    """Whether anybody listens to the module, in either direction, or has put himself in its way."""
    own = module.__dict__
    return bool(
        own["_forward_hooks"]
        or own["_forward_pre_hooks"]
        or own["_backward_hooks"]
        or own["_backward_pre_hooks"]
        or "forward" in own
    )
