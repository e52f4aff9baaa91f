"""Damage: which weights did most to make one answer wrong, and what would have been better."""

from dataclasses import dataclass

import torch

from brainnet.learning.backpropagation import Backpropagation, LayerBlame
from brainnet.reasons.labels import Labels, sources_of, targets_of
from brainnet.structure.forward_pass import ForwardPass

WEIGHTS = 6
"""Weights that are named."""


@dataclass(frozen=True, slots=True)
class Damage:
    """One weight's part in a mistake.

    Attributes:
        layer: whose weight it is.
        source: the signal it listens to.
        target: the neuron it belongs to.
        weight: its value.
        gradient: how the loss changes with it: less of it helps where positive, more where
            negative.
        blame: its share in all squared gradients, from 0 to 1.
    """

    layer: str
    source: str
    target: str
    weight: float
    gradient: float
    blame: float


@dataclass(frozen=True, slots=True)
class LayerDamage:
    """One layer's share of the blame, from 0 to 1."""

    name: str
    blame: float


def most_damaging(
    traced: Backpropagation, thought: ForwardPass, labels: Labels, *, count: int = WEIGHTS
) -> tuple[Damage, ...]:
    """The weights with the largest gradients, the largest first; convolutions are left out.

    Args:
        traced: the blame of a loss.
        thought: the forward pass that it was traced through.
        labels: names of inputs and outputs.
        count: how many to name.
    """
    found: list[Damage] = []
    sources = sources_of(thought, labels)
    for depth, (blamed, layer) in enumerate(zip(traced.layers, thought.layers, strict=True)):
        place = layer.place
        if place.weights.ndim != 2 or layer.inputs.ndim > 2:
            continue
        last = depth == len(thought.layers) - 1
        targets = targets_of(thought.model, place, labels, last=last)
        found += [
            Damage(
                layer=place.name,
                source=sources[depth][source],
                target=targets[neuron],
                weight=float(place.weights.detach()[neuron, source]),
                gradient=float(blamed.weights_gradient[neuron, source]),
                blame=float(blamed.weights_blame[neuron, source]),
            )
            for neuron, source in _largest(blamed, count)
        ]
    return tuple(sorted(found, key=lambda each: -abs(each.gradient))[:count])


def shares(traced: Backpropagation) -> tuple[LayerDamage, ...]:
    """Each layer's share of the blame, in order."""
    return tuple(LayerDamage(layer.name, layer.blame) for layer in traced.layers)


def _largest(blamed: LayerBlame, count: int) -> list[tuple[int, int]]:
    """Neuron and source of the weights with the largest gradients; none that has no gradient."""
    size = blamed.weights_gradient.abs()
    places = size.flatten().topk(min(count, size.numel())).indices
    found = torch.stack([places // size.shape[1], places % size.shape[1]], dim=1)
    return [(n, s) for n, s in found.tolist() if size[n, s] > 0]
