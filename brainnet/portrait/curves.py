"""Curves: numbers of a run step by step, and what stood at its first look and at its last."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from brainnet.observation.reading import LayerReading, Reading


@dataclass(frozen=True, slots=True)
class Curve:
    """A number at the steps that were looked at."""

    steps: tuple[int, ...]
    values: tuple[float, ...]


def curve_of(readings: Sequence[Reading], number: Callable[[Reading], float | None]) -> Curve:
    """A number of the readings that have it."""
    found = [(each.step, value) for each in readings if (value := number(each)) is not None]
    return Curve(tuple(step for step, _ in found), tuple(value for _, value in found))


def by_layer(
    readings: Sequence[Reading], number: Callable[[LayerReading], float | None]
) -> dict[str, list[float | None]]:
    """A number of each layer, reading by reading."""
    found: dict[str, list[float | None]] = {}
    for reading in readings:
        for layer in reading.layers:
            found.setdefault(layer.place, []).append(number(layer))
    return found


def first_and_last(
    readings: Sequence[Reading], number: Callable[[LayerReading], float | None]
) -> tuple[dict[str, float], dict[str, float]]:
    """Each layer's number at the first look and at the last that measured it."""
    measured = {
        name: [each for each in found if each is not None]
        for name, found in by_layer(readings, number).items()
    }
    known = {name: found for name, found in measured.items() if found}
    return (
        {name: found[0] for name, found in known.items()},
        {name: found[-1] for name, found in known.items()},
    )


def judged(readings: Sequence[Reading]) -> list[tuple[float, float]]:
    """What the slope promised, and by how much the loss fell, where both were measured."""
    return [
        (each.predicted_decrease, each.actual_decrease)
        for each in readings
        if each.predicted_decrease is not None and each.actual_decrease is not None
    ]
