"""Neurons: who fires on the rows of a run, how often and for what, and by which activation."""

from dataclasses import dataclass

from torch import Tensor, nn

from brainnet.observation.slopes import CONVOLUTIONS, FLAT, slope
from brainnet.portrait.subject import Subject
from brainnet.reasons.sums import RAMPS, upper_end
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.anatomy import Place, places
from brainnet.structure.forward_pass import LayerPass

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


def neurons_of(subject: Subject) -> Neurons | None:
    """Who fires on the training rows, how often, and for what; None without rows."""
    learned = subject.learned
    if learned is None or subject.thought is None:
        return None
    layers, told = [], []
    for layer in subject.thought.layers:
        if activation_name(layer.place) is None:
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


def activations_of(subject: Subject) -> Activations:
    """Threshold, width, and where the training rows fall."""
    thought = subject.thought
    passes = {} if thought is None else {each.name: each for each in thought.layers}
    layers = []
    for registered in places(subject.network):
        seen = passes.get(registered.name)
        place = registered if seen is None else seen.place  # with who reacted, not who could have
        name, activation = activation_name(place), place.activation
        if name is None:
            continue
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


def activation_name(place: Place) -> str | None:
    """The class of the activation that follows a layer, where one can be seen."""
    silent = place.activation is None or isinstance(place.activation, nn.Identity)
    return None if silent else type(place.activation).__name__


def _neuron(name: str, answers: Tensor, rate: float, subject: Subject) -> NeuronTold:
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
    if not isinstance(layer.place.module, CONVOLUTIONS):
        output = output.movedim(-1, 1)
    return output.reshape(*output.shape[:2], -1)


def _share(found: Tensor) -> float:
    return float(found.double().mean())


def _ends(value: float | Tensor) -> tuple[float, float]:
    if isinstance(value, Tensor):
        return float(value.detach().min()), float(value.detach().max())
    return value, value
