"""Telling: what the worked example shows of each concept, in words and numbers."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from brainnet import concepts
from brainnet.concepts import Concept
from brainnet.explanation.worked_example import (
    ANSWERS,
    HIDDEN,
    MERRY_EVENING,
    NETWORK,
    SIGNALS,
    SMOKY_EVENING,
    STEP_SIZE,
    cross_entropy,
    learn_from,
    loss_on,
    slope,
    think,
    threshold_ramp,
    trace_blame,
    try_learning_rate,
    weighted_sum,
    work_through,
)

Lines = tuple[str, ...]

FIRE, FOOD, FUN, FEAR = range(len(HIDDEN))

SMOKE, MUSIC = SIGNALS.index("smoke"), SIGNALS.index("music")

RIGHT = SMOKY_EVENING.right

NUDGE = 0.01

STORY = (
    "A brain of ten cells in a kitchen. Smoke, heat, sizzling and music come in; four hidden "
    "neurons, `fire`, `food`, `fun` and `fear`, judge them; two answers compete, `relax` and "
    "`check the burner`. This evening there is smoke."
)


def describe_concept(concept: Concept) -> Lines:
    """The worked example's own numbers for one concept.

    Lines that begin with a space are drawings and sums, at most 76 characters wide; the others
    are prose, to be wrapped to any width.

    Example:
        >>> print(tell(concepts.LOSS_FUNCTION)[1])
          loss = -ln 0.214 = 1.543
    """
    return _TELLERS[concept]()


def format_number(value: float, digits: int = 2) -> str:
    """A number with so many digits after the point, and never `-0.00`.

    Example:
        >>> number(-0.001), number(1 / 3)
        ('0.00', '0.33')
    """
    return f"{round(value, digits) + 0.0:.{digits}f}"


def draw_bar(share: float, width: int = 20) -> str:
    """A share from 0 to 1 as a bar of blocks; empty where the share is no number.

    Example:
        >>> bar(0.5, width=4)
        '██░░'
    """
    filled = 0 if math.isnan(share) else round(min(max(share, 0.0), 1.0) * width)
    return "█" * filled + "░" * (width - filled)


def _times(weight: float, signal: float, digits: tuple[int, int]) -> str:
    """A product as one writes it: `0.3 · (-0.79)`."""
    first, second = format_number(weight, digits[0]), format_number(signal, digits[1])
    return f"{first} · {f'({second})' if second.startswith('-') else second}"


def _sum_of(weights: Sequence[float], signals: Sequence[float], digits: tuple[int, int]) -> str:
    """Products added up, as one writes it: `0.3 · 1.00 - 0.6 · 0.77`."""
    terms = [_times(*pair, digits) for pair in zip(weights, signals, strict=True)]
    return " + ".join(terms).replace("+ -", "- ")


def _learned_numbers() -> int:
    """How many numbers of the network learn."""
    return sum(len(layer.biases) * (len(layer.weights[0]) + 1) for layer in NETWORK)


def _drawing() -> Lines:
    """The network with this evening's numbers; every cell reaches every cell of the next layer."""
    example = work_through()
    ends = ("─╮", "─┼", "─┼", "─╯")
    starts = ("╭─", "┼─", "┼─", "╰─")
    branches = ("", "┬─ ", "┴─ ", "")
    lines = ["  input       16 weights    hidden       8 weights   output"]
    for row, (name, signal) in enumerate(zip(SIGNALS, SMOKY_EVENING.signals, strict=True)):
        wire = ("─" if branches[row] else " ") * 8
        fires = format_number(example.thoughts[0].output[row])
        line = f"  {name:6} {format_number(signal, 1)} ─{ends[row]}{wire}{starts[row]}─"
        line += f" {HIDDEN[row]:4} {fires} ─{ends[row]}"
        if branches[row]:
            answer = row - 1
            sure = example.probabilities[answer]
            line += f"{wire}{branches[row]}{ANSWERS[answer]:16} {sure:4.0%}"
        lines.append(line)
    return tuple(lines)


def _layers() -> Lines:
    hidden, output = ((len(net.biases) * len(net.weights[0]), len(net.biases)) for net in NETWORK)
    return (
        *_drawing(),
        f"The first layer has {hidden[0]} weights and {hidden[1]} biases, the second {output[0]} "
        f"and {output[1]}: {_learned_numbers()} numbers that learn. The senses only take in.",
    )


def _neurons() -> Lines:
    hidden, thought = NETWORK[0], work_through().thoughts[0]
    products = [
        f"  {name:7} {format_number(signal, 1)} · {format_number(weight, 1):>4} = {format_number(signal * weight):>5}"
        for name, signal, weight in zip(
            SIGNALS, SMOKY_EVENING.signals, hidden.weights[FIRE], strict=True
        )
    ]
    others = ", ".join(
        f"{HIDDEN[i]} {format_number(thought.pre_activation[i])} → {format_number(thought.output[i])}"
        for i in (FOOD, FUN, FEAR)
    )
    return (
        "The hidden neuron `fire` collects its signals, each times its weight:",
        *products,
        f"  bias               {format_number(hidden.biases[FIRE]):>5}",
        f"  sum                {format_number(thought.pre_activation[FIRE]):>5}  → fires at "
        f"{format_number(thought.output[FIRE])}",
        f"The other three, sum → firing: {others}.",
    )


def _weights() -> Lines:
    rows = [
        f"  {name:6}" + "".join(f"{format_number(weight, 1):>8}" for weight in weights)
        for name, weights in zip(HIDDEN, NETWORK[0].weights, strict=True)
    ]
    attention = [
        f"{_times(NETWORK[0].weights[i][j], SMOKY_EVENING.signals[j], (1, 1))} = "
        f"{format_number(NETWORK[0].weights[i][j] * SMOKY_EVENING.signals[j])}"
        for i, j in ((FIRE, SMOKE), (FUN, MUSIC), (FUN, SMOKE))
    ]
    return (
        "The weights of the hidden layer, a row for each neuron and a column for each signal:",
        f"  {'':6}" + "".join(f"{name:>8}" for name in SIGNALS),
        *rows,
        f"`fire` listens to the smoke: {attention[0]}. `fun` hears little but the music: "
        f"{attention[1]}; the smoke speaks against it: {attention[2]}.",
    )


def _biases() -> Lines:
    hidden, signals = NETWORK[0], SMOKY_EVENING.signals
    calm, jumpy = hidden.biases[FEAR], hidden.biases[FOOD]
    stirred = weighted_sum(hidden.weights[FEAR], signals)
    rows = [
        f"  {told:17} {format_number(z):>5} → fires at {format_number(threshold_ramp(z))}"
        for told, z in (("without the bias", stirred), ("with it", stirred + calm))
    ]
    return (
        f"`fear` is calm, its bias is {format_number(calm, 1)}. Its weighted signals add up to "
        f"{format_number(stirred)}:",
        *rows,
        f"`food` is a little jumpy, its bias is {format_number(jumpy, 1)}: it fires at "
        f"{format_number(threshold_ramp(jumpy))} even in an empty kitchen.",
    )


def _activation() -> Lines:
    thought = work_through().thoughts[0]
    told = {
        FEAR: "below the threshold: quiet",
        FIRE: "on the ramp, a little way up",
        FUN: "on the ramp, near the top",
        FOOD: "above it: fully firing",
    }
    rows = [
        f"  {HIDDEN[i]:5} {format_number(thought.pre_activation[i]):>5} → "
        f"{format_number(thought.output[i])}  {draw_bar(thought.output[i])}  {words}"
        for i, words in told.items()
    ]
    return (
        "With the threshold at 0 and a width of 1, the sums of the four hidden neurons become:",
        *rows,
        "Off the ramp a small change changes nothing: what `fear` and `food` listen to stays as "
        "it is this evening.",
    )


def _forward_pass() -> Lines:
    sure = work_through().probabilities
    output, thought = NETWORK[1], work_through().thoughts[1]
    sums = [
        f"  {ANSWERS[i]:16} {_sum_of(weights, thought.inputs, (1, 2))} + "
        f"{format_number(output.biases[i], 1)} = {format_number(thought.output[i])}"
        for i, weights in enumerate(output.weights)
    ]
    return (
        *_drawing(),
        "Each answer is a sum over the hidden neurons by its weights, plus its bias:",
        *(line.replace(" · ", "·") for line in sums),
        f"The softmax makes {sure[0]:.0%} and {sure[1]:.0%} of them: the network says "
        f"`{ANSWERS[0]}`. That is wrong, but it does not know it yet.",
    )


def _loss() -> Lines:
    example = work_through()
    sure = example.probabilities[RIGHT]
    losses = {
        p: cross_entropy((math.log(1 - p), math.log(p)), right=1) for p in (0.99, 0.5, sure, 0.01)
    }
    rows = [
        f"  probability {format_number(p)}  loss {format_number(loss, 3)}  {draw_bar(loss / losses[0.01])}"
        + ("  this evening" if p == sure else "")
        for p, loss in losses.items()
    ]
    return (
        f"`{ANSWERS[RIGHT]}` was right, and got a probability of {format_number(sure, 3)} only:",
        f"  loss = -ln {format_number(sure, 3)} = {format_number(example.loss, 3)}",
        "The bigger the mistake, the bigger the sting:",
        *rows,
    )


def _most_blamed(count: int) -> list[tuple[float, str]]:
    """The weights with the largest share of the blame, and their names."""
    share = work_through().share_of_blame
    blamed = [
        (share(depth, neuron, source), f"{source_name} → {name}")
        for depth, (sources, names) in enumerate(((SIGNALS, HIDDEN), (HIDDEN, ANSWERS)))
        for neuron, name in enumerate(names)
        for source, source_name in enumerate(sources)
    ]
    return sorted(blamed, reverse=True)[:count]


def _backpropagation() -> Lines:
    example = work_through()
    sure, (hidden, output) = example.probabilities, example.blames
    to_answers = [weights[FUN] for weights in NETWORK[1].weights]
    blamed = _most_blamed(5)
    return (
        "The error of the answers, what they said minus what was right:",
        *(
            f"  {name:16} {format_number(p)} - {int(i == RIGHT)} = {format_number(output.delta[i]):>5}"
            for i, (name, p) in enumerate(zip(ANSWERS, sure, strict=True))
        ),
        "Carried back through its two weights to `fun`, and likewise to `fire`:",
        f"  fun   {_sum_of(to_answers, output.delta, (1, 2))} = {format_number(hidden.delta[FUN])}",
        f"  fire  {format_number(hidden.delta[FIRE])}",
        "The one fired too much, the other too little. `food` and `fear`, off their ramps, pass "
        "nothing back. The weights with the largest share of the blame:",
        *(f"  {name:14} {share:5.1%}  {draw_bar(share / blamed[0][0])}" for share, name in blamed),
    )


def _nudged_loss() -> float:
    """The loss if `fun` listened to the music a little more."""
    hidden, output = NETWORK
    rows = [list(row) for row in hidden.weights]
    rows[FUN][MUSIC] += NUDGE
    nudged = replace(hidden, weights=tuple(map(tuple, rows)))
    return loss_on((nudged, output), SMOKY_EVENING)


def _gradient() -> Lines:
    example = work_through()
    hidden, music = example.blames[0], SMOKY_EVENING.signals[MUSIC]
    gradient, nudged = hidden.weights[FUN][MUSIC], _nudged_loss()
    return (
        "How the loss depends on the weight from the music to `fun`:",
        f"  delta of fun · music = {_times(hidden.delta[FUN], music, (3, 1))} = "
        f"{format_number(gradient, 3)}",
        "Positive: more of it makes things worse. Felt with the foot, by a little more of it:",
        f"  weight + {format_number(NUDGE)}: loss {format_number(example.loss, 4)} → {format_number(nudged, 4)}, "
        f"a slope of {format_number((nudged - example.loss) / NUDGE, 3)}",
        f"From the smoke to `fire` it is {format_number(hidden.weights[FIRE][SMOKE], 3)}: more of that "
        f"would help. All {_learned_numbers()} together make a steepness of "
        f"{format_number(slope(example.blames), 3)}.",
    )


def _descent(steps: int) -> Lines:
    """Step after step on the same evening: where it is flatter, the step is shorter."""
    lines, network = [], NETWORK
    for count in range(1, steps + 1):
        thoughts = think(network, SMOKY_EVENING.signals)
        steepness = slope(trace_blame(network, thoughts, RIGHT))
        length = STEP_SIZE * steepness
        lines.append(
            f"  {count}.  loss {format_number(loss_on(network, SMOKY_EVENING), 3)}   steepness "
            f"{format_number(steepness, 3)}   step {format_number(length, 3)}  {draw_bar(2 * length)}"
        )
        network = learn_from(network, SMOKY_EVENING, STEP_SIZE)
    return tuple(lines)


def _gradient_descent() -> Lines:
    example = work_through()
    moves = []
    for neuron, source in ((FUN, MUSIC), (FIRE, SMOKE)):
        old, new = (net[0].weights[neuron][source] for net in (NETWORK, example.stepped))
        product = _times(STEP_SIZE, example.blames[0].weights[neuron][source], (1, 3))
        name = f"{SIGNALS[source]} → {HIDDEN[neuron]}"
        moves.append(f"  {name:14} {format_number(old, 3)} - {product} = {format_number(new, 3)}")
    return (
        f"One step, at a learning rate of {STEP_SIZE}:",
        *moves,
        f"So move all {_learned_numbers()} numbers, and the loss falls from "
        f"{format_number(example.loss, 3)} to {format_number(example.loss_after, 3)}: `{ANSWERS[RIGHT]}`, at "
        f"{example.probabilities[RIGHT]:.0%} before, is at "
        f"{example.probabilities_after[RIGHT]:.0%} and wins. Then again, on the same evening:",
        *_descent(5),
    )


def _learning_rate() -> Lines:
    told = {0.0: "never learns", 0.001: "too small", 0.1: "learns", 1.0: "overshoots"}
    trials = [try_learning_rate(rate) for rate in told]
    rows = [
        f"  {trial.learning_rate:<13g}   {format_number(trial.smoky, 3)}   {format_number(trial.merry, 3)}   "
        f"{format_number(trial.after_forty, 3):14}   {words}"
        for trial, words in zip(trials, told.values(), strict=True)
    ]
    return (
        "The loss after a single step on the smoky evening, on it and on a merry one with "
        "hardly any smoke; then after 40 evenings, smoky and merry in turn:",
        "  learning rate   smoky   merry   both, after 40",
        *rows,
        "The big step learns to fear all kitchens: the loss on the merry evening leaps from "
        f"{format_number(loss_on(NETWORK, MERRY_EVENING), 2)} to {format_number(trials[-1].merry, 2)}, and "
        "from then on it panics from one answer to the other.",
    )


_TELLERS: dict[Concept, Callable[[], Lines]] = {
    concepts.LAYERS: _layers,
    concepts.NEURONS: _neurons,
    concepts.WEIGHTS: _weights,
    concepts.BIASES: _biases,
    concepts.ACTIVATION_FUNCTION: _activation,
    concepts.FORWARD_PASS: _forward_pass,
    concepts.LOSS_FUNCTION: _loss,
    concepts.BACKPROPAGATION: _backpropagation,
    concepts.GRADIENT: _gradient,
    concepts.GRADIENT_DESCENT: _gradient_descent,
    concepts.LEARNING_RATE: _learning_rate,
}
