"""Data of a run for its report: the network, some rows, and the readings of the training."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from brainnet.explanation.row_explanation import PredictionTask, copy_for_gradients
from brainnet.learning.backpropagation import Backpropagation, backpropagate
from brainnet.observation.probe import isolated_eval
from brainnet.observation.reading import Reading
from brainnet.structure.forward_pass import ForwardPass, trace
from brainnet.structure.network import Network


@dataclass(frozen=True, slots=True, eq=False)
class InspectedRows:
    """Some rows of one part: numbers in the data, scaled inputs, and targets as for the loss."""

    part: str
    indices: Tensor
    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True, eq=False)
class RunData:
    """A trained network, which is not changed, with rows of its data and observed steps.

    `load_rows` returns some rows of each part, or none if they are not available.
    """

    network: nn.Module
    task: PredictionTask
    name: str
    checkpoint: str
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    # Called if a report needs rows, because reading a large file takes long.
    load_rows: Callable[[], tuple[InspectedRows, ...]] = tuple
    readings: tuple[Reading, ...] = ()

    @cached_property
    def parts(self) -> dict[str, InspectedRows]:
        """The rows by part."""
        return {rows.part: rows for rows in self.load_rows()}

    @cached_property
    def forward_pass(self) -> ForwardPass | None:
        """The forward pass of the training rows; None without rows."""
        return self.trace(self.parts["train"].inputs) if "train" in self.parts else None

    @cached_property
    def sketch(self) -> ForwardPass | None:
        """A forward pass that shows which layer reads which."""
        inputs = len(self.task.names.inputs)
        # Random numbers are enough, but another model may accept only its own rows.
        if not inputs or (not isinstance(self.network, Network) and self.parts):
            return self.forward_pass
        return self.trace(torch.randn(1, inputs, generator=torch.Generator().manual_seed(0)))

    @cached_property
    def gradients(self) -> tuple[Backpropagation, ForwardPass] | None:
        """Gradients of the loss of the training rows, with the stored weights."""
        if "train" not in self.parts:
            return None
        # On a copy, because `backpropagate` adds to `.grad` of the parameters.
        model, rows = copy_for_gradients(self.network), self.parts["train"]
        with torch.enable_grad():
            traced = trace(model, rows.inputs.to(next(model.parameters())))
            return backpropagate(self.task.loss(traced.output, rows.targets), traced), traced

    @cached_property
    def update_ratios(self) -> dict[str, float]:
        """Median length of a step relative to that of the weights, by layer."""
        # A step that is not a number is longer than any other.
        return {
            name: median([math.inf if math.isnan(ratio) else ratio for ratio in curve])
            for name, curve in self.get_layer_curves("update_ratio").items()
        }

    @cached_property
    def decreases(self) -> list[tuple[float, float]]:
        """Predicted and actual decrease of the loss at the observed steps that measured both."""
        predicted, actual = map(self.get_curve, ("predicted_decrease", "actual_decrease"))
        return [(predicted[step], actual[step]) for step in predicted if step in actual]

    def trace(self, inputs: Tensor) -> ForwardPass:
        """Trace a forward pass of scaled inputs."""
        with isolated_eval(self.network):
            return trace(self.network, inputs.to(next(self.network.parameters())))

    def get_curve(self, quantity: str) -> dict[int, float]:
        """Return a quantity of the readings by step, where it was measured."""
        pairs = ((reading.step, getattr(reading, quantity)) for reading in self.readings)
        return {step: number for step, number in pairs if number is not None}

    def get_layer_curves(self, quantity: str) -> dict[str, list[float]]:
        """Return a quantity of each layer at the observed steps that measured it."""
        curves: dict[str, list[float]] = {}
        for layer in (layer for reading in self.readings for layer in reading.layers):
            if (number := getattr(layer, quantity)) is not None:
                curves.setdefault(layer.name, []).append(number)
        return curves
