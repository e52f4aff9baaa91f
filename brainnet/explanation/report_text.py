"""Run report as text."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from brainnet import concepts
from brainnet.concepts import CONCEPTS, GROUPS, Concept
from brainnet.explanation.explanation import Explanation, Section
from brainnet.explanation.formatting import (
    clip_text,
    draw_image,
    draw_signed_bar,
    draw_sparkline,
    format_number,
    format_percent,
    join_side_by_side,
)
from brainnet.explanation.report import (
    REPORT_BUILDERS,
    Activations,
    Biases,
    BlameTold,
    Connection,
    Curve,
    DescentTold,
    GradientTold,
    Layers,
    LossTold,
    Neurons,
    NeuronTold,
    NeuronWeights,
    RateTold,
    RunData,
    Thought,
    WeightsTold,
)
from brainnet.explanation.row_explanation import BlamedWeight
from brainnet.explanation.row_text import format_prediction
from brainnet.explanation.worked_example_text import draw_bar

NO_ROWS = (
    "That takes the rows of the run, and these are not stored: they were handed over in Python, or "
    "are gone."
)

NO_READINGS = (
    "Nobody looked on while it learned (observe=off), so that little is known of the way here."
)

Lines = Iterator[str]


def counted(count: int, noun: str) -> str:
    """So many of something.

    Example:
        >>> counted(1, "step"), counted(1200, "step")
        ('1 step', '1,200 steps')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def number_told(value: float | str | None, digits: int | None = None, *, sign: bool = False) -> str:
    """What `figure` makes of it; of a number that is none, that it is not finite.

    Example:
        >>> number_told(0.5, 2, sign=True), number_told(math.nan)
        ('+0.50', 'not finite')
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "not finite"
    return format_number(value, digits, sign=sign)


def connection_told(each: Connection | BlamedWeight, room: int = 20) -> str:
    """From what to what, cut to fit."""
    return f"{clip_text(each.source, room)} → {clip_text(each.target, min(room, 16))}"


def in_short(concept: Concept, told: Any) -> str:
    """What `PORTRAYED[concept]` found, in a few words."""
    return "not known without its rows" if told is None else _IN_SHORT[concept](told)


def _layers_in_short(told: Layers) -> str:
    sizes = [each.neurons for each in told.layers if each.kind != "Embedding"]
    ends = [*([told.inputs] if told.inputs is not None else []), *sizes]
    return f"{' → '.join(map(str, ends))}: {told.numbers:,} numbers that learn"


def _neurons_in_short(told: Neurons) -> str:
    count = sum(each.neurons for each in told.layers)
    if not count:
        return "none with an activation that can be seen"
    never = sum(len(each.never) for each in told.layers)
    fires = sum(each.neurons * each.firing_rate for each in told.layers) / count
    do = "does" if never == 1 else "do"
    return f"fire on {fires:.0%} of the rows; {never} of {count:,} never {do}"


def _weights_in_short(told: WeightsTold) -> str:
    found = [each for layer in told.layers for each in layer.strongest[:1]]
    if not found:
        return "none that can be told one by one"
    top = max(found, key=lambda each: abs(each.weight))
    return f"strongest: {connection_told(top, 12)}, {number_told(top.weight, 2, sign=True)}"


def _biases_in_short(told: Biases) -> str:
    if not told.layers:
        return "none"
    low = min(each.calmest[1] for each in told.layers)
    high = max(each.jumpiest[1] for each in told.layers)
    jumpy, calm = (sum(getattr(each, word) for each in told.layers) for word in ("jumpy", "calm"))
    return f"{number_told(low, 2)} to {number_told(high, 2)}; {jumpy:,} jumpy, {calm:,} calm"


def _activations_in_short(told: Activations) -> str:
    kinds = (
        " and ".join(sorted({each.activation for each in told.layers})) or "none that can be seen"
    )
    known = [each for each in told.layers if each.silent is not None]
    count = sum(each.neurons for each in known)
    if not count:
        return kinds
    silent = sum(each.neurons * (each.silent or 0.0) for each in known) / count
    ended = [each for each in known if each.full is not None]
    if len(ended) < len(known):
        return f"{kinds}: {silent:.0%} silent"
    full = sum(each.neurons * (each.full or 0.0) for each in ended) / count
    return f"{kinds}: {silent:.0%} silent, {full:.0%} fully firing"


def _forward_pass_in_short(told: Thought) -> str:
    answer = told.reasons.answer
    if answer.numbers:
        first = answer.numbers[0]
        value, right = number_told(first.value), number_told(first.right)
        return f"row {told.row}: {value}; right would be {right}"
    first_class = answer.classes[0]
    sure = "" if first_class.probability is None else f", {first_class.probability:.1%} sure"
    verdict = "" if answer.correct is None else f", {'right' if answer.correct else 'wrong'}"
    return f"row {told.row}: {first_class.name}{sure}{verdict}"


def _loss_in_short(told: LossTold) -> str:
    end, last, where = told.end, told.last, "last batch"
    if end is not None:
        last, where = end.loss, end.part
    parts = []
    if last is not None:
        began = [] if told.first is None else [number_told(told.first)]
        parts.append(f"{' → '.join([*began, number_told(last)])} ({where})")
    cost = told.guessing if end is None else end.guessing
    if cost is not None:
        worse = end is not None and not end.beats_guessing
        guessing = "no better than guessing" if worse else "guessing costs"
        parts.append(f"{guessing} {number_told(cost)}")
    return "; ".join(parts) or told.name


def _blame_in_short(told: BlameTold) -> str:
    shares = {each.name: each.last if each.now is None else each.now for each in told.layers}
    known = {name: share for name, share in shares.items() if share is not None}
    if not known:
        return "not known"
    if not all(map(math.isfinite, known.values())):
        return "not finite"
    most = max(known, key=lambda name: known[name])
    return f"{most} carries {known[most]:.0%} of the blame"


def _gradient_in_short(told: GradientTold) -> str:
    values = told.curve.values
    if values:
        return f"{number_told(values[0])} steep at first, {number_told(values[-1])} at last"
    return "not known" if told.now is None else f"{number_told(told.now)} steep"


def _descent_in_short(told: DescentTold) -> str:
    steps = "steps" if told.steps is None else counted(told.steps, "step")
    return steps if told.optimizer is None else f"{steps} by {told.optimizer}"


def _rate_in_short(told: RateTold) -> str:
    value = "not known" if told.value is None else number_told(told.value)
    schedule = "" if told.schedule is None else f" by {told.schedule}"
    if told.broke is not None:
        return f"{value}{schedule}; {told.broke}"
    kept = (
        ""
        if told.kept is None
        else f"; steps keep {format_percent(told.kept)} of what they promise"
    )
    return f"{value}{schedule}{kept}"


_IN_SHORT: dict[Concept, Callable[..., str]] = {
    concepts.LAYERS: _layers_in_short,
    concepts.NEURONS: _neurons_in_short,
    concepts.WEIGHTS: _weights_in_short,
    concepts.BIASES: _biases_in_short,
    concepts.ACTIVATION_FUNCTION: _activations_in_short,
    concepts.FORWARD_PASS: _forward_pass_in_short,
    concepts.LOSS_FUNCTION: _loss_in_short,
    concepts.BACKPROPAGATION: _blame_in_short,
    concepts.GRADIENT: _gradient_in_short,
    concepts.GRADIENT_DESCENT: _descent_in_short,
    concepts.LEARNING_RATE: _rate_in_short,
}

NAMED = 8

"""Numbers of neurons that are listed."""

OFF_RAMP = (
    "Off the ramp a small change changes nothing, and so a neuron learns nothing from that row."
)

FLAT = (
    "Where it is flat, its slope under a tenth of its steepest, a small change changes little, and "
    "so a neuron learns little from that row."
)

NO_ACTIVATION = (
    "None of its layers is followed by an activation that can be seen: a module of its own, such "
    "as torch.nn.ReLU(), would be; a call of torch.relu() in forward is not."
)


def layers_lines(told: Layers) -> Lines:
    """Sizes, and what each stage has understood."""
    ends = ""
    if told.inputs is not None and told.outputs is not None:
        ends = f"{counted(told.inputs, 'input')} in, {counted(told.outputs, 'output')} out: "
    yield f"{ends}{counted(len(told.layers), 'layer')} with {told.numbers:,} numbers that learn."
    known = told.measure is not None
    yield f"  {'':12}{'signals':>8}{'neurons':>9}{'numbers':>10}" + ("  readable" if known else "")
    if told.before is not None and told.inputs is not None:
        yield f"  {'inputs':<12}{told.inputs:>8,}{'':19}{told.before:>10.1%}"
    for each in told.layers:
        line = f"  {clip_text(each.name, 12):<12}{each.inputs:>8,}{each.neurons:>9,}"
        line += f"{each.numbers:>10,}"
        yield line + ("" if each.readable is None else f"{each.readable:>10.1%}")
    kinds = {each.activation for each in told.layers if each.activation is not None}
    if kinds:
        yield f"The hidden layers react by {' and '.join(sorted(kinds))}; the output adds up alone."
    if told.measure == "nearest class mean":
        yield (
            "`readable` is what each stage has understood: the share of rows, never learned from, "
            "whose signals there are nearest to the mean of their own class."
        )
    elif known:
        yield (
            "`readable` is what each stage has understood: the share of the targets' variance (R²) "
            "that the best plain sum of its signals explains, on rows never learned from."
        )


def neurons_lines(told: Neurons) -> Lines:
    """Who fires, how often and for what."""
    if not told.layers:
        yield NO_ACTIVATION
        return
    yield f"Over {told.rows:,} training rows, a hidden neuron fires, that is, answers above 0, on:"
    for each in told.layers:
        name = f"{clip_text(each.name, 14)}, {counted(each.neurons, 'neuron')}"
        yield f"  {name:<28}{each.firing_rate:6.1%} of rows  {draw_bar(each.firing_rate, 10)}"
    classes = any(each.most_for is not None for each in told.busiest)
    most = ", and the classes for which they fire most and least" if classes else ""
    yield f"The busiest{most}:"
    yield from _behaving(told.busiest)
    yield "The quietest of those that fire at all:"
    yield from _behaving(told.quietest)
    for each in told.layers:
        if each.never:
            do = "never fires" if len(each.never) == 1 else "never fire"
            yield f"Of {each.name}, {_numbered(each.never)} {do} on any of them."
        if each.always:
            do = "fires" if len(each.always) == 1 else "fire"
            yield f"Of {each.name}, {_numbered(each.always)} {do} on all of them."


def _behaving(neurons: Sequence[NeuronTold]) -> Lines:
    """How often neurons fire, how strongly, and for what."""
    classes = any(each.most_for is not None for each in neurons)
    heads = f"{'most for':>17}{'least for':>17}" if classes else f"{'mean':>8}"
    yield f"  {'':14}{'fires on':>9}{heads}"
    for each in neurons:
        line = f"  {clip_text(each.name, 14):<14}{each.firing_rate:>9.1%}"
        if not classes:
            line += f"{format_number(each.mean, 2):>8}"
        for found in (each.most_for, each.least_for):
            if found is not None:
                line += f"{clip_text(found[0], 10):>11} {format_number(found[1], 2):>5}"
        yield line


def weights_lines(told: WeightsTold) -> Lines:
    """The strongest connections, and one neuron with all it listens to."""
    for each in told.layers:
        yield (
            f"{each.name}: {counted(each.count, 'weight')} of size {format_number(each.mean_size, 3)} on "
            f"average{'. The strongest:' if each.strongest else ', in small windows.'}"
        )
        yield from _connections(each.strongest)
    if told.neuron is not None:
        yield from _listens(told.neuron, told.image_shape)


def _listens(neuron: NeuronWeights, image_shape: tuple[int, ...] | None) -> Lines:
    """One neuron and what it listens to."""
    most = f"The next layer listens most to {neuron.name}. " if neuron.heard else ""
    yield f"{most}What {neuron.name} itself listens to, and what speaks against it (░):"
    yield from _connections(neuron.strongest)
    if neuron.bias is not None:
        yield f"  {'its bias':<40}{format_number(neuron.bias, 2, sign=True):>7}"
    if image_shape is not None:
        speaks = [max(each, 0.0) for each in neuron.weights]
        against = [max(-each, 0.0) for each in neuron.weights]
        drawn = [("stirred by", draw_image(speaks, image_shape))]
        drawn += [("calmed by", draw_image(against, image_shape))]
        yield from (f"  {line}" for line in join_side_by_side(drawn, 58))


def _connections(found: Sequence[Connection]) -> Lines:
    largest = max((abs(each.weight) for each in found), default=0.0)
    for each in found:
        yield (
            f"  {connection_told(each):<40}{format_number(each.weight, 2, sign=True):>7}  "
            f"{draw_signed_bar(each.weight, largest, 8)}".rstrip()
        )


def biases_lines(told: Biases) -> Lines:
    """The jumpiest and the calmest neurons."""
    if not told.layers:
        yield "Its neurons have none: they have no tendencies of their own."
    for each in told.layers:
        yield (
            f"{each.name}: {each.jumpy:,} jumpy (above 0), {each.calm:,} calm (below), "
            f"{format_number(each.mean_size, 3)} in size on average."
        )
        rows = {"the jumpiest": each.jumpiest, "the calmest": each.calmest}
        largest = max(abs(bias) for _, bias in rows.values())
        for word, (name, bias) in rows.items() if each.jumpy + each.calm > 1 else ():
            yield (
                f"  {word:<14}{clip_text(name, 24):<26}{format_number(bias, 2, sign=True):>7}  "
                f"{draw_signed_bar(bias, largest, 8)}".rstrip()
            )


def activations_lines(told: Activations) -> Lines:
    """Settings, and where the answers fall."""
    if not told.layers:
        yield NO_ACTIVATION
        return
    for each in told.layers:
        settings = _settings(each.threshold, "threshold") + _settings(each.width, "width")
        yield f"{each.name}: {each.activation}{', '.join(['', *settings])}."
        if each.silent is None:
            continue
        shares = {"silent": each.silent}
        if each.full is None:
            shares |= {} if each.flat is None else {"flat": each.flat}
        else:
            shares |= {"on the ramp": 1 - each.silent - each.full, "fully firing": each.full}
        for word, share in shares.items():
            yield f"  {word:<14}{share:7.1%}  {draw_bar(share)}"
    if told.rows:
        ramps = all(each.full is not None for each in told.layers)
        flat = (
            "Off the ramp"
            if ramps
            else "Where it is flat (its slope under a tenth of its steepest)"
        )
        yield (
            f"Shares of all answers to {told.rows:,} training rows. {flat} a small change changes "
            f"{'nothing' if ramps else 'little'}, and so a neuron learns "
            f"{'nothing' if ramps else 'little'} from that row."
        )
    else:
        yield NO_ROWS


def _settings(ends: tuple[float, float] | None, name: str) -> list[str]:
    if ends is None:
        return []
    low, high = ends
    return [f"{name} {format_number(low)}" + ("" if low == high else f" to {format_number(high)}")]


def forward_pass_lines(told: Thought) -> Lines:
    """One row thought through, layer by layer."""
    yield f"Row {told.row} of the {told.part} rows, thought through:"
    yield f"  {'':14}{'signals':>8}{'neurons':>9}{'silent':>8}{'ramp':>6}{'full':>6}"
    for layer in told.reasons.layers:
        line = f"  {clip_text(layer.name, 14):<14}{layer.inputs:>8,}{layer.neurons:>9,}"
        if layer.silent is not None:
            line += f"{layer.silent:>8,}"
        if layer.silent is not None and layer.full is not None:
            line += f"{layer.neurons - layer.silent - layer.full:>6,}{layer.full:>6,}"
        yield line
    yield from format_prediction(told.reasons.answer)
    if told.seconds is not None:
        yield f"A batch took {format_number(told.seconds * 1000)} ms to think through in training."
    yield f"Sum by sum: brainnet explain --run RUN --row {told.row}"


def _numbered(numbers: Sequence[int]) -> str:
    shown = ", ".join(f"#{each}" for each in numbers[:NAMED])
    return shown + (f" and {len(numbers) - NAMED} more" if len(numbers) > NAMED else "")


SHORT_STEP = 0.001

"""Of the weights' own length: what a typical step is known to move them by where all is well."""


def loss_lines(told: LossTold) -> Lines:
    """The stings: of guessing, of the first batch and the last, and of the worst rows."""
    yield f"It is judged by {told.name}."
    rows = {
        "always the same answer": told.guessing,
        "the first batch, untrained": told.first,
        "the last batch looked at": told.last,
        "a typical row, never learned": told.typical,
    }
    rows |= {tag: value for tag, value in told.metrics.items() if tag.startswith("loss/")}
    known = {word: value for word, value in rows.items() if value is not None}
    largest = max(known.values(), default=0.0)
    for word, value in known.items():
        share = value / largest if largest > 0 else 0.0
        yield f"  {word:<29}{format_number(value):>9}  {draw_bar(share, 16)}"
    end = told.end
    if end is not None and end.guessing is not None and not end.beats_guessing:
        yield (
            f"{end.tag} ended at {number_told(end.loss)}, no better than guessing: always the "
            f"same answer costs {number_told(end.guessing)} on these rows."
        )
    yield from _drawn(told.curve, "the loss of the batches")
    scores = [
        f"{tag} {format_number(v)}" for tag, v in told.metrics.items() if not tag.startswith("loss")
    ]
    if scores:
        yield f"At the end: {', '.join(scores)}."
    if told.worst and told.worst_share is not None:
        yield (
            f"Of the rows it never learned from, these {len(told.worst)} sting most; they have "
            f"{told.worst_share:.0%} of all the sting:"
        )
        for each in told.worst:
            yield f"  {f'row {each.row}, {each.part}':<29}{format_number(each.loss):>9}"
        yield f"Why: brainnet explain --run RUN --row {told.worst[0].row}"
    if not told.worst:
        yield NO_ROWS


def blame_lines(told: BlameTold) -> Lines:
    """Each layer's share of the blame, and the weights that carry most."""
    if told.layers:
        yield "Each layer's share of the blame: at the first look, at the last, and as it is now:"
        yield f"  {'':14}{'first':>8}{'last':>8}{'now':>8}"
        for each in told.layers:
            cells = "".join(_share(value) for value in (each.first, each.last, each.now))
            now = each.last if each.now is None else each.now
            yield f"  {clip_text(each.name, 14):<14}{cells}  {draw_bar(now or 0.0, 16)}"
    if not told.rows:
        yield NO_ROWS
        return
    yield (
        f"Now is on {told.rows:,} training rows together, with a loss of {format_number(told.loss)}. The "
        "weights with the largest part in it:"
    )
    for weight in told.weights:
        yield f"  {connection_told(weight):<40}{weight.blame:7.2%}"


def _share(value: float | None) -> str:
    return f"{'':8}" if value is None else f"{value:8.1%}"


def gradient_lines(told: GradientTold) -> Lines:
    """How steep it was and is, and which way is down."""
    yield from _drawn(told.curve, "how steep it was")
    if told.layers:
        yield "Layer by layer: at the first look, at the last, and as it is now:"
        yield f"  {'':14}{'first':>10}{'last':>10}{'now':>10}"
        for each in told.layers:
            found = [each.first, each.last, each.now]
            cells = "".join(
                f"{'' if value is None else format_number(value):>10}" for value in found
            )
            yield f"  {clip_text(each.name, 14):<14}{cells}".rstrip()
    if told.now is None:
        yield NO_ROWS
        return
    yield (
        f"Now is the slope of the loss on {told.rows:,} training rows together: "
        f"{format_number(told.now)} steep. The steepest weights, and which way is down:"
    )
    for weight in told.weights:
        down = "lower" if weight.gradient > 0 else "higher"
        yield f"  {connection_told(weight):<39}{format_number(weight.gradient, sign=True):>11}  {down}"


def descent_lines(told: DescentTold) -> Lines:
    """How many steps, how far each went, and what they brought."""
    epochs = "" if told.epochs is None else f" in {counted(told.epochs, 'epoch')}"
    steps = "An unknown number of steps" if told.steps is None else counted(told.steps, "step")
    by = "" if told.optimizer is None else f", taken by {told.optimizer}"
    yield f"{steps} downhill{epochs}{by}."
    if told.layers:
        yield "How far a typical step moved the weights, as a share of their own length:"
        largest = max(each.update_ratio for each in told.layers)
        for each in told.layers:
            share = each.update_ratio / largest if largest > 0 else 0.0
            moved = format_percent(each.update_ratio, 3)
            yield f"  {clip_text(each.name, 14):<14}{moved:>9}  {draw_bar(share, 16)}"
        yield "About 0.1% is usual: far less hardly learns, far more tears down what was learned."
    if told.promised is None or told.kept is None or told.downhill is None:
        yield NO_READINGS
        return
    yield (
        f"Of the {counted(told.looks, 'step')} looked at closely, {told.downhill:.0%} led "
        "downhill. All together, on their own rows:"
    )
    yield f"  {'the slope promised':<28}{number_told(told.promised):>10}"
    yield f"  {'the loss fell by':<28}{number_told(told.kept):>10}"


def rate_lines(told: RateTold) -> Lines:
    """The size of the step, and whether it suits the ground."""
    given = "is not known" if told.value is None else f"is {format_number(told.value)}"
    stays = "stays as it is" if told.schedule is None else f"follows {told.schedule}"
    yield f"The learning rate {given} and {stays}."
    values = told.curve.values
    if values and min(values) != max(values):
        yield from _drawn(told.curve, "the learning rate")
    if told.update_ratio is not None:
        far = f"by {format_percent(told.update_ratio, 2)} of their length"
        beyond = "further than numbers go"
        yield (
            "At that, a typical step moved the weights "
            f"{far if math.isfinite(told.update_ratio) else beyond}."
        )
    if told.broke is None and (told.kept is None or told.overshot is None):
        yield NO_READINGS
        return
    brought = []
    if told.kept is not None:
        brought.append(
            f"a typical step brought {format_percent(told.kept)} of what the slope promised"
        )
    if told.overshot is not None:
        beyond = "" if told.broke is None else ", or at no number at all"
        brought.append(
            f"{told.overshot:.0%} of the steps looked at ended higher than they began{beyond}"
        )
    if brought:
        yield f"{_sentence(', and '.join(brought))}. {_verdict(told)}"
    else:
        yield _verdict(told)


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _verdict(told: RateTold) -> str:
    """What the promises kept say of the size of the step."""
    if told.broke is not None:
        return f"{_sentence(told.broke)}: try a smaller step."
    kept, overshot = told.kept or 0.0, told.overshot or 0.0
    if overshot > 0.25 or kept < 0.25:
        return "It overshoots: try a smaller one."
    if kept > 0.9 and overshot < 0.1 and (told.update_ratio or 1.0) < SHORT_STEP:
        return "The ground was as straight as it looked, and the steps short: try a larger one."
    return "The steps suit the ground."


def _drawn(curve: Curve, name: str) -> Lines:
    """A curve, with where it begins and ends."""
    if len(curve.values) < 2:
        return
    ends = f"{format_number(curve.values[0])} → {format_number(curve.values[-1])}"
    yield f"  {draw_sparkline(curve.values)}  {ends}"
    first, last = curve.steps[0], curve.steps[-1]
    yield f"That is {name}, at {len(curve.steps)} steps from {first:,} to {last:,}."


_TELLERS: dict[Concept, Callable[..., Lines]] = {
    concepts.LAYERS: layers_lines,
    concepts.NEURONS: neurons_lines,
    concepts.WEIGHTS: weights_lines,
    concepts.BIASES: biases_lines,
    concepts.ACTIVATION_FUNCTION: activations_lines,
    concepts.FORWARD_PASS: forward_pass_lines,
    concepts.LOSS_FUNCTION: loss_lines,
    concepts.BACKPROPAGATION: blame_lines,
    concepts.GRADIENT: gradient_lines,
    concepts.GRADIENT_DESCENT: descent_lines,
    concepts.LEARNING_RATE: rate_lines,
}


def format_report(concept: Concept, told: Any) -> tuple[str, ...]:
    """Tell what `PORTRAYED[concept]` found.

    Lines that begin with a space are drawings and sums, at most 60 characters wide; the others are
    prose, to be wrapped to any width.
    """
    return (NO_ROWS,) if told is None else tuple(_TELLERS[concept](told))


def report_concept(subject: RunData, concept: Concept) -> Explanation:
    """Explain a concept with a run's own numbers."""
    lines = format_report(concept, REPORT_BUILDERS[concept](subject))
    named = tuple(line.replace("--run RUN", f"--run {subject.facts.name}") for line in lines)
    title = f"{concept.name} of {subject.facts.name}"
    return Explanation(title, concept, (concept.definition,), named)


def summarize_run(subject: RunData) -> Explanation:
    """All concepts with a run's own numbers, in a line each."""
    facts, sections = subject.facts, []
    for group in GROUPS:
        members = [concept for concept in CONCEPTS if concept.group == group]
        lines = [
            f"  {each.name:20} {in_short(each, REPORT_BUILDERS[each](subject))}" for each in members
        ]
        sections.append(Section(f"The {group}", tuple(lines)))
    weights = "" if facts.checkpoint is None else f"; its weights are those of {facts.checkpoint}"
    text = (f"What {facts.name} has to say of itself{weights}.",)
    return Explanation(facts.name, None, text, (), tuple(sections))
