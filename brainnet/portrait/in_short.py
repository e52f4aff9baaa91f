"""In short: each concept of a run in a few words."""

import math
from collections.abc import Callable
from typing import Any

from brainnet import concepts
from brainnet.concepts import Concept
from brainnet.figures import percent
from brainnet.portrait.blame import BlameTold, GradientTold
from brainnet.portrait.descent import DescentTold, RateTold
from brainnet.portrait.layers import Layers
from brainnet.portrait.loss import LossTold
from brainnet.portrait.neurons import Activations, Neurons
from brainnet.portrait.portrait import Thought
from brainnet.portrait.weights import Biases, WeightsTold
from brainnet.portrait.words import connection_told, counted, number_told


def in_short(concept: Concept, told: Any) -> str:  # noqa: ANN401 - of PORTRAYED
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
    kept = "" if told.kept is None else f"; steps keep {percent(told.kept)} of what they promise"
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
