"""Sums: one row on its way through a network, each neuron's sum taken apart into its terms."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.embedding import Embedding
from brainnet.structure.forward_pass import LayerPass

TERMS = 4
"""Products of one sum that are named; the others are told together."""

NEURONS = 2
"""Neurons of a hidden layer that are followed."""

RAMPS = (ThresholdRamp, nn.Hardtanh, nn.ReLU6, nn.Hardsigmoid)
"""Activations with a lower and an upper end, at which they are exactly flat."""


@dataclass(frozen=True, slots=True)
class Term:
    """One product of a sum: `signal · weight = product`."""

    source: str
    signal: float
    weight: float
    product: float


@dataclass(frozen=True, slots=True)
class NeuronSum:
    """How one neuron came to its answer.

    `sum` of the products of `terms`, plus `others_sum`, plus `bias`, is `total`.

    Attributes:
        neuron: its number in the layer.
        name: what it is called; in the last layer, the answer it speaks for.
        carried: how much of what the score rose by on the way to this row ran through it.
        terms: the largest products, by size.
        others: how many products are not named.
        others_sum: what these come to.
        bias: its own, or None.
        total: the weighted sum with the bias.
        stirred: what reached the activation: the total, or what a normalisation made of it.
        output: how strongly it fired.
        before: how strongly it fires for a row of zeros.
    """

    neuron: int
    name: str
    carried: float
    terms: tuple[Term, ...]
    others: int
    others_sum: float
    bias: float | None
    total: float
    stirred: float
    output: float
    before: float


@dataclass(frozen=True, slots=True)
class LayerSteps:
    """What one layer did with the row.

    Attributes:
        name: the layer's.
        inputs: signals that it received.
        neurons: neurons, or numbers that it gave.
        activation: the class of its activation; None where its sums are its answers.
        silent: neurons that answered exactly 0; None without an activation.
        full: neurons at the upper end of their activation; None where it has none.
        carried: how much of what the score rose by ran through the layer.
        shown: the neurons that carried most and, in the last layer the answers that compete.
        untold: why its sums are not told, where they are not.
    """

    name: str
    inputs: int
    neurons: int
    activation: str | None
    silent: int | None
    full: int | None
    carried: float
    shown: tuple[NeuronSum, ...]
    untold: str | None = None


def steps_of(
    layer: LayerPass,
    before: LayerPass,
    sources: Sequence[str],
    targets: Sequence[str],
    carried: Tensor,
    neurons: Sequence[int] | None = None,
) -> LayerSteps:
    """Tell what a layer did with the one row of a thought.

    Args:
        layer: from a forward pass of one row.
        before: the same from that of a row of zeros.
        sources: names of the signals.
        targets: names of the neurons.
        carried: how much of the score ran through each neuron, (neurons,).
        neurons: those to follow; those that carried most where None.
    """
    output = layer.output.detach()[0]
    activation = layer.place.activation
    reacts = activation is not None and not isinstance(activation, nn.Identity)
    top = upper_end(activation) if isinstance(activation, RAMPS) else None
    untold = _untold(layer)
    shown: tuple[NeuronSum, ...] = ()
    if untold is None:
        chosen = strongest(carried, NEURONS) if neurons is None else neurons
        shown = tuple(
            sum_of(layer, before, each, sources, targets[each], float(carried[each]))
            for each in chosen
        )
    return LayerSteps(
        name=layer.name,
        inputs=layer.inputs[0].numel(),
        neurons=output.numel(),
        activation=type(activation).__name__ if reacts else None,
        silent=int((output == 0).sum()) if reacts else None,
        full=None if top is None else int((output == top).sum()),
        carried=float(carried.sum()),
        shown=shown,
        untold=untold,
    )


def sum_of(
    layer: LayerPass,
    before: LayerPass,
    neuron: int,
    sources: Sequence[str],
    name: str,
    carried: float,
) -> NeuronSum:
    """Take the sum of one neuron apart; the products are those of the network's own numbers."""
    place, signals = layer.place, layer.inputs.detach()[0].double()
    weights = place.weights.detach()[neuron].double()
    products = signals * weights
    bias = None if place.bias is None else float(place.bias.detach()[neuron])
    # A single one left over is named as well: that takes no more room.
    named = strongest(products, TERMS + (len(products) == TERMS + 1))
    rest = torch.ones_like(products, dtype=torch.bool)
    rest[named] = False
    return NeuronSum(
        neuron=neuron,
        name=name,
        carried=carried,
        terms=tuple(
            Term(sources[i], float(signals[i]), float(weights[i]), float(products[i]))
            for i in named
        ),
        others=int(rest.sum()),
        others_sum=float(products[rest].sum()),
        bias=bias,
        total=float(products.sum()) + (bias or 0.0),
        stirred=float(layer.pre_activation.detach()[0, neuron]),
        output=float(layer.output.detach()[0, neuron]),
        before=float(before.output.detach()[0, neuron]),
    )


def strongest(values: Tensor, count: int) -> list[int]:
    """Places of the largest values by size, the largest first, and none that is zero.

    Example:
        >>> strongest(torch.tensor([1.0, -3.0, 0.0, 2.0]), 2)
        [1, 3]
    """
    order = values.abs().argsort(descending=True, stable=True)[:count].tolist()
    return [place for place in order if values[place] != 0]


def upper_end(activation: nn.Module | None) -> float:
    """The answer of an activation that fires as strongly as it can."""
    ends = {nn.Hardtanh: "max_val", nn.ReLU6: "max_val"}
    named = next((name for kind, name in ends.items() if isinstance(activation, kind)), None)
    return float(getattr(activation, named)) if named else 1.0


def _untold(layer: LayerPass) -> str | None:
    """Why the sums of a layer cannot be written as one line of products, where that is so."""
    if isinstance(layer.place.module, Embedding):
        return "it sums nothing up: it looks the code of a category up, and signals come back"
    if layer.place.weights.ndim != 2:
        return "its neurons look at many small windows of their input, each with a sum of its own"
    if layer.inputs.ndim != 2 or layer.pre_activation.ndim != 2:
        return "it takes its input piece by piece, and has a sum for each piece"
    return None
