"""Weights: the strongest connections of a trained network by name, and its tendencies."""

from dataclasses import dataclass

from brainnet.portrait.subject import Subject
from brainnet.reasons.labels import sources_of, targets_of
from brainnet.reasons.sums import strongest
from brainnet.structure.anatomy import Place, places
from brainnet.structure.embedding import Embedding

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
