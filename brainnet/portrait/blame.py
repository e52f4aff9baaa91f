"""Blame: where the error of a run went, how steep it is, and which way is down."""

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from brainnet.learning.backpropagation import Backpropagation, backpropagate
from brainnet.portrait.curves import Curve, curve_of, first_and_last
from brainnet.portrait.subject import Rows, Subject
from brainnet.reasons.damage import Damage, most_damaging
from brainnet.structure.forward_pass import ForwardPass, trace

STEEPEST = 5
"""Weights that are told, with the largest gradients."""


@dataclass(frozen=True, slots=True)
class LayerBlamed:
    """One layer's share of the blame: at the first look, at the last, and as it is now."""

    name: str
    first: float | None
    last: float | None
    now: float | None


@dataclass(frozen=True, slots=True)
class BlameTold:
    """Where the blame went.

    Attributes:
        rows: training rows whose blame is traced now.
        loss: of these.
        layers: shares, from 0 to 1.
        weights: those with the largest share now.
    """

    rows: int
    loss: float | None
    layers: tuple[LayerBlamed, ...]
    weights: tuple[Damage, ...]


@dataclass(frozen=True, slots=True)
class LayerSlope:
    """How steep it is at one layer: at the first look, at the last, and as it is now."""

    name: str
    first: float | None
    last: float | None
    now: float | None


@dataclass(frozen=True, slots=True)
class GradientTold:
    """The slope underfoot.

    Attributes:
        curve: length of the whole gradient, batch by batch.
        rows: training rows on which it is felt now.
        now: its length over these.
        layers: layer by layer.
        weights: the steepest now, with the direction.
    """

    curve: Curve
    rows: int
    now: float | None
    layers: tuple[LayerSlope, ...]
    weights: tuple[Damage, ...]


def blame_of(subject: Subject) -> BlameTold:
    """Each layer's share, then and now, and the weights that carry most."""
    found = felt(subject)
    first, last = first_and_last(subject.readings, lambda each: each.blame)
    now: dict[str, float] = {}
    for each in () if found is None else found[0].layers:
        now[each.name] = now.get(each.name, 0.0) + each.blame  # each time a layer thought
    layers = tuple(
        LayerBlamed(name, first.get(name), last.get(name), now.get(name))
        for name in _in_order(now, last)
    )
    weights: tuple[Damage, ...] = ()
    if found is not None:
        weights = most_damaging(*found, subject.question.labels, count=STEEPEST)
    rows = 0 if subject.learned is None else len(subject.learned.inputs)
    return BlameTold(rows, None if found is None else found[0].loss, layers, weights)


def gradient_of(subject: Subject) -> GradientTold:
    """How steep it was, how steep it is, and which way it goes down."""
    found = felt(subject)
    first, last = first_and_last(subject.readings, lambda each: each.gradient_norm)
    now: dict[str, float] = {}
    weights: tuple[Damage, ...] = ()
    if found is not None:
        weights = most_damaging(*found, subject.question.labels, count=STEEPEST)
        now = {
            each.name: _length(each.weights_gradient, each.bias_gradient)
            for each in found[0].layers
        }
    layers = tuple(
        LayerSlope(name, first.get(name), last.get(name), now.get(name))
        for name in _in_order(now, last)
    )
    total = sum(each**2 for each in now.values()) ** 0.5 if now else None
    rows = 0 if subject.learned is None else len(subject.learned.inputs)
    curve = curve_of(subject.readings, lambda each: each.gradient_norm)
    return GradientTold(curve, rows, total, layers, weights)


def felt(subject: Subject) -> tuple[Backpropagation, ForwardPass] | None:
    """The blame of the training rows as the network is now, on a copy of it; None without rows."""
    rows: Rows | None = subject.learned
    if rows is None:
        return None
    own = deepcopy(subject.network).eval()
    for parameter in own.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    with torch.enable_grad():
        thought = trace(own, rows.inputs.to(next(own.parameters())))
        loss: Tensor = subject.question.loss(thought.output, rows.targets)
        return backpropagate(loss, thought), thought


def _in_order(*names: dict[str, float]) -> list[str]:
    return list(dict.fromkeys(name for each in names for name in each))


def _length(weights: Tensor, bias: Tensor | None) -> float:
    squares = weights.double().square().sum()
    return float((squares + (0 if bias is None else bias.double().square().sum())).sqrt())
