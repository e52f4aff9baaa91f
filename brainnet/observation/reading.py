"""Reading: what one look at one step of learning found, in plain numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainnet.errors import InputError
from brainnet.observation import tags


@dataclass(frozen=True, eq=False, slots=True)
class Histogram:
    """How the values of one tensor are spread, over neighbouring buckets.

    Attributes:
        count: finite values; the buckets hold exactly these.
        non_finite: values that are NaN or infinite.
        minimum: the smallest finite value; 0 where there is none.
        maximum: the largest finite value; 0 where there is none.
        total: sum of the finite values.
        total_of_squares: sum of their squares.
        edges: upper end of each bucket, ascending, (buckets,).
        buckets: values in each bucket, (buckets,).
    """

    count: int
    non_finite: int
    minimum: float
    maximum: float
    total: float
    total_of_squares: float
    edges: NDArray[np.float64]
    buckets: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LayerReading:
    """One layer at one step. None stands for what this layer lacks or what was not measured.

    Attributes:
        place: the layer's name.
        weights_norm: length of the weights before the step.
        bias_norm: length of the biases before the step.
        gradient_norm: length of the gradient of weights and biases, before clipping.
        update_ratio: length of the weights' step over their length before it.
        firing_rate: share of answers above zero.
        silent: share of neurons that answered exactly zero on every row.
        saturated: share of neurons whose mean slope is under a tenth of the steepest possible.
        blame: its squared gradient over that of the whole network, as `backpropagate` counts it.
        gradient_cosine: cosine between this gradient of the weights and that of the last look
            (level `full`).
    """

    place: str
    weights_norm: float | None = None
    bias_norm: float | None = None
    gradient_norm: float | None = None
    update_ratio: float | None = None
    firing_rate: float | None = None
    silent: float | None = None
    saturated: float | None = None
    blame: float | None = None
    gradient_cosine: float | None = None

    def by_tag(self) -> Iterator[tuple[str, float]]:
        """Each number that was measured, under its tag."""
        for tag, number in (
            (tags.WEIGHTS_NORM, self.weights_norm),
            (tags.BIAS_NORM, self.bias_norm),
            (tags.GRADIENT_NORM, self.gradient_norm),
            (tags.UPDATE_RATIO, self.update_ratio),
            (tags.FIRING_RATE, self.firing_rate),
            (tags.SILENT, self.silent),
            (tags.SATURATED, self.saturated),
            (tags.BLAME, self.blame),
            (tags.GRADIENT_COSINE, self.gradient_cosine),
        ):
            if number is not None:
                yield tag.at(self.place), number


@dataclass(frozen=True, slots=True)
class Reading:
    """One step of learning: the network before it, the slope, the step, and where it led.

    Attributes:
        step: optimizer steps taken before this one; 0 is the untrained network.
        epoch: passes over the training rows completed; 0 where nobody counts them.
        loss: loss of the batch before the step.
        learning_rate: that of the optimizer's first group of parameters.
        forward_seconds: time of the forward pass, without that of observing it.
        backward_seconds: time from there to the optimizer's turn, where there was one such pass.
        update_seconds: time of the optimizer's turn.
        gradient_norm: length of the gradient of all parameters, before clipping.
        predicted_decrease: by how much the slope promises the loss to fall; that of the batch, or
            of the rows by which the step is judged.
        actual_decrease: by how much it fell.
        layers: each layer with weights, in order.
    """

    step: int
    epoch: int
    loss: float | None = None
    learning_rate: float | None = None
    forward_seconds: float | None = None
    backward_seconds: float | None = None
    update_seconds: float | None = None
    gradient_norm: float | None = None
    predicted_decrease: float | None = None
    actual_decrease: float | None = None
    layers: tuple[LayerReading, ...] = ()

    def by_tag(self) -> dict[str, float]:
        """Each number that was measured, under its tag; the loss is whoever trains' to log.

        Example:
            >>> Reading(step=0, epoch=0, loss=2.3, learning_rate=0.01).by_tag()
            {'learning_rate': 0.01}
        """
        whole = {
            tags.LEARNING_RATE: self.learning_rate,
            tags.FORWARD_SECONDS: self.forward_seconds,
            tags.BACKWARD_SECONDS: self.backward_seconds,
            tags.UPDATE_SECONDS: self.update_seconds,
            tags.GRADIENT_TOTAL_NORM: self.gradient_norm,
            tags.PREDICTED_DECREASE: self.predicted_decrease,
            tags.ACTUAL_DECREASE: self.actual_decrease,
        }
        numbers = {tag.at(): number for tag, number in whole.items() if number is not None}
        for layer in self.layers:
            numbers.update(layer.by_tag())
        return numbers


@dataclass(frozen=True, slots=True)
class ReadingWithHistograms:
    """A reading with the histograms that went with it, by tag; these are not kept in memory."""

    reading: Reading
    histograms: dict[str, Histogram]


def to_frame(readings: Sequence[Reading]) -> Any:
    """Readings as a table: a row for each, with its step, epoch and loss and a column for each tag.

    Raises:
        InputError: where pandas is not installed.

    Example:
        >>> readings = [Reading(step=0, epoch=0, loss=2.3, learning_rate=0.1)]
        >>> frame(readings).columns.tolist()
        ['step', 'epoch', 'loss', 'learning_rate']
    """
    try:
        # Here, not above: pandas takes half a second, and few ask for it.
        pandas = import_module("pandas")
    except ImportError as error:
        raise InputError(
            "a table of readings needs pandas, which is not installed. Say: pip install pandas"
        ) from error
    return pandas.DataFrame(
        [
            {"step": each.step, "epoch": each.epoch, "loss": each.loss, **each.by_tag()}
            for each in readings
        ]
    )
