"""The worked example: a brain of ten cells in a kitchen, every number computed in plain Python.

Four signals come in, four hidden neurons judge them, two answers compete. The food is sizzling and
the music is good, but there is smoke: the network, which loves music, says `relax` and is wrong. It
then learns from that one evening. No torch and no NumPy: `brainnet explain` answers at once, and
the tests hold every number here equal to what PyTorch computes.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

Vector = tuple[float, ...]

Matrix = tuple[Vector, ...]  # (neurons, inputs), one row per neuron, as in `Weights.value`

SIGNALS = ("smoke", "heat", "sizzle", "music")

HIDDEN = ("fire", "food", "fun", "fear")

ANSWERS = ("relax", "check the burner")

STEP_SIZE = 0.1


@dataclass(frozen=True, slots=True)
class Scene:
    """One evening: how strong each signal is, and which answer is right."""

    name: str
    signals: Vector
    right: int


SMOKY_EVENING = Scene("smoke in the kitchen", (0.6, 0.5, 0.8, 0.9), right=1)

MERRY_EVENING = Scene("a merry dinner", (0.1, 0.4, 0.8, 0.9), right=0)


@dataclass(frozen=True, slots=True)
class PlainLayer:
    """Weights and biases of one layer; `ramp` says whether its neurons have the threshold ramp."""

    name: str
    weights: Matrix
    biases: Vector
    ramp: bool


PlainNetwork = tuple[PlainLayer, ...]

NETWORK: PlainNetwork = (
    PlainLayer(
        "hidden",
        weights=(
            (0.5, 0.4, 0.0, -0.2),  # fire: smoke and heat, and music soothes it
            (0.0, 0.6, 1.0, 0.0),  # food: sizzle and heat
            (-0.2, 0.0, 0.1, 0.9),  # fun: music
            (1.0, 0.5, -0.5, 0.0),  # fear: thick smoke
        ),
        biases=(-0.1, 0.1, 0.0, -0.9),  # fear is calm, food a little jumpy
        ramp=True,
    ),
    PlainLayer(
        "output",
        weights=(
            (-0.5, 0.3, 1.0, -1.0),  # relax: for fun
            (1.0, 0.1, -0.6, 1.2),  # check the burner: for fire and fear
        ),
        biases=(0.2, 0.0),
        ramp=False,
    ),
)


@dataclass(frozen=True, slots=True)
class Thought:
    """One layer during a forward pass: what came in, the sums, what went out."""

    inputs: Vector
    pre_activation: Vector
    output: Vector


@dataclass(frozen=True, slots=True)
class Blame:
    """One layer's part in the error: dL/dz of each neuron, dL/dw and dL/db."""

    delta: Vector
    weights: Matrix
    biases: Vector


def threshold_ramp(z: float) -> float:
    """Quiet below 0, rising to 1, then fully firing: `clamp(z, 0, 1)`."""
    return min(max(z, 0.0), 1.0)


def weighted_sum(weights: Sequence[float], signals: Sequence[float]) -> float:
    """Each signal by the attention it gets, added up."""
    return sum(weight * signal for weight, signal in zip(weights, signals, strict=True))


def think(network: PlainNetwork, signals: Vector) -> tuple[Thought, ...]:
    """The forward pass: every layer in order, with all sums kept."""
    thoughts = []
    for layer in network:
        sums = tuple(
            weighted_sum(row, signals) + bias
            for row, bias in zip(layer.weights, layer.biases, strict=True)
        )
        output = tuple(threshold_ramp(z) for z in sums) if layer.ramp else sums
        thoughts.append(Thought(signals, sums, output))
        signals = output
    return tuple(thoughts)


def probabilities(outputs: Vector) -> Vector:
    """How sure of each answer: the softmax, shifted by the largest so that nothing overflows."""
    powers = [math.exp(output - max(outputs)) for output in outputs]
    return tuple(power / sum(powers) for power in powers)


def cross_entropy(outputs: Vector, right: int) -> float:
    """The loss: minus the logarithm of the probability given to the right answer."""
    largest = max(outputs)
    log_of_sum = largest + math.log(sum(math.exp(output - largest) for output in outputs))
    return log_of_sum - outputs[right]


def loss_on(network: PlainNetwork, scene: Scene) -> float:
    """How wrong the network is about one evening."""
    return cross_entropy(think(network, scene.signals)[-1].output, scene.right)


def trace_blame(
    network: PlainNetwork, thoughts: Sequence[Thought], right: int
) -> tuple[Blame, ...]:
    """Backpropagation by hand: from the wrong answer back to the first layer.

    The delta of the outputs is `p - y` (softmax under cross-entropy); a hidden neuron's is what
    its listeners pass back through their weights, times the slope of its ramp: 1 on it, 0 outside.
    """
    sure = probabilities(thoughts[-1].output)
    delta = tuple(p - (1.0 if answer == right else 0.0) for answer, p in enumerate(sure))
    blames = []
    for depth in reversed(range(len(network))):
        inputs = thoughts[depth].inputs
        weights = tuple(tuple(d * signal for signal in inputs) for d in delta)
        blames.append(Blame(delta, weights, biases=delta))
        if depth > 0:
            columns = zip(*network[depth].weights, strict=True)
            passed_back = [weighted_sum(column, delta) for column in columns]
            on_ramp = [0.0 < y < 1.0 for y in inputs]
            delta = tuple(b if on else 0.0 for b, on in zip(passed_back, on_ramp, strict=True))
    return tuple(reversed(blames))


def step(network: PlainNetwork, blames: Sequence[Blame], learning_rate: float) -> PlainNetwork:
    """Gradient descent: every weight and bias one step against its gradient."""

    def moved(values: Vector, gradients: Vector) -> Vector:
        return tuple(v - learning_rate * g for v, g in zip(values, gradients, strict=True))

    return tuple(
        PlainLayer(
            layer.name,
            weights=tuple(map(moved, layer.weights, blame.weights)),
            biases=moved(layer.biases, blame.biases),
            ramp=layer.ramp,
        )
        for layer, blame in zip(network, blames, strict=True)
    )


def learn_from(network: PlainNetwork, scene: Scene, learning_rate: float) -> PlainNetwork:
    """Think, feel the sting, trace the blame, and take one step."""
    thoughts = think(network, scene.signals)
    return step(network, trace_blame(network, thoughts, scene.right), learning_rate)


def slope(blames: Sequence[Blame]) -> float:
    """Length of the whole gradient: how steep the hill is here."""
    gradients = [g for blame in blames for row in (*blame.weights, blame.biases) for g in row]
    return math.hypot(*gradients)


@dataclass(frozen=True, slots=True)
class Trial:
    """What one learning rate does: after one smoky evening, and after forty mixed ones."""

    learning_rate: float
    smoky: float
    merry: float
    after_forty: float


def try_learning_rate(learning_rate: float) -> Trial:
    """Learn once from the smoky evening; then go on, smoky and merry evenings in turn."""
    network = once = learn_from(NETWORK, SMOKY_EVENING, learning_rate)
    for evening in range(1, 40):
        scene = MERRY_EVENING if evening % 2 else SMOKY_EVENING
        network = learn_from(network, scene, learning_rate)
    both = (loss_on(network, SMOKY_EVENING) + loss_on(network, MERRY_EVENING)) / 2
    return Trial(learning_rate, loss_on(once, SMOKY_EVENING), loss_on(once, MERRY_EVENING), both)


@dataclass(frozen=True, slots=True)
class WorkedExample:
    """The smoky evening from the first signal to the lesson learned."""

    network: PlainNetwork
    scene: Scene
    thoughts: tuple[Thought, ...]
    probabilities: Vector
    loss: float
    blames: tuple[Blame, ...]
    stepped: PlainNetwork
    probabilities_after: Vector
    loss_after: float

    def share_of_blame(self, depth: int, neuron: int, source: int) -> float:
        """The part of one weight in all squared gradients, as `backpropagate` counts it."""
        return (self.blames[depth].weights[neuron][source] / slope(self.blames)) ** 2


@functools.cache
def work_through() -> WorkedExample:
    """Work the whole example through.

    Example:
        >>> example = work_through()
        >>> round(example.loss, 4), round(example.loss_after, 4)
        (1.5426, 0.582)
    """
    thoughts = think(NETWORK, SMOKY_EVENING.signals)
    answer = thoughts[-1].output
    blames = trace_blame(NETWORK, thoughts, SMOKY_EVENING.right)
    stepped = step(NETWORK, blames, STEP_SIZE)
    after = think(stepped, SMOKY_EVENING.signals)[-1].output
    return WorkedExample(
        network=NETWORK,
        scene=SMOKY_EVENING,
        thoughts=thoughts,
        probabilities=probabilities(answer),
        loss=cross_entropy(answer, SMOKY_EVENING.right),
        blames=blames,
        stepped=stepped,
        probabilities_after=probabilities(after),
        loss_after=cross_entropy(after, SMOKY_EVENING.right),
    )
