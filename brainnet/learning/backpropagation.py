"""Backpropagation: tracing the blame, from the sting back to the weights that caused it."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from brainnet import concepts
from brainnet.structure.forward_pass import ForwardPass


@dataclass(frozen=True, eq=False, slots=True)
class LayerBlame:
    """One layer's part in the mistake.

    A weight's share of the blame is its squared gradient over that of the whole network: the share
    that it would have in making the loss smaller, were all weights moved a small step against their
    gradients. Shares add up: a neuron's is that of its row and bias, a layer's that of its neurons.
    A layer that forward_pass several times has one gradient, and one share of the blame, of which each
    time bears an equal part.

    Attributes:
        name: the layer's name.
        delta: dL/dz, how the loss changes with each weighted sum, before the activation,
            (batch, neurons).
        weights_gradient: dL/dw, (neurons, inputs), or zeros where the weights are frozen.
        bias_gradient: dL/db, (neurons,), or None without bias.
        weights_blame: share of each weight in the whole network's blame, (neurons, inputs).
        neuron_blame: share of each neuron, bias included, (neurons,).
        blame: share of the layer, from 0 to 1.
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
    """The blame of one mistake, layer by layer, from the first to the output.

    Attributes:
        loss: how much the mistake stung.
        layers: each layer's part in it.
    """

    concept = concepts.BACKPROPAGATION

    loss: float
    layers: tuple[LayerBlame, ...]

    def __str__(self) -> str:
        """Shares of the layers, and the neuron that carries most in each."""
        lines = [f"blame for a loss of {self.loss:.4f}:"]
        for layer in self.layers:
            worst = int(layer.neuron_blame.argmax())
            share = float(layer.neuron_blame[worst])
            lines.append(
                f"{layer.name:<12} {layer.blame:6.1%}   most of it on neuron {worst}: {share:.1%}"
            )
        return "\n".join(lines)

    __repr__ = __str__


def backpropagate(
    loss: Tensor, forward_pass: ForwardPass, *, retain_graph: bool = False
) -> Backpropagation:
    """Carry the loss backward through a traced forward pass, and label what arrives where.

    The numbers are autograd's (Rumelhart, Hinton & Williams, 1986, in PyTorch's hands). As with
    `loss.backward()`, the gradients are also added to each parameter's `.grad`, so that an
    optimizer can step next.

    Args:
        loss: one number, computed from `forward_pass.output`.
        forward_pass: what `network.trace` or `trace` returned.
        retain_graph: keep the graph for another pass backward, as in `torch.autograd.grad`.

    Raises:
        ValueError: where the loss is not one number, or nothing connects it with the network.
        TypeError: where the two are something else.

    Example:
        >>> from brainnet.structure.network import Network
        >>> forward_pass = Network([4, 3, 2]).trace(torch.ones(5, 4))
        >>> blame = backpropagate(forward_pass.output.square().mean(), forward_pass)
        >>> blame.layers[0].delta.shape
        torch.Size([5, 3])
        >>> round(sum(layer.blame for layer in blame.layers), 6)
        1.0
    """
    if not isinstance(loss, Tensor) or not isinstance(forward_pass, ForwardPass):
        raise TypeError(
            "blame is traced from a loss (a tensor) through a forward_pass (a ForwardPass); got "
            f"{type(loss).__name__} and {type(forward_pass).__name__}. "
            "For example: backpropagate(criterion(forward_pass.output, targets), forward_pass)."
        )
    if loss.numel() != 1:
        raise ValueError(
            f"blame is traced for one number; got a loss of shape {tuple(loss.shape)}. "
            "Take its mean or its sum."
        )
    parameters = [value for value in forward_pass.model.parameters() if value.requires_grad]
    sums = [layer.pre_activation for layer in forward_pass.layers]
    if not loss.requires_grad or not parameters:
        raise ValueError(
            "nothing connects this loss with a weight that may change: it was computed under "
            "no_grad, from a detached tensor, or all weights are frozen. Compute it from "
            "forward_pass.output with gradients on."
        )
    reachable = [value for value in sums if value.requires_grad]
    found = torch.autograd.grad(
        loss, [*reachable, *parameters], allow_unused=True, retain_graph=retain_graph
    )
    deltas = dict(zip(map(id, reachable), found, strict=False))
    gradients = dict(zip(map(id, parameters), found[len(reachable) :], strict=True))
    if all(gradient is None for gradient in gradients.values()):
        raise ValueError(
            "no weight of this network took part in this loss. Compute it from forward_pass.output."
        )
    for parameter in parameters:
        _add_to_grad(parameter, gradients[id(parameter)])
    return _labelled(float(loss.detach()), forward_pass, deltas, gradients)


def _add_to_grad(parameter: Tensor, gradient: Tensor | None) -> None:
    if gradient is None:
        return
    parameter.grad = gradient.clone() if parameter.grad is None else parameter.grad + gradient


def _labelled(
    loss: float,
    forward_pass: ForwardPass,
    deltas: Mapping[int, Tensor | None],
    gradients: Mapping[int, Tensor | None],
) -> Backpropagation:
    """Give every gradient its layer's name and its share of the blame."""
    share_of = _sharing(forward_pass, gradients)
    layers = []
    for layer in forward_pass.layers:
        weights, bias = layer.info.find_parameters()
        weights_blame = share_of(weights)
        neuron_blame = weights_blame.flatten(1).sum(dim=1)
        if bias is not None:
            neuron_blame = neuron_blame + share_of(bias)
        layers.append(
            LayerBlame(
                name=layer.name,
                delta=_or_zeros(deltas.get(id(layer.pre_activation)), layer.pre_activation),
                weights_gradient=_or_zeros(gradients.get(id(weights)), weights),
                bias_gradient=None if bias is None else _or_zeros(gradients.get(id(bias)), bias),
                weights_blame=weights_blame,
                neuron_blame=neuron_blame,
                blame=float(neuron_blame.sum()),
            )
        )
    return Backpropagation(loss, tuple(layers))


def _sharing(
    forward_pass: ForwardPass, gradients: Mapping[int, Tensor | None]
) -> Callable[[Tensor], Tensor]:
    """What gives weights, or biases, their shares: their squared gradients over those of all."""
    found = [_plain(value) for value in gradients.values() if value is not None]
    # By the largest first: the square of a vanishing gradient would be 0, and of a huge one inf.
    # Where there is no slope anywhere, nobody is to blame.
    largest = max((float(value.abs().max()) for value in found if value.numel()), default=0) or 1
    total = sum(float((value / largest).square().sum()) for value in found) or 1
    times = Counter(
        id(part) for layer in forward_pass.layers for part in layer.info.find_parameters()
    )

    def share_of(part: Tensor) -> Tensor:
        gradient = _plain(_or_zeros(gradients.get(id(part)), part))
        return (gradient / largest).square() / (total * times[id(part)])

    return share_of


def _plain(gradient: Tensor) -> Tensor:
    """Without gaps, and in float32 at least: shares in half precision would hardly add up."""
    return gradient.to_dense().to(torch.promote_types(gradient.dtype, torch.float32))


def _or_zeros(gradient: Tensor | None, like: Tensor) -> Tensor:
    """What did not take part carries no blame."""
    return torch.zeros_like(like) if gradient is None else gradient
