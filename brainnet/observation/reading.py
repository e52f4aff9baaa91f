"""Reading: what was measured at one observed step, as plain numbers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainnet.observation import tags
from brainnet.observation.tags import Tag


@dataclass(frozen=True, eq=False, slots=True)
class Histogram:
    """Distribution of the finite values of one tensor over adjacent buckets.

    `edges` are the upper ends of the buckets, ascending, and `buckets` the numbers of values.
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
    """Measurements of one layer at one step; None if not measured or not applicable.

    Attributes:
        name: name of the layer.
        weights_norm: Euclidean norm of the weights before the step.
        bias_norm: Euclidean norm of the biases before the step.
        gradient_norm: norm of the gradient of weights and biases, before clipping.
        update_ratio: norm of the change of the weights divided by their norm before it.
        firing_rate: share of outputs above zero.
        silent: share of neurons whose output was exactly zero on every row.
        saturated: share of neurons whose mean slope is below a tenth of the largest possible.
        blame: squared gradient norm divided by that of all layers, as in `backpropagate`.
        gradient_cosine: cosine between the gradients of the weights at this and the previous
            observed step (level `full`).
    """

    name: str
    weights_norm: float | None = None
    bias_norm: float | None = None
    gradient_norm: float | None = None
    update_ratio: float | None = None
    firing_rate: float | None = None
    silent: float | None = None
    saturated: float | None = None
    blame: float | None = None
    gradient_cosine: float | None = None

    def to_scalars(self) -> dict[str, float]:
        """Return the measured values by TensorBoard tag."""
        return _to_scalars(self, _LAYER_TAGS, self.name)


@dataclass(frozen=True, slots=True)
class Reading:
    """Measurements of one optimizer step; None if not measured.

    Attributes:
        step: number of optimizer steps taken before this one; 0 is the untrained network.
        epoch: number of completed epochs; 0 if they are not counted.
        loss: loss of the batch before the step.
        learning_rate: learning rate of the optimizer's first parameter group.
        forward_seconds: duration of the forward pass, without the time for observing it.
        backward_seconds: time between the forward pass and the optimizer step; None if the
            gradients of several forward passes were accumulated.
        update_seconds: duration of the optimizer step.
        gradient_norm: norm of the gradient of all parameters, before clipping.
        predicted_decrease: decrease of the loss predicted by its gradient, for the batch or for
            the rows that `actual_decrease` is measured on.
        actual_decrease: decrease of the loss that was measured.
        layers: one entry per layer with weights, in order.
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

    def to_scalars(self) -> dict[str, float]:
        """Return the measured values by TensorBoard tag, without the loss."""
        # The training itself logs the loss, also at steps that are not observed.
        scalars = _to_scalars(self, _NETWORK_TAGS, "")
        for layer in self.layers:
            scalars |= layer.to_scalars()
        return scalars


_LAYER_TAGS = {
    "weights_norm": tags.WEIGHTS_NORM,
    "bias_norm": tags.BIAS_NORM,
    "gradient_norm": tags.GRADIENT_NORM,
    "update_ratio": tags.UPDATE_RATIO,
    "firing_rate": tags.FIRING_RATE,
    "silent": tags.SILENT,
    "saturated": tags.SATURATED,
    "blame": tags.BLAME,
    "gradient_cosine": tags.GRADIENT_COSINE,
}
_NETWORK_TAGS = {
    "learning_rate": tags.LEARNING_RATE_VALUE,
    "forward_seconds": tags.FORWARD_SECONDS,
    "backward_seconds": tags.BACKWARD_SECONDS,
    "update_seconds": tags.UPDATE_SECONDS,
    "gradient_norm": tags.GRADIENT_TOTAL_NORM,
    "predicted_decrease": tags.PREDICTED_DECREASE,
    "actual_decrease": tags.ACTUAL_DECREASE,
}


def _to_scalars(
    reading: Reading | LayerReading, field_tags: dict[str, Tag], name: str
) -> dict[str, float]:
    values = {tag.at(name): getattr(reading, field) for field, tag in field_tags.items()}
    return {tag: value for tag, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class ReadingWithHistograms:
    """A reading and its histograms by tag; the histograms are written, not kept in memory."""

    reading: Reading
    histograms: dict[str, Histogram]
