"""Unread look: what an observed step sent home, until somebody reads plain numbers from it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray
from torch import Tensor

from brainnet.observation import tags
from brainnet.observation.buckets import Counted, histograms_of, rows, whole
from brainnet.observation.layer_signals import LayerSignals
from brainnet.observation.parcel import Parcel
from brainnet.observation.reading import Histogram, LayerReading, Look, Reading

Kind = Literal["value", "gradient", "step"]
Row = tuple[Kind, Tensor | None]
"""A row of statistics: what of which parameter."""

Name = tuple[str | int, str | int]
"""What a tensor on its way home is."""

Home = Mapping[Name, NDArray[Any]]

SIGNALS = {"answers": tags.ACTIVATION, "sums": tags.PRE_ACTIVATION, "delta": tags.DELTA}
"""Statistics of a layer's signals, and the tag of the histogram of each."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What is known of a look without asking the device.

    Attributes:
        step: optimizer steps taken before this one.
        epoch: passes over the training rows completed.
        learning_rate: that of the step.
        forward_seconds: time of the forward pass.
        backward_seconds: time from there until the optimizer's turn.
        update_seconds: time of the optimizer's turn.
    """

    step: int
    epoch: int
    learning_rate: float | None = None
    forward_seconds: float | None = None
    backward_seconds: float | None = None
    update_seconds: float | None = None


class UnreadLook:
    """The numbers of one look, on their way home in one copy.

    Args:
        moment: what is known without them.
        measured: the numbers, on their device.
        rows: what the rows of the tables are, all tables one after the other.
        moved: the parameters whose lengths of step are told, in that order.
        layers: what was heard of each layer.
    """

    def __init__(
        self,
        moment: Moment,
        measured: Mapping[Name, Tensor],
        rows: Sequence[Row],
        moved: Sequence[Tensor],
        layers: Sequence[LayerSignals],
    ) -> None:
        self.moment = moment
        self._parcel = Parcel(measured)
        self._rows, self._moved, self._layers = tuple(rows), tuple(moved), tuple(layers)

    def look(self) -> Look:
        """Wait for the numbers to arrive, and read them."""
        home = self._parcel.open()
        counted = [row for table in _of(home, "table") for row in rows(table)]
        found = dict(zip(self._rows, counted, strict=True))
        heard: list[dict[str, NDArray[Any]]] = [{} for _ in self._layers]
        for (at, what), each in home.items():
            if isinstance(at, int):
                heard[at][str(what)] = each
        lengths = [float(length) for part in _of(home, "lengths") for length in part]
        steps = dict(zip(self._moved, lengths, strict=True))
        slope = _length(row for (kind, _), row in found.items() if kind == "gradient")
        reading = Reading(
            step=self.moment.step,
            epoch=self.moment.epoch,
            loss=_number(home, "loss"),
            learning_rate=self.moment.learning_rate,
            forward_seconds=self.moment.forward_seconds,
            backward_seconds=self.moment.backward_seconds,
            update_seconds=self.moment.update_seconds,
            gradient_norm=slope,
            predicted_decrease=_promised(home),
            actual_decrease=_number(home, "actual"),
            layers=tuple(
                self._layer(layer, signals, home, found, steps, slope or 0.0)
                for layer, signals in zip(self._layers, heard, strict=True)
            ),
        )
        return Look(reading, self._histograms(heard, found))

    def _layer(
        self,
        layer: LayerSignals,
        heard: Mapping[str, NDArray[Any]],
        home: Home,
        found: Mapping[Row, Counted],
        steps: Mapping[Tensor, float],
        whole_slope: float,
    ) -> LayerReading:
        """One layer, with what is a share of something else made one."""
        place = layer.place
        parts = [part for part in (place.weights, place.bias) if part is not None]
        slope = _length(found[row] for part in parts if (row := _row("gradient", part)) in found)
        size = _length(found[row] for row in [_row("value", place.weights)] if row in found)
        calm = _length(found[row] for row in [_row("value", parts[-1])] if row in found)
        turned = home.get(("cosine", place.name))
        return LayerReading(
            place=place.name,
            weights_norm=size,
            bias_norm=None if place.bias is None else calm,
            gradient_norm=slope,
            update_ratio=_moved(place.weights, steps, size),
            blame=(slope / whole_slope) ** 2 if slope is not None and whole_slope else None,
            gradient_cosine=None if turned is None else float(turned),
            **layer.shares(heard),
        )

    def _histograms(
        self,
        heard: Sequence[Mapping[str, NDArray[Any]]],
        found: Mapping[Row, Counted],
    ) -> dict[str, Histogram]:
        """All histograms by tag."""
        drawn: dict[str, Counted] = {}
        full = any(kind == "step" for kind, _ in found)
        for layer, signals in zip(self._layers, heard, strict=True):
            place = layer.place
            wanted = {
                tags.WEIGHTS: _row("value", place.weights),
                tags.BIAS: _row("value", place.bias),
                tags.GRADIENT: _row("gradient", place.weights),
                tags.BIAS_GRADIENT: _row("gradient", place.bias if full else None),
                tags.UPDATE: _row("step", place.weights),
            }
            there = {tag: found[row] for tag, row in wanted.items() if row in found}
            there |= {
                tag: whole(rows(signals[what])) for what, tag in SIGNALS.items() if what in signals
            }
            drawn |= {tag.at(place.name): row for tag, row in there.items()}
        return dict(zip(drawn, histograms_of(list(drawn.values())), strict=True))


def _moved(weights: Tensor, steps: Mapping[Tensor, float], size: float | None) -> float | None:
    """How far they moved for their size; None where they are made anew of what moves instead."""
    if not size or (weights not in steps and not weights.is_leaf):
        return None
    return steps.get(weights, 0.0) / size


def _row(kind: Kind, part: Tensor | None) -> Row:
    return kind, part


def _of(home: Home, kind: str) -> list[NDArray[Any]]:
    return [each for (what, _), each in home.items() if what == kind]


def _number(home: Home, name: str) -> float | None:
    found = home.get(("whole", name))
    return None if found is None else float(found)


def _promised(home: Home) -> float | None:
    """What the slope promised of the step."""
    parts = _of(home, "promised")
    return float(sum(map(float, parts))) if parts else None


def _length(parts: Iterable[Counted]) -> float | None:
    """Length of several tensors as one; NaN where any is not finite, None where there is none."""
    found = list(parts)
    if not found:
        return None
    if any(part.non_finite for part in found):
        return math.nan
    return math.sqrt(math.fsum(part.sum_of_squares for part in found))
