"""Learning: how a network became what it is: its stings, its blame, its slopes and its steps."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from brainnet.learning.backpropagation import Backpropagation, backpropagate
from brainnet.observation.reading import LayerReading, Reading
from brainnet.portrait.subject import Rows, Subject
from brainnet.reasons.damage import Damage, most_damaging
from brainnet.structure.forward_pass import ForwardPass, trace

WORST = 3
"""Rows that are told, with the largest stings."""

STEEPEST = 5
"""Weights that are told, with the largest gradients."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A number at the steps that were looked at."""

    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Sting:
    """One row that stings: its number in the data, and how much."""

    row: int
    part: str
    loss: float


@dataclass(frozen=True, slots=True)
class LossTold:
    """The loss, from the first guess to the end.

    Attributes:
        name: the class.
        curve: that of the batches that were looked at.
        first: of the first batch, before anything was learned.
        last: of the last batch that was looked at.
        guessing: what it would cost on the training rows to give always the same answer: the share
            of each class, or the mean of each number. None without rows.
        metrics: losses at the end, by tag.
        typical: the median sting of the rows never learned from.
        worst: of these, the rows that sting most.
        worst_share: share of all their stings that these rows have.
    """

    name: str
    curve: Curve
    first: float | None
    last: float | None
    guessing: float | None
    metrics: dict[str, float]
    typical: float | None
    worst: tuple[Sting, ...]
    worst_share: float | None


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


@dataclass(frozen=True, slots=True)
class LayerStride:
    """How far a step typically moved the weights of one layer, over their own length."""

    name: str
    update_ratio: float


@dataclass(frozen=True, slots=True)
class DescentTold:
    """The way downhill.

    Attributes:
        optimizer: the class.
        steps: taken in all.
        epochs: passes over the training rows.
        looks: steps that were looked at closely.
        layers: median update ratio of each layer.
        promised: what the slope promised these steps, added up.
        kept: by how much the loss really fell in them.
        downhill: share of them in which it fell.
    """

    optimizer: str | None
    steps: int | None
    epochs: int | None
    looks: int
    layers: tuple[LayerStride, ...]
    promised: float | None
    kept: float | None
    downhill: float | None


@dataclass(frozen=True, slots=True)
class RateTold:
    """The size of the step.

    Attributes:
        value: that the optimizer was given.
        schedule: the class that changed it, or None.
        curve: as it was, step by step.
        update_ratio: how far a step typically moved the weights, over all layers.
        kept: median share of what the slope promised by which the loss really fell: 1 where the
            ground is as straight as it looks, below 0 where steps end higher than they began.
        overshot: share of the steps looked at that ended higher.
    """

    value: float | None
    schedule: str | None
    curve: Curve
    update_ratio: float | None
    kept: float | None
    overshot: float | None


def loss_of(subject: Subject) -> LossTold:
    """The first sting, the last, and who stings most now."""
    curve = _curve(subject.readings, lambda each: each.loss)
    unseen = [rows for rows in subject.rows if rows.part != "train"]
    stings = [
        Sting(number, rows.part, loss)
        for rows in unseen
        for number, loss in zip(
            rows.numbers.tolist(), subject.loss_of_rows[rows.part].tolist(), strict=True
        )
    ]
    stings.sort(key=lambda each: -each.loss)
    total = sum(each.loss for each in stings)
    worst = tuple(stings[:WORST])
    return LossTold(
        name=type(subject.question.loss).__name__,
        curve=curve,
        first=curve.values[0] if curve.values else None,
        last=curve.values[-1] if curve.values else None,
        guessing=None if subject.learned is None else guessing(subject),
        metrics=dict(sorted(subject.facts.metrics.items())),
        typical=median(each.loss for each in stings) if stings else None,
        worst=worst,
        worst_share=sum(each.loss for each in worst) / total if total > 0 else None,
    )


def guessing(subject: Subject) -> float | None:
    """What it costs to give always the same answer, the best that knows no row.

    Of classes that is the share of each among the training rows, of numbers their mean.
    """
    rows, question = subject.learned, subject.question
    if rows is None:
        return None
    with torch.no_grad():
        if question.task == "regression":
            always = rows.targets.mean(dim=0, keepdim=True)
        else:
            counts = torch.bincount(rows.targets, minlength=max(2, len(question.labels.outputs)))
            shares = (counts.double() / counts.sum()).clamp(min=1e-12).float()
            outputs = 1 if subject.thought is None else subject.thought.output.shape[-1]
            always = shares.log().unsqueeze(0)
            if outputs == 1:
                always = (shares[1].log() - shares[0].log()).reshape(1, 1)
        return float(question.loss(always.expand(len(rows.targets), -1), rows.targets))


def blame_of(subject: Subject) -> BlameTold:
    """Each layer's share, then and now, and the weights that carry most."""
    found = felt(subject)
    first, last = _first_and_last(subject.readings, lambda each: each.blame)
    now = {} if found is None else {each.name: each.blame for each in found[0].layers}
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
    first, last = _first_and_last(subject.readings, lambda each: each.gradient_norm)
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
    curve = _curve(subject.readings, lambda each: each.gradient_norm)
    return GradientTold(curve, rows, total, layers, weights)


def descent_of(subject: Subject) -> DescentTold:
    """The steps: how many, how far each went, and what it brought."""
    judged = _judged(subject.readings)
    strides = {
        name: [each for each in found if each is not None]
        for name, found in _by_layer(subject.readings, lambda each: each.update_ratio).items()
    }
    return DescentTold(
        optimizer=subject.facts.optimizer,
        steps=subject.facts.steps,
        epochs=subject.facts.epochs,
        looks=len(judged),
        layers=tuple(LayerStride(name, median(found)) for name, found in strides.items() if found),
        promised=sum(promised for promised, _ in judged) if judged else None,
        kept=sum(kept for _, kept in judged) if judged else None,
        downhill=sum(kept > 0 for _, kept in judged) / len(judged) if judged else None,
    )


def rate_of(subject: Subject) -> RateTold:
    """The learning rate, and what came of steps of that size."""
    judged = _judged(subject.readings)
    ratios = [each.update_ratio for each in descent_of(subject).layers]
    kept = [fell / promised for promised, fell in judged if promised > 0]
    return RateTold(
        value=subject.facts.learning_rate,
        schedule=subject.facts.schedule,
        curve=_curve(subject.readings, lambda each: each.learning_rate),
        update_ratio=median(ratios) if ratios else None,
        kept=median(kept) if kept else None,
        overshot=sum(fell < 0 for _, fell in judged) / len(judged) if judged else None,
    )


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


def _curve(readings: Sequence[Reading], number: Callable[[Reading], float | None]) -> Curve:
    found = [(each.step, value) for each in readings if (value := number(each)) is not None]
    return Curve(tuple(step for step, _ in found), tuple(value for _, value in found))


def _by_layer(
    readings: Sequence[Reading], number: Callable[[LayerReading], float | None]
) -> dict[str, list[float | None]]:
    found: dict[str, list[float | None]] = {}
    for reading in readings:
        for layer in reading.layers:
            found.setdefault(layer.place, []).append(number(layer))
    return found


def _first_and_last(
    readings: Sequence[Reading], number: Callable[[LayerReading], float | None]
) -> tuple[dict[str, float], dict[str, float]]:
    """Each layer's number at the first look and at the last that measured it."""
    measured = {
        name: [each for each in found if each is not None]
        for name, found in _by_layer(readings, number).items()
    }
    known = {name: found for name, found in measured.items() if found}
    return (
        {name: found[0] for name, found in known.items()},
        {name: found[-1] for name, found in known.items()},
    )


def _judged(readings: Sequence[Reading]) -> list[tuple[float, float]]:
    """What the slope promised, and by how much the loss fell, where both were measured."""
    return [
        (each.predicted_decrease, each.actual_decrease)
        for each in readings
        if each.predicted_decrease is not None and each.actual_decrease is not None
    ]


def _in_order(*names: dict[str, float]) -> list[str]:
    return list(dict.fromkeys(name for each in names for name in each))


def _length(weights: Tensor, bias: Tensor | None) -> float:
    squares = weights.double().square().sum()
    return float((squares + (0 if bias is None else bias.double().square().sum())).sqrt())
