"""Why a network gave one row its prediction, as plain data."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import islice

import torch
from torch import Tensor, nn

from brainnet.data.preprocessing import ColumnEncoder
from brainnet.data.scaling import Scaling
from brainnet.explanation.attribution import (
    Contribution,
    PathAttribution,
    attribute_path,
    compute_contributions,
)
from brainnet.explanation.layer_steps import LayerSteps, describe_layer, find_largest
from brainnet.explanation.signal_names import SignalNames, name_layer_inputs, name_neurons
from brainnet.learning.backpropagation import Backpropagation, backpropagate
from brainnet.learning.loss import Task
from brainnet.learning.predictions import compute_probabilities, decode_predictions
from brainnet.structure.forward_pass import ForwardPass, trace

_MAX_WEIGHTS = 6
# Share of the change of the score that the contributions may miss without a remark.
_MAX_UNEXPLAINED = 0.01
_INEXACT = (
    "The contributions do not add up to the change of the score: on the path to this row the "
    "network jumps, or a part of it has no gradient (torch.no_grad, detach)."
)

Cell = str | float | None


@dataclass(frozen=True, slots=True)
class PredictionTask:
    """How to read the outputs of a network.

    `baseline` says what a row of scaled zeros stands for, as in "an average row".
    """

    task: Task
    loss: nn.Module
    names: SignalNames
    target_scaling: Scaling | None = None
    image_shape: tuple[int, ...] | None = None
    baseline: str = "a row of zeros"


@dataclass(frozen=True, slots=True)
class ClassProbability:
    """Probability of one class; None if the loss defines no probabilities."""

    name: str
    probability: float | None


@dataclass(frozen=True, slots=True)
class PredictedValue:
    """One predicted number in units of the data, and the true value if it is known."""

    name: str
    value: float
    true_value: float | None


@dataclass(frozen=True, slots=True)
class RowPrediction:
    """The outputs for one row, as classes (the most probable first) or as numbers.

    The last three are None if the target is unknown, and the first two of these for numbers.
    """

    outputs: tuple[float, ...]
    classes: tuple[ClassProbability, ...]
    values: tuple[PredictedValue, ...]
    true_class: str | None
    is_correct: bool | None
    loss: float | None


def build_prediction(
    outputs: Tensor, task: PredictionTask, target: Tensor | None, loss: Tensor | None
) -> RowPrediction:
    """Decode the outputs (1, outputs) for one row."""
    outputs = outputs.detach()
    plain, cost = tuple(outputs.flatten().tolist()), None if loss is None else float(loss.detach())
    if task.task == "regression":
        tensors = [outputs.flatten()] if target is None else [outputs.flatten(), target.flatten()]
        scaling = task.target_scaling
        # The network computes scaled numbers; readers know the units of the data.
        numbers = [(each if scaling is None else scaling.undo(each)).tolist() for each in tensors]
        true = numbers[1] if target is not None else [None] * len(plain)
        values = map(PredictedValue, task.names.name_outputs(len(plain)), numbers[0], true)
        return RowPrediction(plain, (), tuple(values), None, None, cost)
    predicted = int(decode_predictions(outputs, task.loss, task.task))
    probabilities = compute_probabilities(outputs, task.loss, task.task)
    # A binary network may have a single output for its two classes.
    names = task.names.name_classes(max(2, len(plain)))
    classes = [ClassProbability(names[predicted], None)]
    if probabilities is not None:
        pairs = zip(names, probabilities.flatten().tolist(), strict=True)
        classes = [ClassProbability(*pair) for pair in sorted(pairs, key=lambda pair: -pair[1])]
    true_class = None if target is None else int(target)
    is_correct = None if true_class is None else true_class == predicted
    name = None if true_class is None else names[true_class]
    return RowPrediction(plain, tuple(classes), (), name, is_correct, cost)


def group_by_column(
    inputs: Sequence[Contribution], columns: Sequence[ColumnEncoder]
) -> tuple[Contribution, ...]:
    """Add up the contributions of the inputs that were made from each column."""
    grouped, remaining = [], iter(inputs)
    for column in columns:
        part = list(islice(remaining, len(column.inputs)))
        value = decode_cell(column, [each.value for each in part])
        local = sum(each.gradient_times_input for each in part)
        contribution = sum(each.contribution for each in part)
        grouped.append(Contribution(column.name, value, local, contribution))
    return tuple(grouped)


def decode_cell(column: ColumnEncoder, values: Sequence[Cell]) -> Cell:
    """Return the value of a raw column, from the inputs that were made from it.

    Example:
        >>> decode_cell(ColumnEncoder("born", "date"), [2024.16, 60.0, 3.0])
        '2024-02-29'
    """
    numbers = [each for each in values if isinstance(each, int | float)]
    if len(numbers) < len(values) or not numbers:
        return None
    if column.kind == "category":
        # An embedded category is a code, and code 0 stands for categories not seen in training.
        place = int(numbers[0]) - 1
        if not column.is_embedded:
            place = next((place for place, each in enumerate(numbers) if each > 0.5), -1)
        known = 0 <= place < len(column.values)
        return (column.values[place] or "nothing") if known else "not seen in training"
    if column.kind == "boolean" and column.values:
        return column.values[int(numbers[0] > 0.5)]
    if column.kind == "date":
        # The first two inputs are the year and the day of the year.
        return (date(int(numbers[0]), 1, 1) + timedelta(days=round(numbers[1]) - 1)).isoformat()
    return numbers[0]


@dataclass(frozen=True, slots=True)
class Connection:
    """A value of the weight between a source (a signal) and a target (a neuron) of a layer."""

    layer: str
    source: str
    target: str
    value: float
    depth: int
    position: tuple[int, int]


def find_connections(
    forward_pass: ForwardPass, names: SignalNames, values: Sequence[Tensor], count: int
) -> Iterator[Connection]:
    """Find the weights with the largest values in each layer; `values` are shaped like them."""
    sources = name_layer_inputs(forward_pass, names)
    for depth, (layer, matrix) in enumerate(zip(forward_pass.layers, values, strict=True)):
        # A weight of a convolution has no single source to name.
        if matrix.ndim != 2 or layer.inputs.ndim > 2:
            continue
        is_last = depth == len(forward_pass.layers) - 1
        targets = name_neurons(forward_pass.model, layer.info, names, is_last=is_last)
        for index in find_largest(matrix.flatten(), count):
            neuron, source = divmod(index, matrix.shape[1])
            ends, value = (sources[depth][source], targets[neuron]), float(matrix[neuron, source])
            yield Connection(layer.name, *ends, value, depth, (neuron, source))


@dataclass(frozen=True, slots=True)
class BlamedWeight:
    """One weight between a source (a signal) and a target (a neuron), with its gradient.

    If the gradient of the loss is positive, a lower weight reduces the loss. `blame` is the squared
    gradient as a share of that of the whole network, from 0 to 1.
    """

    layer: str
    source: str
    target: str
    weight: float
    gradient: float
    blame: float


def find_most_blamed(
    result: Backpropagation, forward_pass: ForwardPass, names: SignalNames
) -> tuple[BlamedWeight, ...]:
    """Find the weights with the largest gradients, the largest first; without convolutions."""
    weights: list[BlamedWeight] = []
    gradients = [layer.weights_gradient for layer in result.layers]
    for each in find_connections(forward_pass, names, gradients, _MAX_WEIGHTS):
        weight = float(forward_pass.layers[each.depth].info.weights.detach()[each.position])
        blame = float(result.layers[each.depth].weights_blame[each.position])
        ends = (each.layer, each.source, each.target)
        weights.append(BlamedWeight(*ends, weight, each.value, blame))
    return tuple(sorted(weights, key=lambda each: -abs(each.gradient))[:_MAX_WEIGHTS])


def sum_blame(result: Backpropagation) -> dict[str, float]:
    """Return each layer's share of the blame, from 0 to 1; a reused layer counts once."""
    shares: dict[str, float] = {}
    for layer in result.layers:
        shares[layer.name] = shares.get(layer.name, 0.0) + layer.blame
    return shares


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A training row: its number in the data, its distance, and its true class or numbers."""

    row: int
    distance: float
    target: str


def find_nearest_rows(
    row: Tensor,
    training: Iterable[tuple[Tensor, Tensor]],
    *,
    codes: Sequence[int] = (),
    exclude: int | None = None,
    count: int = 5,
) -> list[tuple[int, float]]:
    """Find the training rows nearest to a row: numbers and distances, the nearest first.

    The distance is Euclidean, between scaled inputs; different category codes count 1. The training
    rows come in chunks: numbers (rows,) and inputs (rows, inputs). `codes` are the columns of
    category codes, and `exclude` is the number of a row to skip.
    """
    best: list[tuple[float, int]] = []
    for numbers, inputs in training:
        # In float64, because differences of nearly equal rows would lose digits.
        differences = inputs.double() - row.double()
        # Codes have no order: other categories are all equally distant.
        differences[:, list(codes)] = (differences[:, list(codes)] != 0).double()
        distances = differences.square().sum(dim=1).sqrt()
        if exclude is not None:
            distances = distances.masked_fill(numbers == exclude, torch.inf)
        least = distances.topk(min(count, len(distances)), largest=False)
        pairs = zip(least.values.tolist(), numbers[least.indices].tolist(), strict=True)
        best = sorted([*best, *(pair for pair in pairs if pair[0] < torch.inf)])[:count]
    return [(number, distance) for distance, number in best]


@dataclass(frozen=True, slots=True)
class Score:
    """The number that is explained: some outputs, each times its factor, + shift.

    Of classes: the output of the prediction minus that of the `alternative`, which is the true
    class if the prediction is wrong, else the second most probable one. Of numbers: the predicted
    number, `output · scale + shift`. Contributions add up to it from `baseline`, the score of a row
    of scaled zeros.
    """

    prediction: str
    alternative: str | None
    factors: dict[int, float]
    scale: float | None = None
    shift: float | None = None
    value: float = 0.0
    baseline: float = 0.0
    baseline_name: str = ""
    contribution: float = 0.0

    def compute(self, outputs: Tensor) -> Tensor:
        """The score of each row, (rows,), without the shift."""
        outputs = outputs.flatten(1)
        return torch.stack([outputs[:, i] * factor for i, factor in self.factors.items()]).sum(0)

    @property
    def unexplained(self) -> float:
        """Part of the change of the score that is in no contribution; 0 if less than 1%."""
        change = self.value - self.baseline
        rest = change - self.contribution
        return rest if abs(rest) > _MAX_UNEXPLAINED * abs(change) else 0.0


@dataclass(frozen=True, slots=True)
class RowExplanation:
    """Why a network gave one row its prediction.

    `inputs` are in the order of the inputs, `columns` in that of the table (empty for images), and
    `layers` in that of the forward pass. If the prediction is wrong, `blamed_weights` have the
    largest gradients, and `layer_blame` is the share of each layer. `limitations` are sentences
    about what is missing.

    The row is from `source`, a file or the data of the run. `row` is its number among the `rows`
    there, counted from 0 as `note` says; `part` is "train", "validation" or "test", or None for
    rows that are not from the run.
    """

    prediction: RowPrediction
    score: Score
    inputs: tuple[Contribution, ...]
    layers: tuple[LayerSteps, ...]
    blamed_weights: tuple[BlamedWeight, ...]
    layer_blame: Mapping[str, float]
    neighbors: tuple[Neighbor, ...]
    image_shape: tuple[int, ...] | None
    limitations: tuple[str, ...]
    columns: tuple[Contribution, ...] = ()
    run: str = ""
    source: str = "a given row"
    row: int | None = None
    rows: int | None = None
    part: str | None = None
    note: str | None = None


def explain_row(
    network: nn.Module,
    row: Tensor,
    task: PredictionTask,
    *,
    target: Tensor | None = None,
    values: Sequence[Cell] = (),
    neighbors: Sequence[Neighbor] = (),
    limitations: Sequence[str] = (),
) -> RowExplanation:
    """Explain the prediction for one scaled row, (1, inputs). The network is not changed.

    `values` are the row in units of the data, and `limitations` what the caller could not
    determine, in sentences.
    """
    model = copy_for_gradients(network)
    with torch.enable_grad():
        forward_pass = trace(model, row.detach().clone().requires_grad_(True))
        score = _choose_score(forward_pass.output.detach(), task, target)
        path = attribute_path(model, forward_pass.inputs.detach(), score.compute)
        inputs = compute_contributions(forward_pass, score.compute, path, task.names, values)
        loss = None if target is None else task.loss(forward_pass.output, target)
        prediction = build_prediction(forward_pass.output, task, target, loss)
        result = None
        # A correct class has no blame; numbers are never exactly correct.
        if loss is not None and prediction.is_correct is not True and loss.requires_grad:
            result = backpropagate(loss, forward_pass)
    with torch.no_grad():
        # Code 0 is embedded as zeros.
        baseline = trace(model, torch.zeros_like(row))
    outputs = (forward_pass.output.detach(), baseline.output)
    value, start = (float(score.compute(each)) + (score.shift or 0.0) for each in outputs)
    total = sum(each.contribution for each in inputs)
    score = replace(
        score, value=value, baseline=start, baseline_name=task.baseline, contribution=total
    )
    return RowExplanation(
        prediction=prediction,
        score=score,
        inputs=inputs,
        layers=_describe_layers(forward_pass, baseline, task.names, score, path),
        blamed_weights=find_most_blamed(result, forward_pass, task.names) if result else (),
        layer_blame=sum_blame(result) if result else {},
        neighbors=tuple(neighbors),
        image_shape=task.image_shape,
        limitations=(*limitations, *([_INEXACT] if score.unexplained else [])),
    )


def copy_for_gradients(network: nn.Module) -> nn.Module:
    """Copy a network to evaluation mode with gradients; others may be using the original."""
    model = deepcopy(network).eval()
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return model


def _choose_score(outputs: Tensor, task: PredictionTask, target: Tensor | None) -> Score:
    """Compare the predicted class with another one, or choose one predicted number."""
    outputs, names = outputs.flatten(), task.names.name_outputs(outputs.numel())
    if task.task == "regression":
        # Of several numbers: the largest error or, without targets, the most unusual number.
        errors = outputs if target is None else outputs - target.flatten()
        chosen, scaling = int(errors.abs().argmax()), task.target_scaling
        scale = 1.0 if scaling is None else scaling.scale[chosen]
        shift = 0.0 if scaling is None else scaling.shift[chosen]
        # In units of the data, so that the contributions are, too.
        return Score(names[chosen], None, {chosen: scale}, scale, shift)
    predicted = int(decode_predictions(outputs.unsqueeze(0), task.loss, task.task))
    if len(outputs) == 1:
        # A positive output stands for the second of two classes.
        pair = task.names.name_classes(2)
        return Score(pair[predicted], pair[1 - predicted], {0: 1.0 if predicted else -1.0})
    order = outputs.argsort(descending=True, stable=True).tolist()
    # A wrong prediction is compared with the true class: that is the question to answer.
    other = predicted if target is None else int(target)
    if other == predicted:
        other = next(place for place in order if place != predicted)
    return Score(names[predicted], names[other], {predicted: 1.0, other: -1.0})


def _describe_layers(
    forward_pass: ForwardPass,
    baseline: ForwardPass,
    names: SignalNames,
    score: Score,
    path: PathAttribution,
) -> tuple[LayerSteps, ...]:
    sources = name_layer_inputs(forward_pass, names)
    steps = []
    for depth, (layer, zero) in enumerate(zip(forward_pass.layers, baseline.layers, strict=True)):
        # A last layer that is followed by other operations does not have the names of the outputs.
        is_last = (
            depth == len(forward_pass.layers) - 1
            and layer.output.shape == forward_pass.output.shape
        )
        targets = name_neurons(forward_pass.model, layer.info, names, is_last=is_last)
        conductance = path.layers.get(layer.name, torch.zeros(layer.output.shape[1:]))
        compared = list(score.factors) if is_last else None
        steps.append(describe_layer(layer, zero, sources[depth], targets, conductance, compared))
    return tuple(steps)
