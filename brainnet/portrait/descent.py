"""Descent: the steps of a run, how far each went, and whether they kept what was promised."""

import math
from dataclasses import dataclass
from statistics import median

from brainnet.portrait.curves import Curve, by_layer, curve_of, judged
from brainnet.portrait.subject import Subject

NOT_FINITE = ("the loss became ", "a weight stopped being a finite number")
"""How a training says that its numbers left what numbers can be."""


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
        kept: by how much the loss really fell in them; not finite where one led to no number.
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
            ground is as straight as it looks, below 0 where steps end higher than they began. Of
            the steps that ended at a finite loss.
        overshot: share of the steps looked at that ended higher, or at a loss that is not finite.
        broke: what became of the loss where a step led to no number; None where none did.
    """

    value: float | None
    schedule: str | None
    curve: Curve
    update_ratio: float | None
    kept: float | None
    overshot: float | None
    broke: str | None


def descent_of(subject: Subject) -> DescentTold:
    """The steps: how many, how far each went, and what it brought."""
    looks = judged(subject.readings)
    strides = {
        name: [_stride(each) for each in found if each is not None]
        for name, found in by_layer(subject.readings, lambda each: each.update_ratio).items()
    }
    return DescentTold(
        optimizer=subject.facts.optimizer,
        steps=subject.facts.steps,
        epochs=subject.facts.epochs,
        looks=len(looks),
        layers=tuple(LayerStride(name, median(found)) for name, found in strides.items() if found),
        promised=sum(promised for promised, _ in looks) if looks else None,
        kept=sum(kept for _, kept in looks) if looks else None,
        downhill=sum(0 < fell < math.inf for _, fell in looks) / len(looks) if looks else None,
    )


def rate_of(subject: Subject) -> RateTold:
    """The learning rate, and what came of steps of that size."""
    looks = judged(subject.readings)
    ratios = [each.update_ratio for each in descent_of(subject).layers]
    # A comparison with NaN is false: what is no number is asked for, never compared.
    ended = [(promised, fell) for promised, fell in looks if math.isfinite(fell)]
    kept = [fell / promised for promised, fell in ended if 0 < promised < math.inf]
    higher = len(looks) - len(ended) + sum(fell < 0 for _, fell in ended)
    return RateTold(
        value=subject.facts.learning_rate,
        schedule=subject.facts.schedule,
        curve=curve_of(subject.readings, lambda each: each.learning_rate),
        update_ratio=median(ratios) if ratios else None,
        kept=median(kept) if kept else None,
        overshot=higher / len(looks) if looks else None,
        broke=_broke(subject),
    )


def _stride(ratio: float) -> float:
    """A share of the weights' length that has its place in an order: no number is the furthest."""
    return math.inf if math.isnan(ratio) else ratio


def _broke(subject: Subject) -> str | None:
    """That the loss left the numbers, by what the training said or the first look that saw it."""
    failure = subject.facts.failure or ""
    if failure.startswith(NOT_FINITE):
        return failure
    for each in subject.readings:
        for number in (each.loss, each.actual_decrease):
            if number is not None and not math.isfinite(number):
                return f"the loss was not finite at step {each.step:,}"
    return None
