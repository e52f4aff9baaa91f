"""Data of a run for its report: the network, some rows, and the readings of the training."""

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from statistics import median

import torch
from torch import Tensor, nn

from brainnet.explanation.row_explanation import PredictionTask
from brainnet.learning.backpropagation import Backpropagation, backpropagate
from brainnet.observation.probe import isolated_eval
from brainnet.observation.reading import LayerReading, Reading
from brainnet.structure.forward_pass import ForwardPass, trace

# Rows of each part that are inspected, and values that these may have in all layers: 512 MB.
_MAX_ROWS, _MAX_SIGNALS = 4096, 1 << 27


@dataclass(frozen=True, slots=True, eq=False)
class InspectedRows:
    """Some rows of one part ("train", "validation" or "test") of a run's data.

    `indices` are their numbers in the data (rows,), `inputs` are scaled (rows, inputs), and
    `targets` are as the loss takes them.
    """

    part: str
    indices: Tensor
    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the configuration and the summary of a run say about its training.

    `metrics` are the final ones by tag; `failure` says why the training failed.
    """

    name: str = "this run"
    checkpoint: str | None = None
    optimizer: str | None = None
    learning_rate: float | None = None
    schedule: str | None = None
    steps: int | None = None
    epochs: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    failure: str | None = None


@dataclass(frozen=True, eq=False)
class RunData:
    """A trained network, which is not changed, with rows of its data and observed steps.

    `rows` are some rows of each part, or empty if they are not available.
    """

    network: nn.Module
    task: PredictionTask
    facts: RunFacts = field(default_factory=RunFacts)
    rows: tuple[InspectedRows, ...] = ()
    readings: tuple[Reading, ...] = ()

    @cached_property
    def parts(self) -> dict[str, InspectedRows]:
        """The rows by part."""
        return {rows.part: rows for rows in self.rows}

    @cached_property
    def forward_pass(self) -> ForwardPass | None:
        """The forward pass of the training rows; None without rows."""
        return self.trace(self.parts["train"].inputs) if "train" in self.parts else None

    @cached_property
    def sketch(self) -> ForwardPass | None:
        """A forward pass that shows which layer reads which; of random numbers without rows."""
        inputs = len(self.task.names.inputs)
        if self.forward_pass is not None or not inputs:
            return self.forward_pass
        return self.trace(torch.randn(1, inputs, generator=torch.Generator().manual_seed(0)))

    @cached_property
    def gradients(self) -> tuple[Backpropagation, ForwardPass] | None:
        """Gradients of the loss of the training rows, with the stored weights."""
        if "train" not in self.parts:
            return None
        model, rows = deepcopy(self.network).eval(), self.parts["train"]
        for parameter in model.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        with torch.enable_grad():
            traced = trace(model, rows.inputs.to(next(model.parameters())))
            return backpropagate(self.task.loss(traced.output, rows.targets), traced), traced

    @cached_property
    def update_ratios(self) -> dict[str, float]:
        """Typical length of a step relative to that of the weights, by layer: the median."""
        ratios = self.get_layer_curves(lambda layer: layer.update_ratio)
        # A step that is not a number is longer than any other.
        return {
            name: median([math.inf if math.isnan(each) else each for each in curve])
            for name, curve in ratios.items()
        }

    @property
    def losses(self) -> dict[int, float]:
        """Losses of the observed batches by step."""
        return self.get_curve(lambda reading: reading.loss)

    @cached_property
    def decreases(self) -> list[tuple[float, float]]:
        """Predicted and actual decrease of the loss at the observed steps that measured both."""
        pairs = ((each.predicted_decrease, each.actual_decrease) for each in self.readings)
        return [(a, b) for a, b in pairs if a is not None and b is not None]

    def trace(self, inputs: Tensor) -> ForwardPass:
        """Trace a forward pass of scaled inputs."""
        with isolated_eval(self.network):
            return trace(self.network, inputs.to(next(self.network.parameters())))

    def get_curve(self, get: Callable[[Reading], float | None]) -> dict[int, float]:
        """Return a number of the readings by step."""
        pairs = ((reading.step, get(reading)) for reading in self.readings)
        return {step: number for step, number in pairs if number is not None}

    def get_layer_curves(
        self, get: Callable[[LayerReading], float | None]
    ) -> dict[str, list[float]]:
        """Return a number of each layer at the observed steps that measured it."""
        curves: dict[str, list[float]] = {}
        for layer in chain.from_iterable(reading.layers for reading in self.readings):
            if (number := get(layer)) is not None:
                curves.setdefault(layer.name, []).append(number)
        return curves


def count_inspected_rows(network: nn.Module, row: Tensor) -> int:
    """Return how many rows of a part to inspect: 4096, or fewer if their signals need 512 MB.

    Example:
        >>> count_inspected_rows(nn.Linear(3, 2), torch.zeros(1, 3))
        4096
        >>> count_inspected_rows(nn.Linear(300_000, 2), torch.zeros(1, 300_000))
        447
    """
    with isolated_eval(network):
        layers = trace(network, row.to(next(network.parameters()))).layers
    tensors = (part for each in layers for part in (each.inputs, each.pre_activation, each.output))
    signals = sum({id(tensor): tensor.numel() for tensor in tensors}.values())
    return max(1, min(_MAX_ROWS, _MAX_SIGNALS // signals))
