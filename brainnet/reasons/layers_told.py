"""Layers told: a row's way through each layer, neuron by neuron and term by term."""

from collections.abc import Iterator

from brainnet.figures import clipped, digits_for, figure
from brainnet.reasons.reasons import Reasons
from brainnet.reasons.sums import LayerSteps, NeuronSum


def heading_of(layer: LayerSteps) -> str:
    """A layer, with how its neurons react."""
    if layer.activation is None or layer.silent is None:
        sums = f"{layer.neurons:,} sum{'s' * (layer.neurons != 1)}"
        return f"{layer.name}: {sums} of {layer.inputs:,} signals"
    rest = layer.neurons - layer.silent - (layer.full or 0)
    words = [f"{layer.silent:,} silent"]
    words += [f"{rest:,} {'answering' if layer.full is None else 'on the ramp'}"]
    words += [] if layer.full is None else [f"{layer.full:,} fully firing"]
    return f"{layer.name}: {layer.neurons:,} neurons, {', '.join(words)}"


def layer_lines(layer: LayerSteps, reasons: Reasons) -> Iterator[str]:
    """The sums of the neurons that carried most, or of the answers that compete."""
    if layer.untold is not None:
        yield f"{layer.untold[0].upper()}{layer.untold[1:]}."
    score = reasons.score
    digits = digits_for([score.value, score.start])
    last = layer is reasons.layers[-1]
    for each in layer.shown:
        if last:
            role = role_of(each.name, reasons)
            yield f"  {clipped(each.name, 22)}{role and f', {role}'}"
        else:
            fires = f"{each.name}  {figure(each.before, 2)} → {figure(each.output, 2)}"
            carried = f"carried {figure(each.carried, digits, sign=True)}"
            yield f"  {clipped(fires, 38):<39}{carried:>17}"
        yield from sum_lines(each)
        if last and score.factor not in (None, 1.0):
            sum_of = f"· {figure(score.factor)} + {figure(score.shift)} = {figure(score.value)}"
            told = f"in units of {clipped(each.name, 15)}"
            yield f"    {told:<29}{sum_of.replace('+ -', '- '):>21}"


def role_of(name: str, reasons: Reasons) -> str:
    """What one of the answers is in the competition."""
    score, right = reasons.score, reasons.answer.right
    if score.rival is not None and len(reasons.answer.outputs) == 1:
        other = score.rival if name == score.answer else score.answer
        return f"where it is above 0; below, {clipped(other, 16)}"
    if score.rival is None or name not in (score.answer, score.rival):
        return ""
    if name == right:
        return "its answer, and right" if name == score.answer else "the right one"
    return "its answer" if name == score.answer else "which came second"


def sum_lines(neuron: NeuronSum) -> Iterator[str]:
    """The sum of one neuron, term by term."""
    digits = digits_for([each.product for each in neuron.terms] + [neuron.total])
    for term in neuron.terms:
        signal, weight = figure(term.signal, 2), figure(term.weight, 2)
        yield (
            f"    {clipped(term.source, 20):<20}{signal:>9} · {weight:>6} = "
            f"{figure(term.product, digits, sign=True):>9}"
        )
    if neuron.others:
        name = f"and {neuron.others:,} more"
        yield f"    {name:<41}{figure(neuron.others_sum, digits, sign=True):>9}"
    if neuron.bias is not None:
        yield f"    {'bias':<41}{figure(neuron.bias, digits, sign=True):>9}"
    yield f"    {'sum':<41}{figure(neuron.total, digits, sign=True):>9}"
    if abs(neuron.stirred - neuron.total) > 1e-3 * max(1.0, abs(neuron.total)):
        yield f"    {'which a normalisation turns into':<41}{figure(neuron.stirred, digits):>9}"
