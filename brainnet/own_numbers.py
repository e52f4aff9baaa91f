"""Own numbers: a live neuron, layer, network or thought told in the numbers that it has."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, cast

from brainnet import concepts
from brainnet.concepts import Concept
from brainnet.telling import bar, number

if TYPE_CHECKING:  # a part is asked for what it has: explaining a concept imports no torch
    from torch import Tensor

    from brainnet.structure.forward_pass import ForwardPass, LayerPass
    from brainnet.structure.layer import Layer
    from brainnet.structure.network import Network
    from brainnet.structure.neuron import Neuron

STRONGEST = 5  # connections told of one neuron


def title_of(part: object, concept: Concept) -> str:
    """What a live object is called: a neuron by its number, a layer by its name."""
    if concept is concepts.NEURONS:
        return f"neuron {cast('Neuron', part).index}"
    if concept is concepts.LAYERS:
        return "network" if hasattr(part, "layers") else cast("Layer", part).name
    return concept.name if concept is concepts.FORWARD_PASS else type(part).__name__


def lines_of(part: object, concept: Concept) -> Iterable[str]:
    """The numbers of a live object that embodies a concept; lines as in `Explanation`."""
    if concept is concepts.NEURONS:
        return _neuron(cast("Neuron", part))
    if concept is concepts.LAYERS and hasattr(part, "layers"):
        return _network(cast("Network", part))
    if concept is concepts.LAYERS:
        return _layer(cast("Layer", part))
    if concept is concepts.FORWARD_PASS:
        return _thought(cast("ForwardPass", part))
    return [f"  {line}" for line in str(part).splitlines()]


def _tendency(bias: float) -> str:
    """A bias in a word."""
    word = "jumpy" if bias > 0 else "calm" if bias < 0 else "without a tendency"
    return f"{number(bias, 3)}, {word}"


def _neuron(neuron: "Neuron") -> Iterator[str]:
    """The connections a neuron listens to most, its bias, and what it says to silence."""
    weights, bias = neuron.weights.detach(), neuron.bias
    inputs = len(weights)
    strongest = weights.abs().argsort(descending=True, stable=True)[:STRONGEST].tolist()
    largest = abs(weights[strongest[0]].item()) or 1.0  # every weight may be zero
    most = "" if inputs <= STRONGEST else f"; the {STRONGEST} it listens to most"
    yield f"It has {_count(inputs, 'input')}{most}:"
    for i in strongest:
        weight = weights[i].item()
        yield f"  input {i:<5} weight {number(weight, 3):>7}  {bar(abs(weight) / largest)}"
    tendency = "none" if bias is None else _tendency(bias.item())
    answer = neuron(weights.new_zeros(1, inputs)).item()
    yield f"Its bias: {tendency}. When no signal comes in at all it answers {number(answer, 3)}."


def _layer(layer: "Layer") -> Iterator[str]:
    """The sizes of a layer, its strongest connection, its jumpiest and its calmest neuron."""
    weights = layer.weights.value.detach()
    learned = sum(parameter.numel() for parameter in layer.parameters())
    yield (
        f"It has {_count(layer.inputs, 'input')} and {_count(layer.neurons, 'neuron')}, and "
        f"{learned:,} numbers that learn."
    )
    neuron, source = divmod(int(weights.abs().argmax()), layer.inputs)
    strongest = number(weights[neuron, source].item(), 3)
    yield f"  strongest connection  input {source} → neuron {neuron}, weight {strongest}"
    if layer.bias is None:
        yield "  no biases"
        return
    biases = layer.bias.value.detach()
    for title, index in (("highest bias", biases.argmax()), ("lowest bias", biases.argmin())):
        yield f"  {title:20}  neuron {int(index)}, {_tendency(biases[index].item())}"


def _network(network: "Network") -> Iterator[str]:
    """Every layer with its sizes."""
    total = sum(parameter.numel() for parameter in network.parameters())
    sizes = " → ".join(map(str, network.sizes))
    yield f"From the senses to the answer {sizes} cells, with {total:,} numbers that learn:"
    for embedding in network.embeddings or ():
        yield (
            f"  {embedding.name:10} {_count(embedding.codes, 'code')} looked up → "
            f"{_count(embedding.neurons, 'signal')}, {embedding.value.numel():,} numbers"
        )
    for layer in cast("list[Layer]", network.layers):
        learned = sum(parameter.numel() for parameter in layer.parameters())
        yield (
            f"  {layer.name:10} {_count(layer.inputs, 'input')} → "
            f"{_count(layer.neurons, 'neuron')}, {learned:,} numbers"
        )


def _thought(thought: "ForwardPass") -> Iterator[str]:
    """How each layer reacted to the first row, and how its loudest neuron came to its answer."""
    rows = len(thought.inputs) if thought.inputs.ndim > 1 else 1
    if rows == 0:
        yield "No row came in."
        return
    if rows > 1:
        yield f"The first of {rows} rows:"
    for layer in thought.layers:
        yield from _layer_pass(layer)
    answer = _first_row(thought.output)
    largest = int(answer.argmax())
    yield (
        f"The answer has {_count(len(answer), 'number')}; the largest is number {largest}, "
        f"{number(answer[largest].item(), 3)}."
    )


def _layer_pass(layer: "LayerPass") -> Iterator[str]:
    output = _first_row(layer.output)
    yield f"  {layer.name}, {_count(len(output), 'neuron')}{_reactions(layer, output)}"
    loudest = int(output.argmax())
    yield f"    neuron {loudest} answers most, {number(output[loudest].item(), 3)}"
    looked_up = getattr(layer.place.module, "concept", None) is concepts.WEIGHTS  # no sum at all
    dense = layer.place.weights.ndim == 2 and layer.inputs.ndim <= 2  # and one row is one sum
    if dense and not looked_up:
        yield f"      its sum: {_sum(layer, loudest)}"


def _reactions(layer: "LayerPass", output: "Tensor") -> str:
    """How many neurons keep quiet and how many fire, where there is an activation at all."""
    if layer.output is layer.pre_activation:
        return ""
    quiet, firing = int((output == 0).sum()), int((output != 0).sum())
    if getattr(layer.place.activation, "concept", None) is concepts.ACTIVATION_FUNCTION:
        full, between = int((output == 1).sum()), int(((output > 0) & (output < 1)).sum())
        return f": {quiet} quiet, {between} on the ramp, {full} fully firing"
    return f": {quiet} quiet, {firing} answering"


def _sum(layer: "LayerPass", neuron: int) -> str:
    """The sum of one neuron: its two largest products, the others together, and the bias."""
    place = layer.place
    products = place.weights[neuron].detach() * _first_row(layer.inputs)
    largest = products.abs().argsort(descending=True, stable=True)[:2].tolist()
    total = _first_row(layer.pre_activation)[neuron].item()
    bias = 0.0 if place.bias is None else place.bias[neuron].item()
    others = total - bias - sum(products[i].item() for i in largest)
    terms = [f"{number(products[i].item())} (input {i})" for i in largest]
    terms += [f"{number(others)} (others)"] if len(products) > len(largest) else []
    terms += [] if place.bias is None else [f"{number(bias)} (bias)"]
    return f"{' + '.join(terms)} = {number(total)}".replace("+ -", "- ")


def _first_row(values: "Tensor") -> "Tensor":
    """The numbers of the first row, whatever shape the batch has."""
    values = values.detach()
    return values if values.ndim == 1 else values[0].flatten()


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
