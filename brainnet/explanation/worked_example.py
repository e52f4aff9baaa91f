"""Worked example: a network of ten neurons, with every number computed in plain Python.

Four inputs (signals in a kitchen), four hidden neurons and two outputs. The example needs neither
torch nor NumPy, so that `brainnet explain CONCEPT` starts at once; tests compare every number with
PyTorch.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from brainnet import concepts
from brainnet.concepts import Concept
from brainnet.explanation.formatting import draw_bar, format_number

Vector = tuple[float, ...]

# (neurons, inputs), one row per neuron, as in `Weights.value`
Matrix = tuple[Vector, ...]
Lines = tuple[str, ...]

STORY = (
    "A brain of ten cells in a kitchen. Smoke, heat, sizzling and music come in; four hidden "
    "neurons, `fire`, `food`, `fun` and `fear`, judge them; two answers compete, `relax` and "
    "`check the burner`. This evening there is smoke."
)

SIGNALS = ("smoke", "heat", "sizzle", "music")
HIDDEN = ("fire", "food", "fun", "fear")
OUTPUTS = ("relax", "check the burner")
STEP_SIZE = 0.1
_FIRE, _FOOD, _FUN, _FEAR = range(len(HIDDEN))
_SMOKE, _MUSIC = SIGNALS.index("smoke"), SIGNALS.index("music")
_NUDGE = 0.01


@dataclass(frozen=True, slots=True)
class Scene:
    """One row of data: the strength of each signal, and the index of the right output."""

    name: str
    signals: Vector
    target: int


SMOKY_EVENING = Scene("smoke in the kitchen", (0.6, 0.5, 0.8, 0.9), target=1)
MERRY_EVENING = Scene("a merry dinner", (0.1, 0.4, 0.8, 0.9), target=0)


@dataclass(frozen=True, slots=True)
class PlainLayer:
    """Weights and biases of one layer, and whether its activation is the threshold ramp."""

    weights: Matrix
    biases: Vector
    has_ramp: bool


PlainNetwork = tuple[PlainLayer, ...]

NETWORK: PlainNetwork = (
    PlainLayer(
        weights=(
            (0.5, 0.4, 0.0, -0.2),  # fire: smoke and heat, and music soothes it
            (0.0, 0.6, 1.0, 0.0),  # food: sizzle and heat
            (-0.2, 0.0, 0.1, 0.9),  # fun: music
            (1.0, 0.5, -0.5, 0.0),  # fear: thick smoke
        ),
        biases=(-0.1, 0.1, 0.0, -0.9),  # fear is calm, food a little jumpy
        has_ramp=True,
    ),
    PlainLayer(
        weights=(
            (-0.5, 0.3, 1.0, -1.0),  # relax: for fun
            (1.0, 0.1, -0.6, 1.2),  # check the burner: for fire and fear
        ),
        biases=(0.2, 0.0),
        has_ramp=False,
    ),
)


@dataclass(frozen=True, slots=True)
class LayerValues:
    """Inputs, pre-activations and outputs of one layer in a forward pass."""

    inputs: Vector
    pre_activation: Vector
    output: Vector


@dataclass(frozen=True, slots=True)
class LayerGradients:
    """Gradients of one layer: dL/dz of each neuron, dL/dw and dL/db."""

    delta: Vector
    weights: Matrix
    biases: Vector


def apply_ramp(z: float) -> float:
    """Apply the threshold ramp, `clamp(z, 0, 1)`."""
    return min(max(z, 0.0), 1.0)


def sum_products(weights: Sequence[float], signals: Sequence[float]) -> float:
    """Compute a weighted sum."""
    return sum(weight * signal for weight, signal in zip(weights, signals, strict=True))


def compute_layer_values(network: PlainNetwork, signals: Vector) -> tuple[LayerValues, ...]:
    """Run a forward pass, with the values of every layer."""
    values = []
    for layer in network:
        sums = tuple(
            sum_products(row, signals) + bias
            for row, bias in zip(layer.weights, layer.biases, strict=True)
        )
        output = tuple(map(apply_ramp, sums)) if layer.has_ramp else sums
        values.append(LayerValues(signals, sums, output))
        signals = output
    return tuple(values)


def compute_softmax(outputs: Vector) -> Vector:
    """Compute the softmax; shifted by the largest output, so that nothing overflows."""
    powers = [math.exp(output - max(outputs)) for output in outputs]
    return tuple(power / sum(powers) for power in powers)


def compute_cross_entropy(outputs: Vector, target: int) -> float:
    """Compute minus the logarithm of the probability of the target."""
    largest = max(outputs)
    log_sum = largest + math.log(sum(math.exp(output - largest) for output in outputs))
    return log_sum - outputs[target]


def compute_loss(network: PlainNetwork, scene: Scene) -> float:
    """Compute the loss of a network for one scene."""
    return compute_cross_entropy(
        compute_layer_values(network, scene.signals)[-1].output, scene.target
    )


def compute_layer_gradients(network: PlainNetwork, scene: Scene) -> tuple[LayerGradients, ...]:
    """Compute the gradients by backpropagation, from the output layer to the first.

    The delta of the outputs is `p - y` (softmax under cross-entropy). The delta of a hidden neuron
    is the weighted sum of the next layer's deltas, times the slope of its ramp: 1 on it, else 0.
    """
    values = compute_layer_values(network, scene.signals)
    delta = tuple(
        p - (index == scene.target) for index, p in enumerate(compute_softmax(values[-1].output))
    )
    gradients = []
    for depth in reversed(range(len(network))):
        inputs = values[depth].inputs
        weights = tuple(tuple(d * signal for signal in inputs) for d in delta)
        # A bias is a weight whose input is always 1.
        gradients.append(LayerGradients(delta, weights, biases=delta))
        columns = zip(*network[depth].weights, strict=True)
        passed_back = [sum_products(column, delta) for column in columns]
        delta = tuple(d if 0.0 < y < 1.0 else 0.0 for d, y in zip(passed_back, inputs, strict=True))
    return tuple(reversed(gradients))


def take_step(network: PlainNetwork, scene: Scene, learning_rate: float) -> PlainNetwork:
    """Take one step of gradient descent on the loss of one scene."""

    def move(values: Vector, gradient: Vector) -> Vector:
        return tuple(v - learning_rate * g for v, g in zip(values, gradient, strict=True))

    return tuple(
        PlainLayer(
            tuple(map(move, layer.weights, gradient.weights)),
            move(layer.biases, gradient.biases),
            layer.has_ramp,
        )
        for layer, gradient in zip(network, compute_layer_gradients(network, scene), strict=True)
    )


def compute_norm(gradients: Sequence[LayerGradients]) -> float:
    """Compute the Euclidean norm of the whole gradient."""
    rows = [row for layer in gradients for row in (*layer.weights, layer.biases)]
    return math.hypot(*(value for row in rows for value in row))


def try_learning_rate(learning_rate: float) -> tuple[float, float, float]:
    """Train with a learning rate, on smoky and merry evenings in turn.

    Returns:
        Loss on the smoky and on the merry evening after one step, and the mean loss of both after
        40 steps.
    """
    network = once = take_step(NETWORK, SMOKY_EVENING, learning_rate)
    # The first of the 40 steps was taken above.
    for evening in range(1, 40):
        scene = MERRY_EVENING if evening % 2 else SMOKY_EVENING
        network = take_step(network, scene, learning_rate)
    both = (compute_loss(network, SMOKY_EVENING) + compute_loss(network, MERRY_EVENING)) / 2
    return compute_loss(once, SMOKY_EVENING), compute_loss(once, MERRY_EVENING), both


@dataclass(frozen=True, slots=True)
class WorkedExample:
    """The smoky evening: forward pass, loss, gradients, and the same after one step."""

    values: tuple[LayerValues, ...]
    probabilities: Vector
    loss: float
    gradients: tuple[LayerGradients, ...]
    stepped: PlainNetwork
    probabilities_after: Vector
    loss_after: float

    def compute_blame(self, depth: int, neuron: int, source: int) -> float:
        """Compute the blame of one weight, as `backpropagate` does."""
        gradient = self.gradients[depth].weights[neuron][source]
        return (gradient / compute_norm(self.gradients)) ** 2


@functools.cache
def work_through() -> WorkedExample:
    """Compute the whole example.

    Example:
        >>> example = work_through()
        >>> round(example.loss, 4), round(example.loss_after, 4)
        (1.5426, 0.582)
    """
    values = compute_layer_values(NETWORK, SMOKY_EVENING.signals)
    stepped = take_step(NETWORK, SMOKY_EVENING, STEP_SIZE)
    return WorkedExample(
        values=values,
        probabilities=compute_softmax(values[-1].output),
        loss=compute_loss(NETWORK, SMOKY_EVENING),
        gradients=compute_layer_gradients(NETWORK, SMOKY_EVENING),
        stepped=stepped,
        probabilities_after=compute_softmax(
            compute_layer_values(stepped, SMOKY_EVENING.signals)[-1].output
        ),
        loss_after=compute_loss(stepped, SMOKY_EVENING),
    )


def describe_concept(concept: Concept) -> Lines:
    """Describe one concept with the numbers of the worked example.

    Returns:
        Lines: those that begin with a space are drawings and sums of at most 76 characters; others
        are prose, to be wrapped.

    Example:
        >>> print(describe_concept(concepts.LOSS_FUNCTION)[1])
          loss = -ln 0.214 = 1.543
    """
    return _DESCRIPTIONS[concept]()


def _fixed(value: float, digits: int = 2) -> str:
    return format_number(value, digits)


def _format_product(weight: float, signal: float, digits: tuple[int, int]) -> str:
    """Format a product, with parentheses around a negative factor: `0.3 · (-0.79)`."""
    first, second = _fixed(weight, digits[0]), _fixed(signal, digits[1])
    return f"{first} · {f'({second})' if second.startswith('-') else second}"


def _format_sum(weights: Sequence[float], signals: Sequence[float]) -> str:
    """Format a sum of products: `0.3 · 1.00 - 0.6 · 0.77`."""
    # A negative term is written as a subtraction.
    terms = [_format_product(*pair, (1, 2)) for pair in zip(weights, signals, strict=True)]
    return " + ".join(terms).replace("+ -", "- ")


def _count_parameters() -> int:
    return sum(len(layer.biases) * (len(layer.weights[0]) + 1) for layer in NETWORK)


def _draw_network() -> Lines:
    """Draw the network with the outputs of its neurons; layers are fully connected."""
    example = work_through()
    # One line per input and hidden neuron; the two outputs branch off between them.
    ends = ("─╮", "─┼", "─┼", "─╯")
    starts = ("╭─", "┼─", "┼─", "╰─")
    branches = ("", "┬─ ", "┴─ ", "")
    lines = ["  input       16 weights    hidden       8 weights   output"]
    for row, (name, signal) in enumerate(zip(SIGNALS, SMOKY_EVENING.signals, strict=True)):
        wire = ("─" if branches[row] else " ") * 8
        line = f"  {name:6} {_fixed(signal, 1)} ─{ends[row]}{wire}{starts[row]}─"
        line += f" {HIDDEN[row]:4} {_fixed(example.values[0].output[row])} ─{ends[row]}"
        if branches[row]:
            probability = example.probabilities[row - 1]
            line += f"{wire}{branches[row]}{OUTPUTS[row - 1]:16} {probability:4.0%}"
        lines.append(line)
    return tuple(lines)


def _describe_layers() -> Lines:
    hidden, output = ((len(net.biases) * len(net.weights[0]), len(net.biases)) for net in NETWORK)
    return (
        *_draw_network(),
        f"The first layer has {hidden[0]} weights and {hidden[1]} biases, the second {output[0]} "
        f"and {output[1]}: {_count_parameters()} numbers that learn. The senses only take in.",
    )


def _describe_neurons() -> Lines:
    hidden, values = NETWORK[0], work_through().values[0]
    rows = zip(SIGNALS, SMOKY_EVENING.signals, hidden.weights[_FIRE], strict=True)
    sums = {HIDDEN[i]: (values.pre_activation[i], values.output[i]) for i in range(4)}
    total, output = sums.pop("fire")
    others = ", ".join(f"{name} {_fixed(z)} → {_fixed(y)}" for name, (z, y) in sums.items())
    return (
        "The hidden neuron `fire` collects its signals, each times its weight:",
        *(
            f"  {name:7} {_fixed(signal, 1)} · {_fixed(weight, 1):>4} = "
            f"{_fixed(signal * weight):>5}"
            for name, signal, weight in rows
        ),
        f"  bias               {_fixed(hidden.biases[_FIRE]):>5}",
        f"  sum                {_fixed(total):>5}  → fires at {_fixed(output)}",
        f"The other three, sum → firing: {others}.",
    )


def _describe_weights() -> Lines:
    weights, signals = NETWORK[0].weights, SMOKY_EVENING.signals
    products = [
        f"{_format_product(weights[i][j], signals[j], (1, 1))} = "
        f"{_fixed(weights[i][j] * signals[j])}"
        for i, j in ((_FIRE, _SMOKE), (_FUN, _MUSIC), (_FUN, _SMOKE))
    ]
    return (
        "The weights of the hidden layer, a row for each neuron and a column for each signal:",
        f"  {'':6}" + "".join(f"{name:>8}" for name in SIGNALS),
        *(
            f"  {name:6}" + "".join(f"{_fixed(weight, 1):>8}" for weight in row)
            for name, row in zip(HIDDEN, weights, strict=True)
        ),
        f"`fire` listens to the smoke: {products[0]}. `fun` listens to little but the music: "
        f"{products[1]}; the smoke speaks against it: {products[2]}.",
    )


def _describe_biases() -> Lines:
    hidden = NETWORK[0]
    calm, jumpy = hidden.biases[_FEAR], hidden.biases[_FOOD]
    weighted = sum_products(hidden.weights[_FEAR], SMOKY_EVENING.signals)
    return (
        f"`fear` is calm, its bias is {_fixed(calm, 1)}. Its weighted signals add up to "
        f"{_fixed(weighted)}:",
        *(
            f"  {words:17} {_fixed(z):>5} → fires at {_fixed(apply_ramp(z))}"
            for words, z in (("without the bias", weighted), ("with it", weighted + calm))
        ),
        f"`food` is a little jumpy, its bias is {_fixed(jumpy, 1)}: it fires at "
        f"{_fixed(apply_ramp(jumpy))} even in an empty kitchen.",
    )


def _describe_activation() -> Lines:
    values = work_through().values[0]
    words = {
        _FEAR: "below the threshold: quiet",
        _FIRE: "on the ramp, a little way up",
        _FUN: "on the ramp, near the top",
        _FOOD: "above it: fully firing",
    }
    return (
        "With the threshold at 0 and a width of 1, the sums of the four hidden neurons become:",
        *(
            f"  {HIDDEN[i]:5} {_fixed(values.pre_activation[i]):>5} → "
            f"{_fixed(values.output[i])}  {draw_bar(values.output[i])}  {text}"
            for i, text in words.items()
        ),
        "Off the ramp a small change changes nothing: what `fear` and `food` listen to stays as "
        "it is this evening.",
    )


def _describe_forward_pass() -> Lines:
    probabilities = work_through().probabilities
    layer, values = NETWORK[1], work_through().values[1]
    sums = [
        f"  {name:16} {_format_sum(layer.weights[i], values.inputs)} + "
        f"{_fixed(layer.biases[i], 1)} = {_fixed(values.output[i])}"
        for i, name in enumerate(OUTPUTS)
    ]
    return (
        *_draw_network(),
        "Each answer is a sum over the hidden neurons by its weights, plus its bias:",
        *(line.replace(" · ", "·") for line in sums),
        f"The softmax makes {probabilities[0]:.0%} and {probabilities[1]:.0%} of them: the network "
        f"says `{OUTPUTS[0]}`. That is wrong, but it does not know it yet.",
    )


def _describe_loss() -> Lines:
    example, target = work_through(), SMOKY_EVENING.target
    probability = example.probabilities[target]
    losses = {p: -math.log(p) for p in (0.99, 0.5, probability, 0.01)}
    return (
        f"`{OUTPUTS[target]}` was right, and got a probability of {_fixed(probability, 3)} only:",
        f"  loss = -ln {_fixed(probability, 3)} = {_fixed(example.loss, 3)}",
        "The bigger the mistake, the bigger the sting:",
        *(
            f"  probability {_fixed(p)}  loss {_fixed(loss, 3)}  {draw_bar(loss / losses[0.01])}"
            + ("  this evening" if p == probability else "")
            for p, loss in losses.items()
        ),
    )


def _describe_backpropagation() -> Lines:
    example = work_through()
    hidden, output = example.gradients
    to_outputs = [weights[_FUN] for weights in NETWORK[1].weights]
    blame = [
        (example.compute_blame(depth, neuron, source), f"{source_name} → {name}")
        for depth, (sources, names) in enumerate(((SIGNALS, HIDDEN), (HIDDEN, OUTPUTS)))
        for neuron, name in enumerate(names)
        for source, source_name in enumerate(sources)
    ]
    # Five of 24 weights have most of the blame.
    most = sorted(blame, reverse=True)[:5]
    return (
        "The error of the answers, what they said minus what was right:",
        *(
            f"  {name:16} {_fixed(p)} - {int(i == SMOKY_EVENING.target)} = "
            f"{_fixed(output.delta[i]):>5}"
            for i, (name, p) in enumerate(zip(OUTPUTS, example.probabilities, strict=True))
        ),
        "Carried back through its two weights to `fun`, and likewise to `fire`:",
        f"  fun   {_format_sum(to_outputs, output.delta)} = {_fixed(hidden.delta[_FUN])}",
        f"  fire  {_fixed(hidden.delta[_FIRE])}",
        "The one fired too much, the other too little. `food` and `fear`, off their ramps, pass "
        "nothing back. The weights with the largest share of the blame:",
        *(f"  {name:14} {share:5.1%}  {draw_bar(share / most[0][0])}" for share, name in most),
    )


def _describe_gradient() -> Lines:
    example = work_through()
    gradients = example.gradients[0]
    product = _format_product(gradients.delta[_FUN], SMOKY_EVENING.signals[_MUSIC], (3, 1))
    hidden, output = NETWORK
    rows = [list(row) for row in hidden.weights]
    # The difference quotient, as a check of the derivative.
    rows[_FUN][_MUSIC] += _NUDGE
    nudged = (replace(hidden, weights=tuple(map(tuple, rows))), output)
    loss = compute_loss(nudged, SMOKY_EVENING)
    return (
        "How the loss depends on the weight from the music to `fun`:",
        f"  delta of fun · music = {product} = {_fixed(gradients.weights[_FUN][_MUSIC], 3)}",
        "Positive: more of it makes things worse. Felt with the foot, by a little more of it:",
        f"  weight + {_NUDGE}: loss {_fixed(example.loss, 4)} → {_fixed(loss, 4)}, a slope of "
        f"{_fixed((loss - example.loss) / _NUDGE, 3)}",
        f"From the smoke to `fire` it is {_fixed(gradients.weights[_FIRE][_SMOKE], 3)}: more of "
        f"that would help. All {_count_parameters()} together make a steepness of "
        f"{_fixed(compute_norm(example.gradients), 3)}.",
    )


def _describe_gradient_descent() -> Lines:
    example, target = work_through(), SMOKY_EVENING.target
    moves = []
    for neuron, source in ((_FUN, _MUSIC), (_FIRE, _SMOKE)):
        old, new = (net[0].weights[neuron][source] for net in (NETWORK, example.stepped))
        gradient = example.gradients[0].weights[neuron][source]
        product = _format_product(STEP_SIZE, gradient, (1, 3))
        name = f"{SIGNALS[source]} → {HIDDEN[neuron]}"
        moves.append(f"  {name:14} {_fixed(old, 3)} - {product} = {_fixed(new, 3)}")
    steps, network = [], NETWORK
    for count in range(1, 6):
        norm = compute_norm(compute_layer_gradients(network, SMOKY_EVENING))
        steps.append(
            f"  {count}.  loss {_fixed(compute_loss(network, SMOKY_EVENING), 3)}   steepness "
            f"{_fixed(norm, 3)}   step {_fixed(STEP_SIZE * norm, 3)}  "
            f"{draw_bar(2 * STEP_SIZE * norm)}"
        )
        network = take_step(network, SMOKY_EVENING, STEP_SIZE)
    return (
        f"One step, at a learning rate of {STEP_SIZE}:",
        *moves,
        f"So move all {_count_parameters()} numbers, and the loss falls from "
        f"{_fixed(example.loss, 3)} to {_fixed(example.loss_after, 3)}: `{OUTPUTS[target]}`, at "
        f"{example.probabilities[target]:.0%} before, is at "
        f"{example.probabilities_after[target]:.0%} and wins. Then again, on the same evening:",
        *steps,
    )


def _describe_learning_rate() -> Lines:
    words = {0.0: "never learns", 0.001: "too small", 0.1: "learns", 1.0: "overshoots"}
    losses = {rate: try_learning_rate(rate) for rate in words}
    return (
        "The loss after a single step on the smoky evening, on it and on a merry one with "
        "hardly any smoke; then after 40 evenings, smoky and merry in turn:",
        "  learning rate   smoky   merry   both, after 40",
        *(
            f"  {rate:<13g}   {_fixed(smoky, 3)}   {_fixed(merry, 3)}   {_fixed(both, 3):14}   "
            f"{words[rate]}"
            for rate, (smoky, merry, both) in losses.items()
        ),
        "The big step learns to fear all kitchens: the loss on the merry evening leaps from "
        f"{_fixed(compute_loss(NETWORK, MERRY_EVENING))} to {_fixed(losses[1.0][1])}, and from "
        "then on it panics from one answer to the other.",
    )


_DESCRIPTIONS: dict[Concept, Callable[[], Lines]] = {
    concepts.LAYERS: _describe_layers,
    concepts.NEURONS: _describe_neurons,
    concepts.WEIGHTS: _describe_weights,
    concepts.BIASES: _describe_biases,
    concepts.ACTIVATION_FUNCTION: _describe_activation,
    concepts.FORWARD_PASS: _describe_forward_pass,
    concepts.LOSS_FUNCTION: _describe_loss,
    concepts.BACKPROPAGATION: _describe_backpropagation,
    concepts.GRADIENT: _describe_gradient,
    concepts.GRADIENT_DESCENT: _describe_gradient_descent,
    concepts.LEARNING_RATE: _describe_learning_rate,
}
