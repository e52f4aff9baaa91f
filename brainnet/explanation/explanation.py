"""Explanations of a concept, a neuron, a layer, a network or a forward pass."""

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, cast

from brainnet import concepts
from brainnet.concepts import CONCEPTS, GROUPS, Concept, find_concept
from brainnet.explanation.worked_example_text import (
    STORY,
    describe_concept,
    draw_bar,
    format_number,
)

if TYPE_CHECKING:
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
    return f"{format_number(bias, 3)}, {word}"


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
        yield f"  input {i:<5} weight {format_number(weight, 3):>7}  {draw_bar(abs(weight) / largest)}"
    tendency = "none" if bias is None else _tendency(bias.item())
    answer = neuron(weights.new_zeros(1, inputs)).item()
    yield f"Its bias: {tendency}. When no signal comes in at all it answers {format_number(answer, 3)}."


def _layer(layer: "Layer") -> Iterator[str]:
    """The sizes of a layer, its strongest connection, its jumpiest and its calmest neuron."""
    weights = layer.weights.value.detach()
    learned = sum(parameter.numel() for parameter in layer.parameters())
    yield (
        f"It has {_count(layer.inputs, 'input')} and {_count(layer.neurons, 'neuron')}, and "
        f"{learned:,} numbers that learn."
    )
    neuron, source = divmod(int(weights.abs().argmax()), layer.inputs)
    strongest = format_number(weights[neuron, source].item(), 3)
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
        f"{format_number(answer[largest].item(), 3)}."
    )


def _layer_pass(layer: "LayerPass") -> Iterator[str]:
    output = _first_row(layer.output)
    yield f"  {layer.name}, {_count(len(output), 'neuron')}{_reactions(layer, output)}"
    loudest = int(output.argmax())
    yield f"    neuron {loudest} answers most, {format_number(output[loudest].item(), 3)}"
    looked_up = getattr(layer.info.module, "concept", None) is concepts.WEIGHTS  # no sum at all
    dense = layer.info.weights.ndim == 2 and layer.inputs.ndim <= 2  # and one row is one sum
    if dense and not looked_up:
        yield f"      its sum: {_sum(layer, loudest)}"


def _reactions(layer: "LayerPass", output: "Tensor") -> str:
    """How many neurons keep quiet and how many fire, where there is an activation at all."""
    if layer.output is layer.pre_activation:
        return ""
    quiet, firing = int((output == 0).sum()), int((output != 0).sum())
    if getattr(layer.info.activation, "concept", None) is concepts.ACTIVATION_FUNCTION:
        full, between = int((output == 1).sum()), int(((output > 0) & (output < 1)).sum())
        return f": {quiet} quiet, {between} on the ramp, {full} fully firing"
    return f": {quiet} quiet, {firing} answering"


def _sum(layer: "LayerPass", neuron: int) -> str:
    """The sum of one neuron: its two largest products, the others together, and the bias."""
    place = layer.info
    products = place.weights[neuron].detach() * _first_row(layer.inputs)
    largest = products.abs().argsort(descending=True, stable=True)[:2].tolist()
    total = _first_row(layer.pre_activation)[neuron].item()
    bias = 0.0 if place.bias is None else place.bias[neuron].item()
    others = total - bias - sum(products[i].item() for i in largest)
    terms = [f"{format_number(products[i].item())} (input {i})" for i in largest]
    terms += [f"{format_number(others)} (others)"] if len(products) > len(largest) else []
    terms += [] if place.bias is None else [f"{format_number(bias)} (bias)"]
    return f"{' + '.join(terms)} = {format_number(total)}".replace("+ -", "- ")


def _first_row(values: "Tensor") -> "Tensor":
    """The numbers of the first row, whatever shape the batch has."""
    values = values.detach()
    return values if values.ndim == 1 else values[0].flatten()


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


WIDTH = 80

IN_SHORT: dict[Concept, str] = {
    concepts.LAYERS: "stages: taking in, recognising, understanding",
    concepts.NEURONS: "collect signals and fire when these are strong enough",
    concepts.WEIGHTS: "how much attention each signal gets",
    concepts.BIASES: "a tendency of its own: jumpy or calm",
    concepts.ACTIVATION_FUNCTION: "the threshold for reacting",
    concepts.FORWARD_PASS: "thinking: signals in, answer out",
    concepts.LOSS_FUNCTION: "the sting of being wrong",
    concepts.BACKPROPAGATION: "tracing the blame",
    concepts.GRADIENT: "the slope underfoot, on a hill in fog",
    concepts.GRADIENT_DESCENT: "stepping downhill, again and again",
    concepts.LEARNING_RATE: "the size of the step",
}


@dataclass(frozen=True, slots=True)
class Section:
    """A part of an explanation under a heading of its own; `lines` are as in `Explanation`."""

    heading: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Explanation:
    """What there is to say about one thing; `print` shows it, and so does a notebook.

    Attributes:
        title: what is explained.
        concept: the concept that it is or embodies; None for the overview of all.
        text: the explanation in prose, one string per paragraph.
        lines: the numbers: a line that begins with a space is set as it stands, others are prose.
        sections: more of them, under headings.
    """

    title: str
    concept: Concept | None
    text: tuple[str, ...]
    lines: tuple[str, ...]
    sections: tuple[Section, ...] = ()

    def __str__(self) -> str:
        """The explanation as plain text, at most 80 characters wide."""
        lines = [self.title, "─" * len(self.title)]
        lines += [line for part in self.text for line in ("", *wrap_text(part))]
        lines += ["", *wrap_text(*self.lines)] if self.lines else []
        for section in self.sections:
            lines += ["", section.heading, *wrap_text(*section.lines)]
        return "\n".join(lines)

    __repr__ = __str__

    def markdown(self) -> str:
        """The same as Markdown, with the numbers in code blocks."""
        parts = [f"### {self.title}", *self.text, *_in_markdown(self.lines)]
        for section in self.sections:
            parts += [f"#### {section.heading}", *_in_markdown(section.lines)]
        return "\n\n".join(parts)

    _repr_markdown_ = markdown  # what a notebook asks for


def explain(
    thing: object = None,
    concept: str | Concept | None = None,
    *,
    row: Any = None,
) -> Explanation:
    """Tell what something is, in words and numbers.

    Args:
        thing: the name of a concept, as in `explain("weights")`; a neuron, a layer, a network, a
            forward pass (`explain(network.trace(inputs))`) or anything else that embodies a
            concept, with numbers of its own; a trained network (`brainnet.load(RUN)`); None for all
            eleven concepts.
        concept: of a trained network: one of the eleven, with the numbers of its run.
        row: of a trained network: why this row got its answer. The number of a row of the run's
            data, from 0, or a raw row: a list of values, a mapping of columns, a DataFrame.

    Raises:
        InputError: no concept has that name, or there is no such row.
        TypeError: the thing embodies no concept, or knows no rows.

    Example:
        >>> explain("learning rate").text[0]
        'The size of the step. Too big, and you overshoot the valley and panic from one ...
        >>> print(explain("loss").lines[1])
          loss = -ln 0.214 = 1.543
    """
    own = getattr(thing, "explanation", None)
    if callable(own) and not isinstance(thing, type):
        told: Explanation = own(concept, row=row)
        return told
    if concept is not None or row is not None:
        raise TypeError(
            "concept and row are asked of a trained network: explain(brainnet.load(RUN), row=3); "
            f"got {type(thing).__name__}."
        )
    if thing is None:
        return _overview()
    if isinstance(thing, str):
        return _explain_concept(find_concept(thing))
    if isinstance(thing, Concept):
        return _explain_concept(thing)
    embodied = getattr(thing, "concept", None)
    if not isinstance(embodied, Concept):
        raise TypeError(
            "explain tells of a concept's name, a neuron, a layer, a network, a forward pass, a "
            f"trained network or another part of brainnet; got {type(thing).__name__}. For a model "
            "of another make, explain its forward pass: "
            "explain(brainnet.structure.forward_pass.trace(model, x))."
        )
    if isinstance(thing, type):
        return _explain_concept(embodied)
    return Explanation(
        title_of(thing, embodied),
        embodied,
        (embodied.definition,),
        tuple(lines_of(thing, embodied)),
    )


def wrap_text(*lines: str, width: int = WIDTH) -> list[str]:
    """Prose broken to a width; lines that begin with a space stay as they are.

    Example:
        >>> wrapped("one two three", "  1 + 2 = 3", width=8)
        ['one two', 'three', '  1 + 2 = 3']
    """
    broken = []
    for line in lines:
        broken += (
            [line] if _stands(line) else textwrap.wrap(line, width, break_on_hyphens=False) or [""]
        )
    return broken


def _in_markdown(lines: tuple[str, ...]) -> Iterator[str]:
    """Prose as it is, and what is set as it stands in code blocks."""
    for as_it_stands, part in groupby(lines, key=_stands):
        if as_it_stands:
            block = textwrap.dedent("\n".join(part))
            yield f"```\n{block}\n```"
        else:
            yield " ".join(part)


def _stands(line: str) -> bool:
    return line.startswith(" ")


def _overview() -> Explanation:
    lines: list[str] = []
    for group in GROUPS:
        members = [concept for concept in CONCEPTS if concept.group == group]
        lines += [f"The {group}:"]
        lines += [f"  {concept.name:20} {IN_SHORT[concept]}" for concept in members]
    told = (
        "A neural network, explained by what a brain does: six things it is made of, and five "
        'by which it learns. explain("weights") tells more.'
    )
    return Explanation("brainnet", None, (told,), tuple(lines))


def _explain_concept(concept: Concept) -> Explanation:
    text = (
        concept.analogy,
        concept.definition,
        f"In mathematics: {concept.formula}",
        f"In code: {concept.home}",
        f"To read: {concept.reference}",
        f"For example: {STORY}",
    )
    return Explanation(concept.name, concept, text, describe_concept(concept))
