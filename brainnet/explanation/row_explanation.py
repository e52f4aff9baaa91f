"""Why a network gave one row its prediction, as plain data."""

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import date, timedelta

import torch
from torch import Tensor, nn

from brainnet.data.preprocessing import ColumnEncoder
from brainnet.data.scaling import Scaling
from brainnet.explanation.attribution import (
    Influence,
    PathAttribution,
    Score,
    attribute_path,
    compute_influences,
)
from brainnet.explanation.signal_names import SignalNames, name_inputs, name_neurons
from brainnet.learning.backpropagation import Backpropagation, LayerBlame, backpropagate
from brainnet.learning.loss import Task
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.embedding import Embedding
from brainnet.structure.forward_pass import ForwardPass, LayerPass, trace


@dataclass(frozen=True, slots=True)
class Question:
    """All that is known of what a network was asked, besides the row.

    Attributes:
        task: what it is to learn.
        loss: from outputs and targets to one number.
        labels: names of inputs, and of the classes or the numbers to predict.
        answers: from outputs (rows, outputs) to classes (rows,) or numbers (rows, targets).
        probabilities: from outputs to shares (rows, classes); None where there are none.
        target_scaling: how the numbers of a regression were scaled.
        image_shape: of a row that is a picture.
        zero: what a row of zeros stands for, scaled.
    """

    task: Task
    loss: nn.Module
    labels: SignalNames
    answers: Callable[[Tensor], Tensor]
    probabilities: Callable[[Tensor], Tensor | None]
    target_scaling: Scaling | None = None
    image_shape: tuple[int, ...] | None = None
    zero: str = "a row of zeros"


@dataclass(frozen=True, slots=True)
class Share:
    """How sure the network is of one class, from 0 to 1; None where it only says which it is."""

    name: str
    probability: float | None


@dataclass(frozen=True, slots=True)
class Number:
    """One number of a prediction, in the units of the data; `right` where that is known."""

    name: str
    value: float
    right: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the network said, and what would have been right.

    Attributes:
        outputs: of the network, as they are.
        classes: of a classification, each class, the most probable first.
        numbers: of a regression, each target.
        right: the right class, where it is known.
        correct: whether that was the answer; None where it is not known, or of numbers.
        loss: how much the mistake stings; None where the right answer is not known.
    """

    outputs: tuple[float, ...]
    classes: tuple[Share, ...]
    numbers: tuple[Number, ...]
    right: str | None
    correct: bool | None
    loss: float | None


def answer_of(
    thought: ForwardPass, question: Question, right: Tensor | None, stung: Tensor | None
) -> Answer:
    """What a thought says, in the words of the question."""
    outputs = thought.output.detach()
    loss = None if stung is None else float(stung.detach())
    told = tuple(outputs.flatten().tolist())
    if question.task == "regression":
        return Answer(told, (), _numbers(outputs.flatten(), question, right), None, None, loss)
    said, sure = int(question.answers(outputs)), question.probabilities(outputs)
    names = question.labels.classes(max(2, len(told)))
    classes = [Share(names[said], None)]
    if sure is not None:
        pairs = sorted(zip(sure.flatten().tolist(), names, strict=True), key=lambda pair: -pair[0])
        classes = [Share(name, probability) for probability, name in pairs]
    known = None if right is None else int(right)
    return Answer(
        outputs=told,
        classes=tuple(classes),
        numbers=(),
        right=None if known is None else names[known],
        correct=None if known is None else known == said,
        loss=loss,
    )


def _numbers(outputs: Tensor, question: Question, right: Tensor | None) -> tuple[Number, ...]:
    """The predicted numbers in units of the data, beside the right ones."""
    names = question.labels.of_outputs(len(outputs))
    scaling = question.target_scaling
    pair = [outputs] if right is None else [outputs, right.flatten()]
    told = [(each if scaling is None else scaling.undo(each)).tolist() for each in pair]
    known = told[1] if right is not None else [None] * len(names)
    return tuple(Number(*each) for each in zip(names, told[0], known, strict=True))


Cell = str | float | None


@dataclass(frozen=True, slots=True)
class ColumnPart:
    """One raw column's part in the answer.

    Attributes:
        name: the column's.
        value: what stands in it: a number, a word, or None where nothing does.
        spoke: gradient · input of its inputs, added up.
        carried: what its inputs carried, added up.
        inputs: how many inputs came of it.
    """

    name: str
    value: Cell
    spoke: float
    carried: float
    inputs: int


def group_by_column(
    parts: Sequence[Influence], columns: Sequence[ColumnEncoder]
) -> tuple[ColumnPart, ...]:
    """Add up the parts of the inputs of each column.

    Args:
        parts: of all inputs, in order.
        columns: how these came of the raw columns.

    Example:
        >>> colour = Column("colour", "category", ("blue", "red"))
        >>> parts = [Influence("colour=blue", 0.0, -1.0, 0.5, -0.5, 0.0)]
        >>> parts += [Influence("colour=red", 1.0, 1.0, 2.0, 2.0, 3.0)]
        >>> by_column(parts, [colour])
        (ColumnPart(name='colour', value='red', spoke=1.5, carried=3.0, inputs=2),)
    """
    found, position = [], 0
    for column in columns:
        own = parts[position : position + len(column.inputs)]
        position += len(own)
        value = cell_of(column, [each.value for each in own])
        spoke, carried = sum(each.spoke for each in own), sum(each.carried for each in own)
        found.append(ColumnPart(column.name, value, spoke, carried, len(own)))
    return tuple(found)


def cell_of(column: ColumnEncoder, values: Sequence[Cell]) -> Cell:
    """What stood in a raw column, from the numbers that were made of it.

    Example:
        >>> cell_of(Column("town", "category", ("Rome", "Bern")), [0.0, 0.0])
        'never seen'
        >>> cell_of(Column("member", "boolean", ("no", "yes")), [1.0])
        'yes'
        >>> cell_of(Column("born", "date"), [2024.16, 60.0, 3.0])
        '2024-02-29'
    """
    numbers = [each for each in values if isinstance(each, int | float)]
    if len(numbers) < len(values) or not numbers:
        return None
    if column.kind == "category":
        # One input for each word, or the word's code: 0 for one that was never seen.
        place = int(numbers[0]) - 1 if column.is_embedded else _hot(numbers)
        known = 0 <= place < len(column.values)
        return (column.values[place] or "nothing") if known else "never seen"
    if column.kind == "boolean" and column.values:
        return column.values[int(numbers[0] > 0.5)]
    if column.kind == "date":
        # A year and the day in it; what else was made of the date follows from these.
        day = date(int(numbers[0]), 1, 1) + timedelta(days=round(numbers[1]) - 1)
        return day.isoformat()
    return numbers[0]


def _hot(numbers: Sequence[float]) -> int:
    return next((place for place, each in enumerate(numbers) if each > 0.5), -1)


WEIGHTS = 6

"""Weights that are named."""


@dataclass(frozen=True, slots=True)
class BlamedWeight:
    """One weight's part in a mistake.

    Attributes:
        layer: whose weight it is.
        source: the signal it listens to.
        target: the neuron it belongs to.
        weight: its value.
        gradient: how the loss changes with it: less of it helps where positive, more where
            negative.
        blame: its share in all squared gradients, from 0 to 1.
    """

    layer: str
    source: str
    target: str
    weight: float
    gradient: float
    blame: float


@dataclass(frozen=True, slots=True)
class LayerDamage:
    """One layer's share of the blame, from 0 to 1."""

    name: str
    blame: float


def find_most_blamed(
    traced: Backpropagation, thought: ForwardPass, labels: SignalNames, *, count: int = WEIGHTS
) -> tuple[BlamedWeight, ...]:
    """The weights with the largest gradients, the largest first; convolutions are left out.

    Args:
        traced: the blame of a loss.
        thought: the forward pass that it was traced through.
        labels: names of inputs and outputs.
        count: how many to name.
    """
    found: list[BlamedWeight] = []
    sources = name_inputs(thought, labels)
    for depth, (blamed, layer) in enumerate(zip(traced.layers, thought.layers, strict=True)):
        place = layer.info
        if place.weights.ndim != 2 or layer.inputs.ndim > 2:
            continue
        last = depth == len(thought.layers) - 1
        targets = name_neurons(thought.model, place, labels, last=last)
        found += [
            BlamedWeight(
                layer=place.name,
                source=sources[depth][source],
                target=targets[neuron],
                weight=float(place.weights.detach()[neuron, source]),
                gradient=float(blamed.weights_gradient[neuron, source]),
                blame=float(blamed.weights_blame[neuron, source]),
            )
            for neuron, source in _largest(blamed, count)
        ]
    return tuple(sorted(found, key=lambda each: -abs(each.gradient))[:count])


def shares(traced: Backpropagation) -> tuple[LayerDamage, ...]:
    """Each layer's share of the blame, in order."""
    return tuple(LayerDamage(layer.name, layer.blame) for layer in traced.layers)


def _largest(blamed: LayerBlame, count: int) -> list[tuple[int, int]]:
    """Neuron and source of the weights with the largest gradients; none that has no gradient."""
    size = blamed.weights_gradient.abs()
    places = size.flatten().topk(min(count, size.numel())).indices
    found = torch.stack([places // size.shape[1], places % size.shape[1]], dim=1)
    return [(n, s) for n, s in found.tolist() if size[n, s] > 0]


NEAREST = 5

"""Neighbours that are told."""


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A training row near the row in question.

    Attributes:
        row: its number in the run's data, from 0.
        distance: the Euclidean distance between the scaled inputs; a code that differs counts 1.
        right: the right answer to it: its class, or its numbers.
    """

    row: int
    distance: float
    right: str


def find_nearest_rows(
    row: Tensor,
    training: Iterable[tuple[Tensor, Tensor]],
    *,
    codes: Sequence[int] = (),
    without: int | None = None,
    count: int = NEAREST,
) -> list[tuple[int, float]]:
    """Find the training rows nearest to a row: their numbers and distances, the nearest first.

    Args:
        row: scaled, (inputs,).
        training: pieces of the training rows: their numbers, and their scaled inputs
            (rows, inputs), so that they need never lie in memory together.
        codes: columns that are codes: they differ or they do not.
        without: the number of the row itself, where it is among them.
        count: how many to find.

    Example:
        >>> rows = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
        >>> nearest(torch.zeros(2), [(torch.tensor([7, 8, 9]), rows)], without=7)
        [(9, 1.0), (8, 5.0)]
    """
    best: list[tuple[float, int]] = []
    for numbers, inputs in training:
        apart = inputs.double() - row.double()
        if codes:
            places = list(codes)
            apart[:, places] = (apart[:, places] != 0).double()
        distances = apart.square().sum(dim=1).sqrt()
        if without is not None:
            distances = distances.masked_fill(numbers == without, torch.inf)
        least = distances.topk(min(count, len(distances)), largest=False)
        found = zip(least.values.tolist(), numbers[least.indices].tolist(), strict=True)
        best = sorted([*best, *(each for each in found if each[0] < torch.inf)])[:count]
    return [(number, distance) for distance, number in best]


TERMS = 4

"""Products of one sum that are named; the others are told together."""

NEURONS = 2

"""Neurons of a hidden layer that are followed."""

RAMPS = (ThresholdRamp, nn.Hardtanh, nn.ReLU6, nn.Hardsigmoid)

"""Activations with a lower and an upper end, at which they are exactly flat."""


@dataclass(frozen=True, slots=True)
class Term:
    """One product of a sum: `signal · weight = product`."""

    source: str
    signal: float
    weight: float
    product: float


@dataclass(frozen=True, slots=True)
class NeuronSum:
    """How one neuron came to its answer.

    `sum` of the products of `terms`, plus `others_sum`, plus `bias`, is `total`.

    Attributes:
        neuron: its number in the layer.
        name: what it is called; in the last layer, the answer it speaks for.
        carried: how much of what the score rose by on the way to this row ran through it.
        terms: the largest products, by size.
        others: how many products are not named.
        others_sum: what these come to.
        bias: its own, or None.
        total: the weighted sum with the bias.
        stirred: what reached the activation: the total, or what a normalisation made of it.
        output: how strongly it fired.
        before: how strongly it fires for a row of zeros.
    """

    neuron: int
    name: str
    carried: float
    terms: tuple[Term, ...]
    others: int
    others_sum: float
    bias: float | None
    total: float
    stirred: float
    output: float
    before: float


@dataclass(frozen=True, slots=True)
class LayerSteps:
    """What one layer did with the row.

    Attributes:
        name: the layer's.
        inputs: signals that it received.
        neurons: neurons, or numbers that it gave.
        activation: the class of its activation; None where its sums are its answers.
        silent: neurons that answered exactly 0; None without an activation.
        full: neurons at the upper end of their activation; None where it has none.
        carried: how much of what the score rose by ran through the layer.
        shown: the neurons that carried most and, in the last layer the answers that compete.
        untold: why its sums are not told, where they are not.
    """

    name: str
    inputs: int
    neurons: int
    activation: str | None
    silent: int | None
    full: int | None
    carried: float
    shown: tuple[NeuronSum, ...]
    untold: str | None = None


def list_layer_steps(
    layer: LayerPass,
    before: LayerPass,
    sources: Sequence[str],
    targets: Sequence[str],
    carried: Tensor,
    neurons: Sequence[int] | None = None,
) -> LayerSteps:
    """Tell what a layer did with the one row of a thought.

    Args:
        layer: from a forward pass of one row.
        before: the same from that of a row of zeros.
        sources: names of the signals.
        targets: names of the neurons.
        carried: how much of the score ran through each neuron, (neurons,).
        neurons: those to follow; those that carried most where None.
    """
    output = layer.output.detach()[0]
    activation = layer.info.activation
    reacts = activation is not None and not isinstance(activation, nn.Identity)
    top = get_upper_limit(activation) if isinstance(activation, RAMPS) else None
    untold = _untold(layer)
    shown: tuple[NeuronSum, ...] = ()
    if untold is None:
        chosen = find_strongest(carried, NEURONS) if neurons is None else neurons
        shown = tuple(
            sum_of(layer, before, each, sources, targets[each], float(carried[each]))
            for each in chosen
        )
    return LayerSteps(
        name=layer.name,
        inputs=layer.inputs[0].numel(),
        neurons=output.numel(),
        activation=type(activation).__name__ if reacts else None,
        silent=int((output == 0).sum()) if reacts else None,
        full=None if top is None else int((output == top).sum()),
        carried=float(carried.sum()),
        shown=shown,
        untold=untold,
    )


def sum_of(
    layer: LayerPass,
    before: LayerPass,
    neuron: int,
    sources: Sequence[str],
    name: str,
    carried: float,
) -> NeuronSum:
    """Take the sum of one neuron apart; the products are those of the network's own numbers."""
    place, signals = layer.info, layer.inputs.detach()[0].double()
    weights = place.weights.detach()[neuron].double()
    products = signals * weights
    bias = None if place.bias is None else float(place.bias.detach()[neuron])
    # A single one left over is named as well: that takes no more room.
    named = find_strongest(products, TERMS + (len(products) == TERMS + 1))
    rest = torch.ones_like(products, dtype=torch.bool)
    rest[named] = False
    return NeuronSum(
        neuron=neuron,
        name=name,
        carried=carried,
        terms=tuple(
            Term(sources[i], float(signals[i]), float(weights[i]), float(products[i]))
            for i in named
        ),
        others=int(rest.sum()),
        others_sum=float(products[rest].sum()),
        bias=bias,
        total=float(products.sum()) + (bias or 0.0),
        stirred=float(layer.pre_activation.detach()[0, neuron]),
        output=float(layer.output.detach()[0, neuron]),
        before=float(before.output.detach()[0, neuron]),
    )


def find_strongest(values: Tensor, count: int) -> list[int]:
    """Places of the largest values by size, the largest first, and none that is zero.

    Example:
        >>> strongest(torch.tensor([1.0, -3.0, 0.0, 2.0]), 2)
        [1, 3]
    """
    order = values.abs().argsort(descending=True, stable=True)[:count].tolist()
    return [place for place in order if values[place] != 0]


def get_upper_limit(activation: nn.Module | None) -> float:
    """The answer of an activation that fires as strongly as it can."""
    ends = {nn.Hardtanh: "max_val", nn.ReLU6: "max_val"}
    named = next((name for kind, name in ends.items() if isinstance(activation, kind)), None)
    return float(getattr(activation, named)) if named else 1.0


def _untold(layer: LayerPass) -> str | None:
    """Why the sums of a layer cannot be written as one line of products, where that is so."""
    if isinstance(layer.info.module, Embedding):
        return "it sums nothing up: it looks the code of a category up, and signals come back"
    if layer.info.weights.ndim != 2:
        return "its neurons look at many small windows of their input, each with a sum of its own"
    if layer.inputs.ndim != 2 or layer.pre_activation.ndim != 2:
        return "it takes its input piece by piece, and has a sum for each piece"
    return None


CUT = (
    "What each input carried, and what ran through the layers: no slope comes back from the answer "
    "to the inputs. A part of the network computes without gradients (torch.no_grad, detach) or "
    "answers in jumps."
)

COARSE = (
    "All that each input carried, and all that ran through the layers: on the way to this row the "
    "network jumps, turns more sharply than the smallest steps, or has a part that passes no "
    "gradients back (torch.no_grad, detach)."
)


@dataclass(frozen=True, slots=True)
class RowExplanation:
    """Why one row got its answer.

    Attributes:
        answer: what was said.
        score: how strongly, against what, and where that came from.
        inputs: each input's part in the score, in the order of the inputs.
        layers: the row's way, layer by layer.
        damage: where the answer is wrong, the weights that did most to make it so.
        blame: with it, each layer's share of the blame.
        nearest: the training rows most like it.
        image_shape: (height, width) or (channels, height, width) where the row is a picture.
        untold: what could not be told, in sentences.
    """

    answer: Answer
    score: Score
    inputs: tuple[Influence, ...]
    layers: tuple[LayerSteps, ...]
    damage: tuple[BlamedWeight, ...] = ()
    blame: tuple[LayerDamage, ...] = ()
    nearest: tuple[Neighbor, ...] = ()
    image_shape: tuple[int, ...] | None = None
    untold: tuple[str, ...] = ()


def explain_row(
    network: nn.Module,
    row: Tensor,
    question: Question,
    *,
    right: Tensor | None = None,
    values: Sequence[float | str | None] = (),
    neighbours: Sequence[Neighbor] = (),
    untold: Sequence[str] = (),
) -> RowExplanation:
    """Follow one row through a network to its answer, and back from there to what it came from.

    The network is left as it is: a copy thinks, in evaluation mode.

    Args:
        network: any module from (1, inputs) to (1, outputs).
        row: scaled as the network learned it, (1, inputs).
        question: what it was asked.
        right: the target, as the loss takes it, where it is known: (1,) or (1, targets).
        values: the row as measured.
        neighbours: the training rows most like it.
        untold: what could not be found out, in sentences.

    Raises:
        ValueError: where no layer with weights took part.

    Example:
        >>> from brainnet.learning.loss import CrossEntropy
        >>> from brainnet.structure.network import Network
        >>> loss, labels = CrossEntropy(), Labels(("x",), ("tea", "coffee"))
        >>> question = Question("multiclass", loss, labels, loss.answer, loss.probabilities)
        >>> found = reasons_for(Network([1, 2, 2]), torch.ones(1, 1), question)
        >>> sorted([found.score.answer, str(found.score.rival)])
        ['coffee', 'tea']
        >>> [layer.name for layer in found.layers]
        ['hidden_1', 'output']
    """
    own = deepcopy(network).eval()
    for parameter in own.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    with torch.enable_grad():
        thought = trace(own, row.detach().clone().requires_grad_(True))
        aim = _aim(thought, question, right)
        carried = attribute_path(own, thought.inputs.detach(), aim.score)
        parts = compute_influences(thought, aim.score, carried, question.labels, values)
        before = trace(own, torch.zeros_like(row))  # code 0 brings zeros as well
        steps = _steps(thought, before, question.labels, aim, carried)
        stung = None if right is None else question.loss(thought.output, right)
        answer = answer_of(thought, question, right, stung)
        damage: tuple[BlamedWeight, ...] = ()
        blame: tuple[LayerDamage, ...] = ()
        if stung is not None and answer.correct is not True and stung.requires_grad:
            traced = backpropagate(stung, thought)
            damage, blame = find_most_blamed(traced, thought, question.labels), shares(traced)
    score = _score(aim, thought, before, parts, question.zero)
    return RowExplanation(
        answer=answer,
        score=score,
        inputs=parts,
        layers=steps,
        damage=damage,
        blame=blame,
        nearest=tuple(neighbours),
        image_shape=question.image_shape,
        untold=(*untold, *_missed(score, carried)),
    )


@dataclass(frozen=True, slots=True)
class _Aim:
    """What the score is made of: a factor for each output, and what is added."""

    answer: str
    rival: str | None
    factors: list[float]
    shift: float
    compete: list[int]  # outputs whose sums are told

    def score(self, outputs: Tensor) -> Tensor:
        """The score of each row, (rows,), without what is added."""
        return outputs.flatten(1) @ outputs.new_tensor(self.factors)


def _score(
    aim: _Aim,
    thought: ForwardPass,
    before: ForwardPass,
    parts: Sequence[Influence],
    zero: str,
) -> Score:
    """How strongly the network was for its answer."""
    with torch.no_grad():
        outputs = (thought.output, before.output)
        value, start = (float(aim.score(each)) + aim.shift for each in outputs)
    return Score(
        answer=aim.answer,
        rival=aim.rival,
        value=value,
        start=start,
        zero=zero,
        carried=sum(part.carried for part in parts),
        factor=None if aim.rival is not None else sum(aim.factors),
        shift=None if aim.rival is not None else aim.shift,
    )


def _missed(score: Score, carried: PathAttribution) -> tuple[str, ...]:
    """Why what the inputs carried is not what the score rose by, where it is not."""
    if not score.missed:
        return ()
    if carried.cut:
        return (CUT,)
    return (COARSE,)


def _aim(thought: ForwardPass, question: Question, right: Tensor | None) -> _Aim:
    """Ask for what the answer stands out by: against another class, or as a number."""
    outputs = thought.output.detach().flatten().tolist()
    factors = [0.0] * len(outputs)
    if question.task == "regression":
        chosen = _told_number(outputs, right)
        scaling = question.target_scaling
        factors[chosen] = 1.0 if scaling is None else scaling.scale[chosen]
        shift = 0.0 if scaling is None else scaling.shift[chosen]
        name = question.labels.of_outputs(len(outputs))[chosen]
        return _Aim(name, None, factors, shift, [chosen])
    answer = int(question.answers(thought.output.detach()))
    if len(outputs) == 1:  # one output tells two classes apart: positive for the second
        factors[0] = 1.0 if answer == 1 else -1.0
        pair = question.labels.classes(2)
        return _Aim(pair[answer], pair[1 - answer], factors, 0.0, [0])
    labels = question.labels.of_outputs(len(outputs))
    order = sorted(range(len(outputs)), key=lambda each: -outputs[each])
    second = next(each for each in order if each != answer)
    # A wrong answer is held against the right one.
    rival = second if right is None or int(right) == answer else int(right)
    factors[answer], factors[rival] = 1.0, -1.0
    return _Aim(labels[answer], labels[rival], factors, 0.0, [answer, rival])


def _told_number(outputs: list[float], right: Tensor | None) -> int:
    """Of several numbers the one missed most or, where that is not known, the most unusual."""
    known = [0.0] * len(outputs) if right is None else right.flatten().tolist()
    return max(range(len(outputs)), key=lambda each: abs(outputs[each] - known[each]))


def _steps(
    thought: ForwardPass,
    before: ForwardPass,
    labels: SignalNames,
    aim: _Aim,
    carried: PathAttribution,
) -> tuple[LayerSteps, ...]:
    sources = name_inputs(thought, labels)
    steps = []
    for depth, (layer, zero) in enumerate(zip(thought.layers, before.layers, strict=True)):
        last = depth == len(thought.layers) - 1 and layer.output.shape == thought.output.shape
        targets = name_neurons(thought.model, layer.info, labels, last=last)
        ran = carried.layers.get(layer.name, torch.zeros(layer.output.shape[1:]))
        chosen = aim.compete if last else None
        steps.append(list_layer_steps(layer, zero, sources[depth], targets, ran, chosen))
    return tuple(steps)


@dataclass(frozen=True, slots=True)
class ExplainedRow:
    """Why one row got its answer; primitives all the way down.

    Attributes:
        run: the run's folder.
        source: where the row is from: the name of the run's data, or a file.
        row: its number there, from 0; None for a row that came alone.
        rows: how many rows there are; None where that was not counted.
        part: "train", "validation" or "test": what the run used it for; None for rows from
            elsewhere.
        note: how rows are counted, where that is not plain.
        reasons: the row's way through the network, and back.
        columns: each raw column's part in the answer, in the order of the columns; empty for
            pictures.
    """

    run: str
    source: str
    row: int | None
    rows: int | None
    part: str | None
    reasons: RowExplanation
    note: str | None = None
    columns: tuple[ColumnPart, ...] = ()
