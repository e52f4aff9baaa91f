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
from brainnet.explanation.formatting import draw_bar

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
    """Weights and biases of one layer."""

    weights: Matrix
    biases: Vector


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
    ),
    PlainLayer(
        weights=(
            (-0.5, 0.3, 1.0, -1.0),  # relax: for fun
            (1.0, 0.1, -0.6, 1.2),  # check the burner: for fire and fear
        ),
        biases=(0.2, 0.0),
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
    values: list[LayerValues] = []
    for layer in network:
        weighted = (sum_products(row, signals) for row in layer.weights)
        sums = tuple(z + bias for z, bias in zip(weighted, layer.biases, strict=True))
        # The output layer has no activation.
        output = sums if layer is network[-1] else tuple(map(apply_ramp, sums))
        values.append(LayerValues(signals, sums, output))
        signals = output
    return tuple(values)


def compute_softmax(outputs: Vector) -> Vector:
    """Compute the softmax; shifted by the largest output, so that nothing overflows."""
    powers = [math.exp(output - max(outputs)) for output in outputs]
    return tuple(power / sum(powers) for power in powers)


def compute_loss(network: PlainNetwork, scene: Scene) -> float:
    """Compute the cross-entropy: minus the logarithm of the probability of the target."""
    outputs = compute_layer_values(network, scene.signals)[-1].output
    largest = max(outputs)
    # The logarithm of a probability that is rounded to 0 would be infinite.
    log_sum = largest + math.log(sum(math.exp(output - largest) for output in outputs))
    return log_sum - outputs[scene.target]


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

    layers = []
    for layer, gradient in zip(network, compute_layer_gradients(network, scene), strict=True):
        weights = tuple(map(move, layer.weights, gradient.weights))
        layers.append(PlainLayer(weights, move(layer.biases, gradient.biases)))
    return tuple(layers)


def compute_norm(gradients: Sequence[LayerGradients]) -> float:
    """Compute the Euclidean norm of the whole gradient."""
    rows = [row for layer in gradients for row in (*layer.weights, layer.biases)]
    return math.hypot(*(value for row in rows for value in row))


def try_learning_rate(learning_rate: float) -> tuple[float, float, float]:
    """Return the losses on a smoky and a merry evening after a step, and their mean after 40."""
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
    outputs_after = compute_layer_values(stepped, SMOKY_EVENING.signals)[-1].output
    return WorkedExample(
        values=values,
        probabilities=compute_softmax(values[-1].output),
        loss=compute_loss(NETWORK, SMOKY_EVENING),
        gradients=compute_layer_gradients(NETWORK, SMOKY_EVENING),
        stepped=stepped,
        probabilities_after=compute_softmax(outputs_after),
        loss_after=compute_loss(stepped, SMOKY_EVENING),
    )


def describe_concept(concept: Concept) -> Lines:
    """Describe one concept with the numbers of the worked example, in lines as in `Explanation`.

    Example:
        >>> print(describe_concept(concepts.LOSS_FUNCTION)[1])
          loss = -ln 0.214 = 1.543
    """
    return _DESCRIPTIONS[concept]()


# In the numbers below, the format `z` prints no sign before a zero.


def _format_product(weight: str, signal: float, digits: int) -> str:
    """Format a product, with parentheses around a negative factor: `0.3 · (-0.79)`."""
    factor = f"{signal:z.{digits}f}"
    return f"{weight} · {f'({factor})' if factor.startswith('-') else factor}"


def _format_sum(weights: Sequence[float], signals: Sequence[float]) -> str:
    """Format a sum of products: `0.3 · 1.00 - 0.6 · 0.77`."""
    pairs = zip(weights, signals, strict=True)
    terms = [_format_product(f"{weight:z.1f}", signal, 2) for weight, signal in pairs]
    # A negative term is written as a subtraction.
    return " + ".join(terms).replace("+ -", "- ")


def _count_parameters() -> int:
    return sum(len(layer.biases) * (len(layer.weights[0]) + 1) for layer in NETWORK)


def _draw_network() -> Lines:
    """Draw the network with the outputs of its neurons; layers are fully connected."""
    smoke, heat, sizzle, music = (f"{signal:.1f}" for signal in SMOKY_EVENING.signals)
    fire, food, fun, fear = (f"{output:z.2f}" for output in work_through().values[0].output)
    relax, check = (f"{p:.0%}" for p in work_through().probabilities)
    return (
        "  input       16 weights    hidden       8 weights   output",
        f"  smoke  {smoke} ──╮        ╭── fire {fire} ──╮",
        f"  heat   {heat} ──┼────────┼── food {food} ──┼────────┬─ relax             {relax}",
        f"  sizzle {sizzle} ──┼────────┼── fun  {fun} ──┼────────┴─ check the burner  {check}",
        f"  music  {music} ──╯        ╰── fear {fear} ──╯",
    )


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
    sums = zip(HIDDEN, values.pre_activation, values.output, strict=True)
    others = ", ".join(f"{name} {z:z.2f} → {y:z.2f}" for name, z, y in sums if name != "fire")
    return (
        "The hidden neuron `fire` collects its signals, each times its weight:",
        *(f"  {name:7} {x:.1f} · {w:z4.1f} = {w * x:z5.2f}" for name, x, w in rows),
        f"  bias               {hidden.biases[_FIRE]:z5.2f}",
        f"  sum                {values.pre_activation[_FIRE]:z5.2f}  → fires at "
        f"{values.output[_FIRE]:z.2f}",
        f"The other three, sum → firing: {others}.",
    )


def _describe_weights() -> Lines:
    weights, signals = NETWORK[0].weights, SMOKY_EVENING.signals
    products = [
        f"{weights[i][j]:.1f} · {signals[j]:.1f} = {weights[i][j] * signals[j]:z.2f}"
        for i, j in ((_FIRE, _SMOKE), (_FUN, _MUSIC), (_FUN, _SMOKE))
    ]
    rows = zip(HIDDEN, weights, strict=True)
    return (
        "The weights of the hidden layer, a row for each neuron and a column for each signal:",
        f"  {'':6}" + "".join(f"{name:>8}" for name in SIGNALS),
        *(f"  {name:6}" + "".join(f"{weight:z8.1f}" for weight in row) for name, row in rows),
        f"`fire` listens to the smoke: {products[0]}. `fun` listens to little but the music: "
        f"{products[1]}; the smoke speaks against it: {products[2]}.",
    )


def _describe_biases() -> Lines:
    hidden = NETWORK[0]
    calm, jumpy = hidden.biases[_FEAR], hidden.biases[_FOOD]
    without = sum_products(hidden.weights[_FEAR], SMOKY_EVENING.signals)
    sums = {"without the bias": without, "with it": without + calm}
    return (
        f"`fear` is calm, its bias is {calm:.1f}. Its weighted signals add up to {without:.2f}:",
        *(f"  {words:17} {z:z5.2f} → fires at {apply_ramp(z):z.2f}" for words, z in sums.items()),
        f"`food` is a little jumpy, its bias is {jumpy:.1f}: it fires at {apply_ramp(jumpy):.2f} "
        "even in an empty kitchen.",
    )


def _describe_activation() -> Lines:
    values = work_through().values[0]
    words = {
        _FEAR: "below the threshold: quiet",
        _FIRE: "on the ramp, a little way up",
        _FUN: "on the ramp, near the top",
        _FOOD: "above it: fully firing",
    }
    lines = []
    for i, text in words.items():
        z, y = values.pre_activation[i], values.output[i]
        lines.append(f"  {HIDDEN[i]:5} {z:z5.2f} → {y:z.2f}  {draw_bar(y)}  {text}")
    return (
        "With the threshold at 0 and a width of 1, the sums of the four hidden neurons become:",
        *lines,
        "Off the ramp a small change changes nothing: what `fear` and `food` listen to stays as "
        "it is this evening.",
    )


def _describe_forward_pass() -> Lines:
    layer, values = NETWORK[1], work_through().values[1]
    relax, check = work_through().probabilities
    sums = []
    for i, name in enumerate(OUTPUTS):
        products = _format_sum(layer.weights[i], values.inputs).replace(" · ", "·")
        total = f"{layer.biases[i]:.1f} = {values.output[i]:z.2f}"
        sums.append(f"  {name:16} {products} + {total}")
    return (
        *_draw_network(),
        "Each answer is a sum over the hidden neurons by its weights, plus its bias:",
        *sums,
        f"The softmax makes {relax:.0%} and {check:.0%} of them: the network says `{OUTPUTS[0]}`. "
        "That is wrong, but it does not know it yet.",
    )


def _describe_loss() -> Lines:
    example, target = work_through(), SMOKY_EVENING.target
    probability = example.probabilities[target]
    lines = []
    for p in (0.99, 0.5, probability, 0.01):
        bar = draw_bar(math.log(p) / math.log(0.01))
        mark = "  this evening" if p == probability else ""
        lines.append(f"  probability {p:.2f}  loss {-math.log(p):.3f}  {bar}{mark}")
    return (
        f"`{OUTPUTS[target]}` was right, and got a probability of {probability:.3f} only:",
        f"  loss = -ln {probability:.3f} = {example.loss:.3f}",
        "The bigger the mistake, the bigger the sting:",
        *lines,
    )


def _describe_backpropagation() -> Lines:
    example, target = work_through(), SMOKY_EVENING.target
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
    errors = zip(OUTPUTS, example.probabilities, output.delta, strict=True)
    return (
        "The error of the answers, what they said minus what was right:",
        *(f"  {n:16} {p:.2f} - {int(n == OUTPUTS[target])} = {d:z5.2f}" for n, p, d in errors),
        "Carried back through its two weights to `fun`, and likewise to `fire`:",
        f"  fun   {_format_sum(to_outputs, output.delta)} = {hidden.delta[_FUN]:z.2f}",
        f"  fire  {hidden.delta[_FIRE]:z.2f}",
        "The one fired too much, the other too little. `food` and `fear`, off their ramps, pass "
        "nothing back. The weights with the largest share of the blame:",
        *(f"  {name:14} {share:5.1%}  {draw_bar(share / most[0][0])}" for share, name in most),
    )


def _describe_gradient() -> Lines:
    example = work_through()
    gradients = example.gradients[0]
    product = _format_product(f"{gradients.delta[_FUN]:z.3f}", SMOKY_EVENING.signals[_MUSIC], 1)
    hidden, output = NETWORK
    rows = [list(row) for row in hidden.weights]
    # The difference quotient, as a check of the derivative.
    rows[_FUN][_MUSIC] += _NUDGE
    nudged = (replace(hidden, weights=tuple(map(tuple, rows))), output)
    loss = compute_loss(nudged, SMOKY_EVENING)
    slope = (loss - example.loss) / _NUDGE
    return (
        "How the loss depends on the weight from the music to `fun`:",
        f"  delta of fun · music = {product} = {gradients.weights[_FUN][_MUSIC]:z.3f}",
        "Positive: more of it makes things worse. Felt with the foot, by a little more of it:",
        f"  weight + {_NUDGE}: loss {example.loss:.4f} → {loss:.4f}, a slope of {slope:.3f}",
        f"From the smoke to `fire` it is {gradients.weights[_FIRE][_SMOKE]:z.3f}: more of that "
        f"would help. All {_count_parameters()} together make a steepness of "
        f"{compute_norm(example.gradients):.3f}.",
    )


def _describe_gradient_descent() -> Lines:
    example, target = work_through(), SMOKY_EVENING.target
    before, after = (p[target] for p in (example.probabilities, example.probabilities_after))
    moves = []
    for neuron, source in ((_FUN, _MUSIC), (_FIRE, _SMOKE)):
        old, new = (net[0].weights[neuron][source] for net in (NETWORK, example.stepped))
        gradient = example.gradients[0].weights[neuron][source]
        product = _format_product(f"{STEP_SIZE:.1f}", gradient, 3)
        name = f"{SIGNALS[source]} → {HIDDEN[neuron]}"
        moves.append(f"  {name:14} {old:.3f} - {product} = {new:.3f}")
    steps, network = [], NETWORK
    for count in range(1, 6):
        loss = compute_loss(network, SMOKY_EVENING)
        norm = compute_norm(compute_layer_gradients(network, SMOKY_EVENING))
        lengths = f"steepness {norm:.3f}   step {STEP_SIZE * norm:.3f}"
        steps.append(f"  {count}.  loss {loss:.3f}   {lengths}  {draw_bar(2 * STEP_SIZE * norm)}")
        network = take_step(network, SMOKY_EVENING, STEP_SIZE)
    return (
        f"One step, at a learning rate of {STEP_SIZE}:",
        *moves,
        f"So move all {_count_parameters()} numbers, and the loss falls from {example.loss:.3f} to "
        f"{example.loss_after:.3f}: `{OUTPUTS[target]}`, at {before:.0%} before, is at "
        f"{after:.0%} and wins. Then again, on the same evening:",
        *steps,
    )


def _describe_learning_rate() -> Lines:
    words = {0.0: "never learns", 0.001: "too small", 0.1: "learns", 1.0: "overshoots"}
    lines = []
    for rate, text in words.items():
        smoky, merry, both = try_learning_rate(rate)
        lines.append(f"  {rate:<13g}   {smoky:.3f}   {merry:.3f}   {both:<14.3f}   {text}")
    before, after = compute_loss(NETWORK, MERRY_EVENING), try_learning_rate(1.0)[1]
    return (
        "The loss after a single step on the smoky evening, on it and on a merry one with "
        "hardly any smoke; then after 40 evenings, smoky and merry in turn:",
        "  learning rate   smoky   merry   both, after 40",
        *lines,
        "The big step learns to fear all kitchens: the loss on the merry evening leaps from "
        f"{before:.2f} to {after:.2f}, and from then on it panics from one answer to the other.",
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
