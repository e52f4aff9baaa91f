"""What a trained network is, in words and tables: the structural primitives of a run."""

from collections.abc import Sequence

from brainnet.figures import clipped, figure, picture, side_by_side, signed_bar
from brainnet.portrait.layers import Layers
from brainnet.portrait.neurons import Activations, Neurons, NeuronTold
from brainnet.portrait.portrait import Thought
from brainnet.portrait.weights import Biases, Connection, NeuronWeights, WeightsTold
from brainnet.portrait.words import NO_ROWS, Lines, connection_told, counted
from brainnet.reasons.telling import answer_lines
from brainnet.telling import bar

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
        line = f"  {clipped(each.name, 12):<12}{each.inputs:>8,}{each.neurons:>9,}"
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
        name = f"{clipped(each.name, 14)}, {counted(each.neurons, 'neuron')}"
        yield f"  {name:<28}{each.firing_rate:6.1%} of rows  {bar(each.firing_rate, 10)}"
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
        line = f"  {clipped(each.name, 14):<14}{each.firing_rate:>9.1%}"
        if not classes:
            line += f"{figure(each.mean, 2):>8}"
        for found in (each.most_for, each.least_for):
            if found is not None:
                line += f"{clipped(found[0], 10):>11} {figure(found[1], 2):>5}"
        yield line


def weights_lines(told: WeightsTold) -> Lines:
    """The strongest connections, and one neuron with all it listens to."""
    for each in told.layers:
        yield (
            f"{each.name}: {counted(each.count, 'weight')} of size {figure(each.mean_size, 3)} on "
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
        yield f"  {'its bias':<40}{figure(neuron.bias, 2, sign=True):>7}"
    if image_shape is not None:
        speaks = [max(each, 0.0) for each in neuron.weights]
        against = [max(-each, 0.0) for each in neuron.weights]
        drawn = [("stirred by", picture(speaks, image_shape))]
        drawn += [("calmed by", picture(against, image_shape))]
        yield from (f"  {line}" for line in side_by_side(drawn, 58))


def _connections(found: Sequence[Connection]) -> Lines:
    largest = max((abs(each.weight) for each in found), default=0.0)
    for each in found:
        yield (
            f"  {connection_told(each):<40}{figure(each.weight, 2, sign=True):>7}  "
            f"{signed_bar(each.weight, largest, 8)}".rstrip()
        )


def biases_lines(told: Biases) -> Lines:
    """The jumpiest and the calmest neurons."""
    if not told.layers:
        yield "Its neurons have none: they have no tendencies of their own."
    for each in told.layers:
        yield (
            f"{each.name}: {each.jumpy:,} jumpy (above 0), {each.calm:,} calm (below), "
            f"{figure(each.mean_size, 3)} in size on average."
        )
        rows = {"the jumpiest": each.jumpiest, "the calmest": each.calmest}
        largest = max(abs(bias) for _, bias in rows.values())
        for word, (name, bias) in rows.items() if each.jumpy + each.calm > 1 else ():
            yield (
                f"  {word:<14}{clipped(name, 24):<26}{figure(bias, 2, sign=True):>7}  "
                f"{signed_bar(bias, largest, 8)}".rstrip()
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
            yield f"  {word:<14}{share:7.1%}  {bar(share)}"
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
    return [f"{name} {figure(low)}" + ("" if low == high else f" to {figure(high)}")]


def forward_pass_lines(told: Thought) -> Lines:
    """One row thought through, layer by layer."""
    yield f"Row {told.row} of the {told.part} rows, thought through:"
    yield f"  {'':14}{'signals':>8}{'neurons':>9}{'silent':>8}{'ramp':>6}{'full':>6}"
    for layer in told.reasons.layers:
        line = f"  {clipped(layer.name, 14):<14}{layer.inputs:>8,}{layer.neurons:>9,}"
        if layer.silent is not None:
            line += f"{layer.silent:>8,}"
        if layer.silent is not None and layer.full is not None:
            line += f"{layer.neurons - layer.silent - layer.full:>6,}{layer.full:>6,}"
        yield line
    yield from answer_lines(told.reasons.answer)
    if told.seconds is not None:
        yield f"A batch took {figure(told.seconds * 1000)} ms to think through in training."
    yield f"Sum by sum: brainnet explain --run RUN --row {told.row}"


def _numbered(numbers: Sequence[int]) -> str:
    shown = ", ".join(f"#{each}" for each in numbers[:NAMED])
    return shown + (f" and {len(numbers) - NAMED} more" if len(numbers) > NAMED else "")
