"""Explanations of a concept, a neuron, a layer, a network or a forward pass."""

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from brainnet import concepts
from brainnet.concepts import CONCEPTS, GROUPS, Concept, find_concept
from brainnet.explanation.formatting import draw_bar, format_number
from brainnet.explanation.worked_example import STORY, describe_concept

if TYPE_CHECKING:
    from brainnet.structure.layer import Layer
    from brainnet.structure.neuron import Neuron

_MAX_INPUTS = 5

IN_SHORT: dict[Concept, str] = {
    concepts.LAYERS: "stages: taking in, recognizing, understanding",
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
"""Each concept in a few words."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of an explanation with a heading, and lines as in `Explanation`."""

    heading: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Explanation:
    """An explanation, which `print` displays.

    Attributes:
        title: what is explained.
        concept: the concept that it belongs to; None for the overview of all concepts.
        text: prose, one string per paragraph.
        lines: numbers. Lines that begin with a space are preformatted, others are prose.
        sections: further lines with headings.
    """

    title: str
    concept: Concept | None
    text: tuple[str, ...]
    lines: tuple[str, ...]
    sections: tuple[Section, ...] = ()

    def __str__(self) -> str:
        """The explanation as plain text, at most 80 characters wide."""
        return self.to_text()

    # What notebooks display.
    __repr__ = __str__

    def to_text(self, width: int = 80) -> str:
        """Convert to plain text, with prose wrapped to a width."""
        lines = [self.title, "─" * len(self.title)]
        lines += [line for part in self.text for line in ("", *wrap_text(part, width=width))]
        lines += ["", *wrap_text(*self.lines, width=width)] if self.lines else []
        for section in self.sections:
            lines += ["", section.heading, *wrap_text(*section.lines, width=width)]
        return "\n".join(lines)


def explain(
    thing: object = None, concept: str | Concept | None = None, *, row: Any = None
) -> Explanation:
    """Explain a concept, a part of a network, or a trained network.

    Args:
        thing: the name of a concept; a neuron, a layer, a network, a forward pass
            (`explain(network.trace(inputs))`) or another object with a concept, to explain its
            numbers; a trained network (`brainnet.load(RUN)`); or None for all concepts.
        concept: for a trained network: the concept to explain with the numbers of its run.
        row: for a trained network: the row whose prediction is explained. An index of the run's
            data, or a raw row: a list of values, a mapping of columns, a DataFrame.

    Raises:
        InputError: unknown concept, or the row does not exist.
        TypeError: the object has no concept, or no rows.

    Example:
        >>> explain("learning rate").text[0]
        'The size of the step. Too big, and you overshoot the valley and panic from one ...
        >>> print(explain("loss").lines[1])
          loss = -ln 0.214 = 1.543
    """
    method = getattr(thing, "explain", None)
    # Not isinstance: importing `TrainedModel` would import torch.
    if callable(method) and not isinstance(thing, type):
        explanation: Explanation = method(concept, row=row)
        return explanation
    if concept is not None or row is not None:
        raise TypeError(
            "concept and row need a trained network: explain(brainnet.load(RUN), row=3); got "
            f"{type(thing).__name__}."
        )
    if thing is None:
        return _build_overview()
    if isinstance(thing, str | Concept):
        return _explain_concept(find_concept(thing) if isinstance(thing, str) else thing)
    own_concept = getattr(thing, "concept", None)
    if not isinstance(own_concept, Concept):
        raise TypeError(
            "explain needs the name of a concept, a neuron, a layer, a network, a forward pass or "
            f"a trained network; got {type(thing).__name__}. For another model, explain its "
            "forward pass: explain(brainnet.structure.forward_pass.trace(model, x))."
        )
    # Classes have no numbers.
    if isinstance(thing, type):
        return _explain_concept(own_concept)
    title, lines = _describe_object(thing, own_concept)
    return Explanation(title, own_concept, (own_concept.definition,), tuple(lines))


def wrap_text(*lines: str, width: int) -> list[str]:
    """Wrap prose to a width; lines that begin with a space are not changed.

    Example:
        >>> wrap_text("one two three", "  1 + 2 = 3", width=8)
        ['one two', 'three', '  1 + 2 = 3']
    """
    wrapped = []
    for line in lines:
        # An empty line separates paragraphs; `textwrap.wrap` would drop it.
        is_prose = line and not line.startswith(" ")
        wrapped += textwrap.wrap(line, width, break_on_hyphens=False) if is_prose else [line]
    return wrapped


def _build_overview() -> Explanation:
    lines: list[str] = []
    for group in GROUPS:
        lines.append(f"The {group}:")
        lines += [f"  {c.name:20} {IN_SHORT[c]}" for c in CONCEPTS if c.group == group]
    text = (
        "A neural network, explained by what a brain does: six things it is made of, and five by "
        'which it learns. explain("weights") explains one of them.'
    )
    return Explanation("brainnet", None, (text,), tuple(lines))


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


def _describe_object(thing: object, concept: Concept) -> tuple[str, Iterable[str]]:
    """Return the title and the lines of an object that implements a concept."""
    if concept is concepts.NEURONS:
        neuron = cast("Neuron", thing)
        return f"neuron {neuron.index}", _describe_neuron(neuron)
    title = concept.name if concept is concepts.FORWARD_PASS else type(thing).__name__
    if concept is concepts.LAYERS:
        title = "network" if hasattr(thing, "layers") else cast("Layer", thing).name
    return title, [f"  {line}" for line in str(thing).splitlines()]


def _describe_neuron(neuron: "Neuron") -> Iterator[str]:
    weights, bias = neuron.weights.detach(), neuron.bias
    strongest = weights.abs().argsort(descending=True, stable=True)[:_MAX_INPUTS].tolist()
    # All weights may be zero.
    largest = float(weights[strongest[0]].abs()) or 1.0
    selection = f"; the {_MAX_INPUTS} strongest" if len(weights) > _MAX_INPUTS else ""
    yield f"It has {len(weights):,} input{'s' * (len(weights) != 1)}{selection}:"
    for i in strongest:
        weight = float(weights[i])
        bar = draw_bar(abs(weight) / largest)
        yield f"  input {i:<5} weight {format_number(weight, 3):>7}  {bar}"
    bias_text = "none"
    if bias is not None:
        effect = "jumpy" if bias > 0 else "calm" if bias < 0 else "neutral"
        bias_text = f"{format_number(bias.item(), 3)}, {effect}"
    output = neuron(weights.new_zeros(1, len(weights))).item()
    yield f"Its bias: {bias_text}. If all inputs are 0, its output is {format_number(output, 3)}."
