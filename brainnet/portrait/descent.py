"""Descent: the steps of a run, how far each went, and whether they kept what was promised."""

from dataclasses import dataclass
from statistics import median

from brainnet.portrait.curves import Curve, by_layer, curve_of, judged
from brainnet.portrait.subject import Subject


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


def descent_of(subject: Subject) -> DescentTold:
    """The steps: how many, how far each went, and what it brought."""
    looks = judged(subject.readings)
    strides = {
        name: [each for each in found if each is not None]
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
        downhill=sum(kept > 0 for _, kept in looks) / len(looks) if looks else None,
    )


def rate_of(subject: Subject) -> RateTold:
    """The learning rate, and what came of steps of that size."""
    looks = judged(subject.readings)
    ratios = [each.update_ratio for each in descent_of(subject).layers]
    kept = [fell / promised for promised, fell in looks if promised > 0]
    return RateTold(
        value=subject.facts.learning_rate,
        schedule=subject.facts.schedule,
        curve=curve_of(subject.readings, lambda each: each.learning_rate),
        update_ratio=median(ratios) if ratios else None,
        kept=median(kept) if kept else None,
        overshot=sum(fell < 0 for _, fell in looks) / len(looks) if looks else None,
    )
