"""Run report: the eleven concepts with the numbers of one run."""

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median

import torch
from torch import Tensor, nn

from brainnet import concepts
from brainnet.concepts import Concept
from brainnet.explanation.row_explanation import (
    RAMPS,
    BlamedWeight,
    Question,
    RowExplanation,
    explain_row,
    find_most_blamed,
    find_strongest,
    get_upper_limit,
)
from brainnet.explanation.signal_names import name_inputs, name_neurons
from brainnet.learning.backpropagation import Backpropagation, backpropagate
from brainnet.learning.loss import Task
from brainnet.observation.layer_statistics import (
    CONVOLUTION_TYPES,
    SATURATED_SLOPE,
    compute_slope,
)
from brainnet.observation.probe import isolated_eval
from brainnet.observation.reading import LayerReading, Reading
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.embedding import Embedding
from brainnet.structure.forward_pass import ForwardPass, LayerPass, trace
from brainnet.structure.inspection import LayerInfo, find_layers
from brainnet.structure.network import Network


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
            found.setdefault(layer.name, []).append(number(layer))
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


Part = str

"""Which rows: "train", "validation" or "test"."""

ROWS = 4096

"""Rows of each part that are looked at; of a large table the first in random order."""

SIGNALS = 1 << 27

"""Numbers that all rows of a part may take on their way through the layers: 512 MB of float32."""


@dataclass(frozen=True, slots=True, eq=False)
class InspectedRows:
    """Some rows of a run's data.

    Attributes:
        part: what the run used them for.
        numbers: each row's number in the data, from 0, (rows,).
        inputs: scaled, (rows, inputs).
        targets: as the loss takes them.
    """

    part: Part
    numbers: Tensor
    inputs: Tensor
    targets: Tensor


def choose_rows(network: nn.Module, row: Tensor) -> int:
    """How many rows of a part to look at: `DATAMODULE_KEYS`, fewer where `SIGNALS` are not enough for them.

    Args:
        network: any module from inputs to outputs; it is left as it is.
        row: one of them, scaled, (1, inputs).

    Example:
        >>> rows_looked_at(nn.Linear(3, 2), torch.zeros(1, 3))
        4096
        >>> rows_looked_at(nn.Linear(300_000, 2), torch.zeros(1, 300_000))
        447
    """
    with isolated_eval(network):
        thought = trace(network, row.to(next(network.parameters())))
    kept = [(each.inputs, each.pre_activation, each.output) for each in thought.layers]
    numbers = sum({id(each): each.numel() for layer in kept for each in layer}.values())
    return max(1, min(ROWS, SIGNALS // numbers))


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run's configuration and summary say of how it learned.

    Attributes:
        name: of the run.
        checkpoint: the file of the weights.
        optimizer: the class.
        learning_rate: that it was given; None where nobody says.
        schedule: the class, or None for a rate that stays.
        batch_size: rows of a step.
        steps: taken in all.
        epochs: passes over the training rows.
        metrics: what came of it, by tag.
        failure: why it failed, as in "the loss became nan at step 1"; None where it did not.
    """

    name: str = "this run"
    checkpoint: str | None = None
    optimizer: str | None = None
    learning_rate: float | None = None
    schedule: str | None = None
    batch_size: int | None = None
    steps: int | None = None
    epochs: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    failure: str | None = None


@dataclass(frozen=True, eq=False)
class RunData:
    """A trained network, rows that it learned from and rows it did not, and how it learned.

    Attributes:
        network: any module from inputs to outputs; it is left as it is.
        question: what it was asked.
        facts: about the run.
        rows: of each part, some; empty where they are not stored.
        readings: what was seen during training; empty where nobody looked.
    """

    network: nn.Module
    question: Question
    facts: RunFacts = field(default_factory=RunFacts)
    rows: tuple[InspectedRows, ...] = ()
    readings: tuple[Reading, ...] = ()

    @cached_property
    def learned(self) -> InspectedRows | None:
        """The training rows."""
        return next((rows for rows in self.rows if rows.part == "train"), None)

    @cached_property
    def unseen(self) -> InspectedRows | None:
        """The rows that it never learned from: those of the test, else those of the validation."""
        parts = {rows.part: rows for rows in self.rows}
        return parts.get("test", parts.get("validation"))

    @cached_property
    def thought(self) -> ForwardPass | None:
        """What the network makes of the training rows, layer by layer."""
        return None if self.learned is None else self.thought_of(self.learned)

    @cached_property
    def sketch(self) -> ForwardPass | None:
        """One forward pass that shows which layer reads which, of rows or of anything; else None.

        Random numbers, so that no two layers say the same by chance.
        """
        inputs = len(self.question.labels.inputs)
        if self.thought is not None or not inputs:
            return self.thought
        row = torch.randn(1, inputs, generator=torch.Generator().manual_seed(0))
        with isolated_eval(self.network):
            return trace(self.network, row.to(next(self.network.parameters())))

    def thought_of(self, rows: InspectedRows) -> ForwardPass:
        """What the network makes of rows, layer by layer."""
        with isolated_eval(self.network):
            like = next(self.network.parameters())
            return trace(self.network, rows.inputs.to(like))

    @cached_property
    def loss_of_rows(self) -> dict[Part, Tensor]:
        """The sting of each row, one by one, of every part."""
        found = {}
        with torch.no_grad():
            for rows in self.rows:
                output = self.thought_of(rows).output
                pairs = zip(output.split(1), rows.targets.split(1), strict=True)
                stings = [self.question.loss(said, right) for said, right in pairs]
                found[rows.part] = torch.stack(stings)
        return found


STEEPEST = 5

"""Weights that are told, with the largest gradients."""


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
    weights: tuple[BlamedWeight, ...]


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
    weights: tuple[BlamedWeight, ...]


def blame_of(subject: RunData) -> BlameTold:
    """Each layer's share, then and now, and the weights that carry most."""
    found = felt(subject)
    first, last = first_and_last(subject.readings, lambda each: each.blame)
    now: dict[str, float] = {}
    for each in () if found is None else found[0].layers:
        now[each.name] = now.get(each.name, 0.0) + each.blame  # each time a layer thought
    layers = tuple(
        LayerBlamed(name, first.get(name), last.get(name), now.get(name))
        for name in _in_order(now, last)
    )
    weights: tuple[BlamedWeight, ...] = ()
    if found is not None:
        weights = find_most_blamed(*found, subject.question.labels, count=STEEPEST)
    rows = 0 if subject.learned is None else len(subject.learned.inputs)
    return BlameTold(rows, None if found is None else found[0].loss, layers, weights)


def gradient_of(subject: RunData) -> GradientTold:
    """How steep it was, how steep it is, and which way it goes down."""
    found = felt(subject)
    first, last = first_and_last(subject.readings, lambda each: each.gradient_norm)
    now: dict[str, float] = {}
    weights: tuple[BlamedWeight, ...] = ()
    if found is not None:
        weights = find_most_blamed(*found, subject.question.labels, count=STEEPEST)
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
    curve = curve_of(subject.readings, lambda each: each.gradient_norm)
    return GradientTold(curve, rows, total, layers, weights)


def felt(subject: RunData) -> tuple[Backpropagation, ForwardPass] | None:
    """The blame of the training rows as the network is now, on a copy of it; None without rows."""
    rows: InspectedRows | None = subject.learned
    if rows is None:
        return None
    own = deepcopy(subject.network).eval()
    for parameter in own.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    with torch.enable_grad():
        thought = trace(own, rows.inputs.to(next(own.parameters())))
        loss: Tensor = subject.question.loss(thought.output, rows.targets)
        return backpropagate(loss, thought), thought


def _in_order(*names: dict[str, float]) -> list[str]:
    return list(dict.fromkeys(name for each in names for name in each))


def _length(weights: Tensor, bias: Tensor | None) -> float:
    squares = weights.double().square().sum()
    return float((squares + (0 if bias is None else bias.double().square().sum())).sqrt())


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


def descent_of(subject: RunData) -> DescentTold:
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


def rate_of(subject: RunData) -> RateTold:
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


def _broke(subject: RunData) -> str | None:
    """That the loss left the numbers, by what the training said or the first look that saw it."""
    failure = subject.facts.failure or ""
    if failure.startswith(NOT_FINITE):
        return failure
    for each in subject.readings:
        for number in (each.loss, each.actual_decrease):
            if number is not None and not math.isfinite(number):
                return f"the loss was not finite at step {each.step:,}"
    return None


SHOWN = 3

"""Neurons that are told at either end."""


@dataclass(frozen=True, slots=True)
class NeuronTold:
    """How one neuron behaves on the training rows.

    Attributes:
        name: as in `hidden_1 #3`.
        firing_rate: share of rows on which it answers above zero.
        mean: its mean answer.
        most_for: the class on which it fires most, and its mean answer there; None for numbers.
        least_for: the same of the class on which it fires least.
    """

    name: str
    firing_rate: float
    mean: float
    most_for: tuple[str, float] | None
    least_for: tuple[str, float] | None


@dataclass(frozen=True, slots=True)
class LayerNeurons:
    """The neurons of one layer on the training rows; `never` and `always` are their numbers."""

    name: str
    neurons: int
    firing_rate: float
    never: tuple[int, ...]
    always: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Neurons:
    """The neurons of the hidden layers: who fires, how often, for what.

    Attributes:
        rows: training rows that were looked at.
        layers: of each hidden layer, how many fire.
        busiest: those that fire most often.
        quietest: those that fire least often, but do.
    """

    rows: int
    layers: tuple[LayerNeurons, ...]
    busiest: tuple[NeuronTold, ...]
    quietest: tuple[NeuronTold, ...]


@dataclass(frozen=True, slots=True)
class LayerActivation:
    """How one layer reacts to the training rows.

    Attributes:
        name: the layer's.
        neurons: that react by it.
        activation: the class.
        threshold: where a ramp begins, the lowest and the highest of the layer; else None.
        width: how wide it is, the lowest and the highest; else None.
        silent: share of answers that are exactly 0; None without rows.
        full: share at the upper end; None where there is none.
        flat: share at which its slope is under a tenth of its steepest; None where it has none.
    """

    name: str
    neurons: int
    activation: str
    threshold: tuple[float, float] | None
    width: tuple[float, float] | None
    silent: float | None
    full: float | None
    flat: float | None


@dataclass(frozen=True, slots=True)
class Activations:
    """The activation functions, layer by layer, and the number of rows they were watched on."""

    rows: int
    layers: tuple[LayerActivation, ...]


def neurons_of(subject: RunData) -> Neurons | None:
    """Who fires on the training rows, how often, and for what; None without rows."""
    learned = subject.learned
    if learned is None or subject.thought is None:
        return None
    layers, told = [], []
    for layer in subject.thought.layers:
        if activation_name(layer.info) is None:
            continue
        answers = _by_neuron(layer)
        fires = (answers > 0).double().mean(dim=(0, 2))
        never = (fires == 0).nonzero().flatten().tolist()
        always = (fires == 1).nonzero().flatten().tolist()
        layers.append(
            LayerNeurons(layer.name, len(fires), float(fires.mean()), tuple(never), tuple(always))
        )
        told += [
            _neuron(f"{layer.name} #{number}", answers[:, number], float(rate), subject)
            for number, rate in enumerate(fires)
        ]
    told.sort(key=lambda each: (-each.firing_rate, -each.mean))
    firing = [each for each in told if each.firing_rate > 0]
    return Neurons(
        len(learned.inputs), tuple(layers), tuple(told[:SHOWN]), tuple(firing[: -SHOWN - 1 : -1])
    )


def activations_of(subject: RunData) -> Activations:
    """Threshold, width, and where the training rows fall."""
    thought = subject.thought
    passes = {} if thought is None else {each.name: each for each in thought.layers}
    layers = []
    for registered in find_layers(subject.network):
        seen = passes.get(registered.name)
        place = registered if seen is None else seen.info  # with who reacted, not who could have
        name, activation = activation_name(place), place.activation
        if name is None:
            continue
        ramp = activation if isinstance(activation, ThresholdRamp) else None
        silent = full = flat = None
        if seen is not None:
            silent = _share(seen.output == 0)
            if isinstance(activation, RAMPS):
                full = _share(seen.output == get_upper_limit(activation))
            slopes = compute_slope(activation, seen.pre_activation)
            flat = None if slopes is None else _share(slopes < SATURATED_SLOPE)
        threshold = None if ramp is None else _ends(ramp.threshold)
        width = None if ramp is None else _ends(ramp.width)
        neurons = len(place.weights)
        layers.append(
            LayerActivation(place.name, neurons, name, threshold, width, silent, full, flat)
        )
    learned = subject.learned
    return Activations(0 if learned is None else len(learned.inputs), tuple(layers))


def activation_name(place: LayerInfo) -> str | None:
    """The class of the activation that follows a layer, where one can be seen."""
    silent = place.activation is None or isinstance(place.activation, nn.Identity)
    return None if silent else type(place.activation).__name__


def _neuron(name: str, answers: Tensor, rate: float, subject: RunData) -> NeuronTold:
    """One neuron's behaviour, (rows, places), and the classes it prefers and avoids."""
    most = least = None
    mean = answers.double().mean(dim=1)
    if subject.question.task != "regression" and subject.learned is not None:
        targets = subject.learned.targets
        # The last classes may be missing among the rows.
        labels = subject.question.labels
        classes = labels.classes(max(len(labels.outputs), int(targets.max()) + 1))
        there = targets.unique().tolist()
        means = [float(mean[targets == each].mean()) for each in there]
        high, low = means.index(max(means)), means.index(min(means))
        most, least = (classes[there[high]], means[high]), (classes[there[low]], means[low])
    return NeuronTold(name, rate, float(mean.mean()), most, least)


def _by_neuron(layer: LayerPass) -> Tensor:
    """A layer's answers as (rows, neurons, places): a channel of a convolution is a neuron."""
    output = layer.output
    if not isinstance(layer.info.module, CONVOLUTION_TYPES):
        output = output.movedim(-1, 1)
    return output.reshape(*output.shape[:2], -1)


def _share(found: Tensor) -> float:
    return float(found.double().mean())


def _ends(value: float | Tensor) -> tuple[float, float]:
    if isinstance(value, Tensor):
        return float(value.detach().min()), float(value.detach().max())
    return value, value


RIDGE = 0.1

"""What holds the sums of `straight line` small, as a share of the signals' mean square."""


@dataclass(frozen=True, slots=True)
class LayerTold:
    """One layer.

    Attributes:
        name: the layer's.
        kind: its class.
        inputs: signals that it reads, or their channels, or the codes that it knows.
        neurons: neurons that it has.
        numbers: how many numbers of it learn.
        activation: the class, or None where its sums are its answers.
        readable: how well the right answer can be read off what it says, by the simplest means, on
            rows the network never learned from; see `Layers.measure`. None where that is not known.
    """

    name: str
    kind: str
    inputs: int
    neurons: int
    numbers: int
    activation: str | None
    readable: float | None


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers of a network, and what each makes of the rows.

    Attributes:
        inputs: numbers of a row.
        outputs: numbers of an answer.
        numbers: how many numbers learn in all.
        layers: one by one.
        measure: what `readable` counts: "nearest class mean" (the share of rows nearer to the mean
            of their own class than to that of another), or "straight line" (R² of the best sum of
            its signals, by ridge regression), learned on the training rows and judged on rows
            never seen.
        before: the same of the inputs as they come in.
    """

    inputs: int | None
    outputs: int | None
    numbers: int
    layers: tuple[LayerTold, ...]
    measure: str | None
    before: float | None


def layers_of(subject: RunData) -> Layers:
    """Sizes, and what each layer makes of the rows."""
    found = find_layers(subject.network)
    learned, unseen = subject.learned, subject.unseen
    readable: dict[str, float] = {}
    before = measure = None
    if learned is not None and unseen is not None and subject.thought is not None:
        task = subject.question.task
        measure = "straight line" if task == "regression" else "nearest class mean"
        before = _readable(learned.inputs, unseen.inputs, learned, unseen, task)
        pairs = zip(subject.thought.layers, subject.thought_of(unseen).layers, strict=True)
        for seen, new in pairs:
            readable[seen.name] = _readable(
                seen.output.flatten(1), new.output.flatten(1), learned, unseen, task
            )
    told = tuple(
        LayerTold(
            name=place.name,
            kind=type(place.module).__name__,
            inputs=place.weights.shape[1] if place.weights.ndim > 1 else 1,
            neurons=len(place.weights),
            numbers=_learning(place),
            activation=activation_name(place),
            readable=readable.get(place.name),
        )
        for place in found
    )
    numbers = sum(each.numel() for each in subject.network.parameters() if each.requires_grad)
    sketch = subject.sketch
    inputs = None if sketch is None else sketch.inputs.shape[-1]
    outputs = None if sketch is None else sketch.output.shape[-1]
    return Layers(inputs, outputs, numbers, told, measure, before)


def _readable(
    seen: Tensor, new: Tensor, learned: InspectedRows, unseen: InspectedRows, task: Task
) -> float:
    """How well the right answers can be read off signals by the simplest means."""
    if task == "regression":
        return _straight_line(seen, new, learned.targets, unseen.targets)
    labels = learned.targets.unique()
    means = torch.stack([seen[learned.targets == label].mean(dim=0) for label in labels])
    nearest = labels[torch.cdist(new.double(), means.double()).argmin(dim=1)]
    return float((nearest == unseen.targets).double().mean())


def _straight_line(seen: Tensor, new: Tensor, targets: Tensor, right: Tensor) -> float:
    """R² on new rows of the best sum of signals for the seen ones, by ridge regression."""
    mean, middle = seen.double().mean(dim=0), targets.double().mean(dim=0)
    signals = seen.double() - mean
    spread = signals.T @ signals
    small = RIDGE * spread.diagonal().mean().clamp(min=1e-12)
    # Held small: with more signals than a few, a plain fit would learn the training rows by heart.
    system = spread + small * torch.eye(len(spread), dtype=torch.float64)
    factors = torch.linalg.solve(system, signals.T @ (targets.double() - middle))
    wrong = (new.double() - mean) @ factors + middle - right.double()
    around = right.double() - right.double().mean(dim=0)
    return float(1 - wrong.square().sum() / around.square().sum().clamp(min=1e-12))


def _learning(place: LayerInfo) -> int:
    return sum(each.numel() for each in place.module.parameters() if each.requires_grad)


WORST = 3

"""Rows that are told, with the largest stings."""

MARGIN = 0.01

"""Of what guessing costs: a loss that is lower by less is no better."""


@dataclass(frozen=True, slots=True)
class Sting:
    """One row that stings: its number in the data, and how much."""

    row: int
    part: str
    loss: float


@dataclass(frozen=True, slots=True)
class EndTold:
    """The loss at the end of the training, beside what guessing would cost on the same rows.

    Attributes:
        part: whose loss it is: "validation" where there is such a part, else "train".
        loss: of all its rows.
        guessing: what it would cost there to give always the same answer, the best for the training
            rows. None without rows.
        beats_guessing: whether it is lower by more than a hundredth of that.
    """

    part: Part
    loss: float
    guessing: float | None
    beats_guessing: bool | None

    @property
    def tag(self) -> str:
        """The name of its curve."""
        return f"loss/{self.part}"


@dataclass(frozen=True, slots=True)
class LossTold:
    """The loss, from the first guess to the end.

    Attributes:
        name: the class.
        curve: that of the batches that were looked at.
        first: of the first batch, before anything was learned.
        last: of the last batch that was looked at.
        guessing: what it would cost on the training rows to give always the same answer: the share
            of each class; of numbers their mean or their median, whichever costs less. None without
            rows.
        end: the loss at the end, over a whole part of the rows, beside that of guessing there. The
            last batch is a few rows, easy or hard by chance, and says nothing of that. None where
            the training did not come to measure it.
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
    end: EndTold | None
    metrics: dict[str, float]
    typical: float | None
    worst: tuple[Sting, ...]
    worst_share: float | None


def loss_of(subject: RunData) -> LossTold:
    """The first sting, the last, and who stings most now."""
    curve = curve_of(subject.readings, lambda each: each.loss)
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
        guessing=guessing(subject),
        end=_end_of(subject),
        metrics=dict(sorted(subject.facts.metrics.items())),
        typical=median(each.loss for each in stings) if stings else None,
        worst=worst,
        worst_share=sum(each.loss for each in worst) / total if total > 0 else None,
    )


def _end_of(subject: RunData) -> EndTold | None:
    """The loss of the validation rows at the end, else that of the training rows."""
    for part in ("validation", "train"):
        loss = subject.facts.metrics.get(f"loss/{part}")
        if loss is None:
            continue
        rows = next((each for each in subject.rows if each.part == part), None)
        cost = None if rows is None else guessing(subject, rows)
        # No number is no better: a comparison with NaN is false.
        better = None if cost is None else loss < (1 - MARGIN) * cost
        return EndTold(part, loss, cost, better)
    return None


def guessing(subject: RunData, judged: InspectedRows | None = None) -> float | None:
    """What it costs to give always the same answer, one that knows no row.

    Of classes that is the share of each among the training rows. Of numbers it is their mean, the
    best guess where the square of a mistake counts, or their median, the best where its size does:
    whichever costs less.

    Args:
        subject: whose training rows say which answer that is.
        judged: the rows on which it is given; None for the training rows.
    """
    rows, question = subject.learned, subject.question
    if rows is None:
        return None
    right = (rows if judged is None else judged).targets
    with torch.no_grad():
        if question.task == "regression":
            middles = (rows.targets.mean(dim=0), rows.targets.median(dim=0).values)
            costs = [question.loss(each.expand_as(right), right) for each in middles]
            return min(map(float, costs))
        counts = torch.bincount(rows.targets, minlength=max(2, len(question.labels.outputs)))
        shares = (counts.double() / counts.sum()).clamp(min=1e-12).float()
        outputs = 1 if subject.thought is None else subject.thought.output.shape[-1]
        always = shares.log().unsqueeze(0)
        if outputs == 1:
            always = (shares[1].log() - shares[0].log()).reshape(1, 1)
        return float(question.loss(always.expand(len(right), -1), right))


STRONGEST = 5

"""Weights of one layer, or of one neuron, that are told."""


@dataclass(frozen=True, slots=True)
class Connection:
    """One weight: from what, to what, how much."""

    source: str
    target: str
    weight: float


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """The weights of one layer: how many, their mean size, and the strongest."""

    name: str
    count: int
    mean_size: float
    strongest: tuple[Connection, ...]


@dataclass(frozen=True, slots=True)
class NeuronWeights:
    """What one neuron listens to.

    Attributes:
        name: the neuron's.
        weights: all of them, in the order of what it listens to.
        strongest: the strongest.
        bias: its own, or None.
        heard: whether it is told for being the one that the next layer listens to most.
    """

    name: str
    weights: tuple[float, ...]
    strongest: tuple[Connection, ...]
    bias: float | None
    heard: bool


@dataclass(frozen=True, slots=True)
class WeightsTold:
    """The weights: the strongest of each layer, and all of the first neuron that is worth a look.

    Attributes:
        layers: one by one.
        neuron: of the first layer, the one that the next listens to most.
        image_shape: where its weights are a picture.
    """

    layers: tuple[LayerWeights, ...]
    neuron: NeuronWeights | None
    image_shape: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class LayerBiases:
    """The tendencies of one layer.

    Attributes:
        name: the layer's.
        jumpy: how many biases are above zero.
        calm: how many are below.
        mean_size: the mean of their sizes.
        jumpiest: the neuron with the highest, and its bias.
        calmest: the neuron with the lowest.
    """

    name: str
    jumpy: int
    calm: int
    mean_size: float
    jumpiest: tuple[str, float]
    calmest: tuple[str, float]


@dataclass(frozen=True, slots=True)
class Biases:
    """The biases, layer by layer; a layer without is missing."""

    layers: tuple[LayerBiases, ...]


def weights_of(subject: RunData) -> WeightsTold:
    """The strongest connections, by name; of a convolution, whose weights have none, their size."""
    layers, neuron, shape = [], None, None
    found = find_layers(subject.network)
    names = _names(subject, found)
    for place, (sources, targets) in zip(found, names, strict=True):
        values = place.weights.detach()
        told: tuple[Connection, ...] = ()
        if values.ndim == 2:
            chosen = [
                divmod(at, values.shape[1]) for at in find_strongest(values.flatten(), STRONGEST)
            ]
            told = tuple(Connection(sources[s], targets[n], float(values[n, s])) for n, s in chosen)
        layers.append(LayerWeights(place.name, values.numel(), float(values.abs().mean()), told))
    summing = [
        depth
        for depth, place in enumerate(found)
        if place.weights.ndim == 2 and not isinstance(place.module, Embedding)
    ]
    if summing:
        neuron = _most_heard([found[depth] for depth in summing], *names[summing[0]])
        if names[summing[0]][0] == subject.question.labels.inputs:  # it looks at the pixels
            shape = subject.question.image_shape
    return WeightsTold(tuple(layers), neuron, shape)


def biases_of(subject: RunData) -> Biases:
    """The jumpiest and the calmest neuron of each layer."""
    layers = []
    found = find_layers(subject.network)
    for depth, place in enumerate(found):
        if place.bias is None:
            continue
        values = place.bias.detach()
        last = depth == len(found) - 1
        names = name_neurons(subject.network, place, subject.question.labels, last=last)
        high, low = int(values.argmax()), int(values.argmin())
        layers.append(
            LayerBiases(
                name=place.name,
                jumpy=int((values > 0).sum()),
                calm=int((values < 0).sum()),
                mean_size=float(values.abs().mean()),
                jumpiest=(names[high], float(values[high])),
                calmest=(names[low], float(values[low])),
            )
        )
    return Biases(tuple(layers))


def _names(
    subject: RunData, found: list[LayerInfo]
) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """What each layer listens to, and what its neurons are called."""
    labels, sketch = subject.question.labels, subject.sketch
    known: dict[str, tuple[str, ...]] = {}
    if sketch is not None:
        named = zip(sketch.layers, name_inputs(sketch, labels), strict=True)
        known = {layer.name: sources for layer, sources in named}
    names = []
    for depth, place in enumerate(found):
        count = place.weights.shape[1]
        sources = known.get(place.name, ())
        if len(sources) != count:
            sources = tuple(f"signal {number}" for number in range(count))
        last = depth == len(found) - 1
        names.append((sources, name_neurons(subject.network, place, labels, last=last)))
    return names


def _most_heard(
    summing: list[LayerInfo], sources: tuple[str, ...], targets: tuple[str, ...]
) -> NeuronWeights:
    """The neuron of the first layer that the second listens to most, and what it listens to."""
    place, number = summing[0], 0
    heard = len(summing) > 1 and summing[1].weights.shape[1] == len(place.weights)
    if heard:
        number = int(summing[1].weights.detach().abs().sum(dim=0).argmax())
    row = place.weights.detach()[number]
    return NeuronWeights(
        name=targets[number],
        weights=tuple(row.tolist()),
        strongest=tuple(
            Connection(sources[each], targets[number], float(row[each]))
            for each in find_strongest(row, STRONGEST)
        ),
        bias=None if place.bias is None else float(place.bias.detach()[number]),
        heard=heard,
    )


@dataclass(frozen=True, slots=True)
class Thought:
    """One row thought through.

    Attributes:
        row: its number in the data.
        part: what the run used it for.
        reasons: its way through the network.
        seconds: how long a forward pass of a batch typically took in training.
    """

    row: int
    part: str
    reasons: RowExplanation
    seconds: float | None


def thought_of(subject: RunData) -> Thought | None:
    """The first row that the network never learned from, thought through; None without rows."""
    rows = subject.unseen
    if rows is None:
        return None
    reasons = explain_row(
        subject.network, rows.inputs[:1], subject.question, right=rows.targets[:1]
    )
    spent = [each.forward_seconds for each in subject.readings if each.forward_seconds is not None]
    return Thought(int(rows.numbers[0]), rows.part, reasons, median(spent) if spent else None)


REPORT_BUILDERS: dict[Concept, Callable[[RunData], object]] = {
    concepts.LAYERS: layers_of,
    concepts.NEURONS: neurons_of,
    concepts.WEIGHTS: weights_of,
    concepts.BIASES: biases_of,
    concepts.ACTIVATION_FUNCTION: activations_of,
    concepts.FORWARD_PASS: thought_of,
    concepts.LOSS_FUNCTION: loss_of,
    concepts.BACKPROPAGATION: blame_of,
    concepts.GRADIENT: gradient_of,
    concepts.GRADIENT_DESCENT: descent_of,
    concepts.LEARNING_RATE: rate_of,
}

"""What a run's own numbers for each concept are made by; None where they cannot be had."""

NO_ROWS_NEEDED = (
    concepts.WEIGHTS,
    concepts.BIASES,
    concepts.GRADIENT_DESCENT,
    concepts.LEARNING_RATE,
)

"""What checkpoint and folder alone tell of."""


def needs_rows(concept: Concept | None, network: nn.Module) -> bool:
    """Whether rows are looked at for a concept, or for all where None: to read them may take long.

    Which layer listens to which is seen by any numbers that a `Network` is given; a network of
    another class may take none but its own rows.
    """
    if concept == concepts.WEIGHTS:
        return not isinstance(network, Network)
    return concept not in NO_ROWS_NEEDED
