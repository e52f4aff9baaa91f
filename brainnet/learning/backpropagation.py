"""Backpropagation: the gradient of the loss, carried backward to every layer and labeled."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from brainnet import concepts
from brainnet.structure.forward_pass import ForwardPass


@dataclass(frozen=True, eq=False, slots=True)
class LayerBlame:
    """Gradients of one layer, and its share of the blame for the loss.

    The blame of a weight is its squared gradient divided by the sum of all squared gradients of the
    network: to first order, its share of the decrease in loss after a small gradient step. The
    blame of a neuron is the sum over its weights and bias, that of a layer the sum over its
    neurons. A layer that was called several times has one gradient, whose blame is divided equally
    among the calls.

    Attributes:
        name: name of the layer.
        delta: dL/dz, the derivative of the loss with respect to the pre-activations,
            (batch, neurons); zeros before the first trainable layer.
        weights_gradient: dL/dw, (neurons, inputs); zeros if the weights are frozen or unused.
        bias_gradient: dL/db, (neurons,), or None without bias.
        weights_blame: blame of each weight, (neurons, inputs).
        neuron_blame: blame of each neuron, (neurons,).
        blame: blame of the layer, from 0 to 1.
    """

    name: str
    delta: Tensor
    weights_gradient: Tensor
    bias_gradient: Tensor | None
    weights_blame: Tensor
    neuron_blame: Tensor
    blame: float


@dataclass(frozen=True, eq=False, slots=True)
class Backpropagation:
    """The result of one backward pass.

    Attributes:
        loss: value of the loss.
        layers: gradients and blame of each layer, from the first to the output.
    """

    concept = concepts.BACKPROPAGATION

    loss: float
    layers: tuple[LayerBlame, ...]

    def __str__(self) -> str:
        """Blame of each layer, and of its neuron with the largest blame."""
        lines = [f"blame for a loss of {self.loss:.4f}:"]
        for layer in self.layers:
            neuron = int(layer.neuron_blame.argmax())
            share = float(layer.neuron_blame[neuron])
            lines.append(
                f"{layer.name:<12} {layer.blame:6.1%}   most: neuron {neuron}, {share:.1%}"
            )
        return "\n".join(lines)

    __repr__ = __str__


def backpropagate(
    loss: Tensor, forward_pass: ForwardPass, *, retain_graph: bool = False
) -> Backpropagation:
    """Carry the loss backward through a traced forward pass (Rumelhart, Hinton & Williams, 1986).

    The gradients are computed by autograd. As in `loss.backward()`, they are also added to the
    `.grad` of each parameter, so that an optimizer can step next.

    Args:
        loss: a scalar computed from `forward_pass.output`.
        forward_pass: the result of `network.trace` or `trace`.
        retain_graph: whether to keep the graph for another backward pass, as in
            `torch.autograd.grad`.

    Raises:
        ValueError: if the loss is not a scalar, or does not depend on the network.
        TypeError: if the loss is not a tensor, or the forward pass not a `ForwardPass`.

    Example:
        >>> from brainnet.structure.network import Network
        >>> forward_pass = Network([4, 3, 2]).trace(torch.ones(5, 4))
        >>> result = backpropagate(forward_pass.output.square().mean(), forward_pass)
        >>> result.layers[0].delta.shape
        torch.Size([5, 3])
        >>> round(sum(layer.blame for layer in result.layers), 6)
        1.0
    """
    if not isinstance(loss, Tensor) or not isinstance(forward_pass, ForwardPass):
        raise TypeError(
            "backpropagate needs a loss (a tensor) and a ForwardPass; got "
            f"{type(loss).__name__} and {type(forward_pass).__name__}. For example: "
            "backpropagate(criterion(forward_pass.output, targets), forward_pass)."
        )
    if loss.numel() != 1:
        raise ValueError(
            f"backpropagate needs a scalar; got a loss of shape {tuple(loss.shape)}. Use its mean "
            "or its sum."
        )
    parameters = [value for value in forward_pass.model.parameters() if value.requires_grad]
    # Pre-activations before the first trainable layer require no gradient.
    pre_activations = [layer.pre_activation for layer in forward_pass.layers]
    sources = [*parameters, *(value for value in pre_activations if value.requires_grad)]
    gradients: tuple[Tensor | None, ...] = (None,) * len(sources)
    if loss.requires_grad and parameters:
        gradients = torch.autograd.grad(loss, sources, allow_unused=True, retain_graph=retain_graph)
    if all(gradient is None for gradient in gradients[: len(parameters)]):
        raise ValueError(
            "the loss has no gradient: it does not depend on the parameters of the network, was "
            "computed under no_grad or from a detached tensor, or all parameters are frozen. "
            "Compute it from forward_pass.output with gradients enabled."
        )
    for parameter, gradient in zip(parameters, gradients, strict=False):
        if gradient is not None:
            # Not in place: others may hold the old gradient.
            old = parameter.grad
            parameter.grad = gradient.clone() if old is None else old + gradient
    by_id = dict(zip(map(id, sources), gradients, strict=True))
    return Backpropagation(float(loss.detach()), _assign_blame(forward_pass, by_id))


def _assign_blame(
    forward_pass: ForwardPass, gradients: Mapping[int, Tensor | None]
) -> tuple[LayerBlame, ...]:
    """Compute the blame of each layer from gradients by tensor id."""

    def get_gradient(tensor: Tensor) -> Tensor:
        # Frozen or unused parameters have no gradient.
        gradient = gradients.get(id(tensor))
        return torch.zeros_like(tensor) if gradient is None else gradient

    squares = _compute_squares(forward_pass.model.parameters(), gradients)
    total = sum(float(square.sum()) for square in squares.values()) or 1
    # Tied weights and repeated layers share one gradient, which must not be counted twice.
    parameters = [layer.info.find_parameters() for layer in forward_pass.layers]
    calls = Counter(id(parameter) for pair in parameters for parameter in pair)

    def compute_share(parameter: Tensor) -> Tensor:
        square = squares.get(id(parameter))
        if square is None:
            return _to_dense(torch.zeros_like(parameter))
        return square / (total * calls[id(parameter)])

    layers = []
    for layer, (weights, bias) in zip(forward_pass.layers, parameters, strict=True):
        weights_blame = compute_share(weights)
        # The dimensions of a convolution's kernel belong to its output channel.
        neuron_blame = weights_blame.flatten(1).sum(dim=1)
        if bias is not None:
            neuron_blame = neuron_blame + compute_share(bias)
        layers.append(
            LayerBlame(
                name=layer.name,
                delta=get_gradient(layer.pre_activation),
                weights_gradient=get_gradient(weights),
                bias_gradient=None if bias is None else get_gradient(bias),
                weights_blame=weights_blame,
                neuron_blame=neuron_blame,
                blame=float(neuron_blame.sum()),
            )
        )
    return tuple(layers)


def _compute_squares(
    parameters: Iterable[Tensor], gradients: Mapping[int, Tensor | None]
) -> dict[int, Tensor]:
    """Divide gradients by their largest absolute value and square them; by parameter id."""
    dense = {
        id(parameter): _to_dense(gradient)
        for parameter in parameters
        if (gradient := gradients.get(id(parameter))) is not None
    }
    # Without the division, the squares of tiny or huge gradients would be 0 or infinite.
    largest = max(
        (float(value.abs().max()) for value in dense.values() if value.numel()), default=0
    )
    return {key: (value / (largest or 1)).square() for key, value in dense.items()}


def _to_dense(gradient: Tensor) -> Tensor:
    # At least float32, as shares in half precision would not add up to 1.
    return gradient.to_dense().to(torch.promote_types(gradient.dtype, torch.float32))
