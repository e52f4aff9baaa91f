"""Structure: what a trained network is: the numbers of its layers, neurons, weights and biases."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brainnet.learning.loss import Task
from brainnet.observation.slopes import CONVOLUTIONS, FLAT, slope
from brainnet.portrait.subject import Rows, Subject
from brainnet.reasons.labels import sources_of, targets_of
from brainnet.reasons.sums import RAMPS, strongest, upper_end
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.anatomy import Place, places
from brainnet.structure.embedding import Embedding
from brainnet.structure.forward_pass import LayerPass

SHOWN = 3
"""Neurons that are told at either end."""

STRONGEST = 5
"""Weights of one layer, or of one neuron, that are told."""


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


def layers_of(subject: Subject) -> Layers:
    """Sizes, and what each layer makes of the rows."""
    found = places(subject.network)
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
            activation=_activation_name(place),
            readable=readable.get(place.name),
        )
        for place in found
    )
    numbers = sum(each.numel() for each in subject.network.parameters() if each.requires_grad)
    sketch = subject.sketch
    inputs = None if sketch is None else sketch.inputs.shape[-1]
    outputs = None if sketch is None else sketch.output.shape[-1]
    return Layers(inputs, outputs, numbers, told, measure, before)


def neurons_of(subject: Subject) -> Neurons | None:
    """Who fires on the training rows, how often, and for what; None without rows."""
    learned = subject.learned
    if learned is None or subject.thought is None:
        return None
    layers, told = [], []
    for layer in subject.thought.layers:
        if _activation_name(layer.place) is None:
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


def weights_of(subject: Subject) -> WeightsTold:
    """The strongest connections, by name; of a convolution, whose weights have none, their size."""
    layers, neuron, shape = [], None, None
    found = places(subject.network)
    names = _names(subject, found)
    for place, (sources, targets) in zip(found, names, strict=True):
        values = place.weights.detach()
        told: tuple[Connection, ...] = ()
        if values.ndim == 2:
            chosen = [divmod(at, values.shape[1]) for at in strongest(values.flatten(), STRONGEST)]
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


def biases_of(subject: Subject) -> Biases:
    """The jumpiest and the calmest neuron of each layer."""
    layers = []
    found = places(subject.network)
    for depth, place in enumerate(found):
        if place.bias is None:
            continue
        values = place.bias.detach()
        last = depth == len(found) - 1
        names = targets_of(subject.network, place, subject.question.labels, last=last)
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


def activations_of(subject: Subject) -> Activations:
    """Threshold, width, and where the training rows fall."""
    thought = subject.thought
    passes = {} if thought is None else {each.name: each for each in thought.layers}
    layers = []
    for place in places(subject.network):
        name = _activation_name(place)
        if name is None:
            continue
        seen, activation = passes.get(place.name), place.activation
        ramp = activation if isinstance(activation, ThresholdRamp) else None
        silent = full = flat = None
        if seen is not None:
            silent = _share(seen.output == 0)
            if isinstance(activation, RAMPS):
                full = _share(seen.output == upper_end(activation))
            slopes = slope(activation, seen.pre_activation)
            flat = None if slopes is None else _share(slopes < FLAT)
        threshold = None if ramp is None else _ends(ramp.threshold)
        width = None if ramp is None else _ends(ramp.width)
        neurons = len(place.weights)
        layers.append(
            LayerActivation(place.name, neurons, name, threshold, width, silent, full, flat)
        )
    learned = subject.learned
    return Activations(0 if learned is None else len(learned.inputs), tuple(layers))


def _readable(seen: Tensor, new: Tensor, learned: Rows, unseen: Rows, task: Task) -> float:
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


def _neuron(name: str, answers: Tensor, rate: float, subject: Subject) -> NeuronTold:
    """One neuron's behaviour, (rows, places), and the classes it prefers and avoids."""
    most = least = None
    mean = answers.double().mean(dim=1)
    if subject.question.task != "regression" and subject.learned is not None:
        targets = subject.learned.targets
        classes = subject.question.labels.classes(int(targets.max()) + 1)
        there = targets.unique().tolist()
        means = [float(mean[targets == each].mean()) for each in there]
        high, low = means.index(max(means)), means.index(min(means))
        most, least = (classes[there[high]], means[high]), (classes[there[low]], means[low])
    return NeuronTold(name, rate, float(mean.mean()), most, least)


def _by_neuron(layer: LayerPass) -> Tensor:
    """A layer's answers as (rows, neurons, places): a channel of a convolution is a neuron."""
    output = layer.output
    if not isinstance(layer.place.module, CONVOLUTIONS):
        output = output.movedim(-1, 1)
    return output.reshape(*output.shape[:2], -1)


def _names(subject: Subject, found: list[Place]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """What each layer listens to, and what its neurons are called."""
    labels, sketch = subject.question.labels, subject.sketch
    known: dict[str, tuple[str, ...]] = {}
    if sketch is not None:
        named = zip(sketch.layers, sources_of(sketch, labels), strict=True)
        known = {layer.name: sources for layer, sources in named}
    names = []
    for depth, place in enumerate(found):
        count = place.weights.shape[1]
        sources = known.get(place.name, ())
        if len(sources) != count:
            sources = tuple(f"signal {number}" for number in range(count))
        last = depth == len(found) - 1
        names.append((sources, targets_of(subject.network, place, labels, last=last)))
    return names


def _most_heard(
    summing: list[Place], sources: tuple[str, ...], targets: tuple[str, ...]
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
            for each in strongest(row, STRONGEST)
        ),
        bias=None if place.bias is None else float(place.bias.detach()[number]),
        heard=heard,
    )


def _activation_name(place: Place) -> str | None:
    silent = place.activation is None or isinstance(place.activation, nn.Identity)
    return None if silent else type(place.activation).__name__


def _learning(place: Place) -> int:
    return sum(each.numel() for each in place.module.parameters() if each.requires_grad)


def _share(found: Tensor) -> float:
    return float(found.double().mean())


def _ends(value: float | Tensor) -> tuple[float, float]:
    if isinstance(value, Tensor):
        return float(value.detach().min()), float(value.detach().max())
    return value, value
