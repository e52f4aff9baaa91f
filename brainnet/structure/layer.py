"""Layer: neurons that receive the same inputs, computed together."""

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
    """A fully connected layer: weights, biases and an activation function.

    The layer owns the parameters of its neurons and computes all neurons in one matrix product.

    Args:
        inputs: number of inputs of each neuron.
        neurons: number of neurons.
        activation: a name in `ACTIVATIONS`, a module (which is copied), or None.
        bias: whether the neurons have biases.
        name: name of the layer in print-outs and in TensorBoard.
        generator: source of the initial values; PyTorch's global one by default.
        device, dtype: as in `torch.empty`.

    Raises:
        ValueError: if a size is not positive or the name of the activation is unknown.

    Shape:
        inputs: (batch, inputs)
        return: (batch, neurons)

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
        """Draw new weights and biases, and reset the activation to its initial values."""
        self.weights.reset_parameters(generator)
        if self.bias is not None:
            self.bias.reset_parameters(generator)
        # Most activations of PyTorch have nothing to reset.
        reset_activation = getattr(self.activation, "reset_parameters", None)
        if callable(reset_activation):
            reset_activation()

    def pre_activation(self, inputs: Tensor) -> Tensor:
        """Compute the weighted sum plus bias of every neuron: the pre-activation z.

        Shape:
            inputs: (batch, inputs)
            return: (batch, neurons)
        """
        bias = self.bias
        # The product adds the bias in the same operation, unless hooks need the bias to be called.
        fused_bias = None if bias is None or _needs_call(bias) else bias.value
        # Sizes are checked only after an error, as a tracer (torch.fx, torch.jit) has none.
        try:
            sums: Tensor = self.weights(inputs, fused_bias)
        except RuntimeError as error:
            if inputs.shape[-1:] == (self.inputs,):
                raise
            raise ValueError(
                f"{self.name} needs {self.inputs} inputs in the last dimension; got inputs of "
                f"shape {tuple(inputs.shape)}."
            ) from error
        return sums if bias is None or fused_bias is not None else bias(sums)

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the weighted sums, add the biases and apply the activation."""
        sums = self.pre_activation(inputs)
        if self._can_overwrite_pre_activation(sums):
            return self.activation(sums, reuse_input=True)  # type: ignore[no-any-return]
        output: Tensor = self.activation(sums)
        return output

    def _can_overwrite_pre_activation(self, sums: Tensor) -> bool:
        """Whether no hook, replaced module or method can hold the pre-activation.

        `threshold_ramp` checks what PyTorch knows about the tensor: hooks, views, transforms.
        """
        # The dictionary, because `self.weights` searches several of them in every call.
        modules = self._modules
        weights, activation = modules["weights"], modules["activation"]
        bias = modules.get("bias")
        # A compiler plans memory itself.
        if torch.compiler.is_compiling() or type(activation) is not ThresholdRamp:
            return False
        return (
            type(sums) is Tensor
            and type(weights) is Weights
            and type(self).pre_activation is Layer.pre_activation
            and "pre_activation" not in self.__dict__
            and not _has_any_global_hook()
            and not _is_intercepted(weights)
            and not _is_intercepted(activation)
            and (bias is None or not _needs_call(bias))
        )

    def neuron(self, index: int) -> Neuron:
        """A view of one neuron, which shares the parameters of this layer.

        Raises:
            IndexError: if the layer has no such neuron.
            TypeError: if the activation combines several neurons, such as softmax.
        """
        return Neuron.view_row(self.weights, self.bias, self.activation, index)

    def extra_repr(self) -> str:
        """Name, sizes and the concept of this module."""
        return f"{self.name}: {self.inputs} -> {self.neurons}, concept={self.concept.name}"


def _needs_call(bias: nn.Module) -> bool:
    """Whether the bias does more than hold its value; pruning, for example, is a hook on it."""
    return type(bias) is not Bias or _is_intercepted(bias)


def _is_intercepted(module: nn.Module) -> bool:
    """Whether the module has hooks, or a `forward` set on the instance."""
    attributes = module.__dict__
    return bool(
        attributes["_forward_hooks"]
        or attributes["_forward_pre_hooks"]
        or attributes["_backward_hooks"]
        or attributes["_backward_pre_hooks"]
        or "forward" in attributes
    )
