"""Explanation: a concept, a neuron, a layer or a whole thought told in words and numbers."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from brainnet import concepts
from brainnet.concepts import CONCEPTS, GROUPS, Concept, find_concept
from brainnet.own_numbers import lines_of, title_of
from brainnet.telling import STORY, tell

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
        lines += [line for part in self.text for line in ("", *wrapped(part))]
        lines += ["", *wrapped(*self.lines)] if self.lines else []
        for section in self.sections:
            lines += ["", section.heading, *wrapped(*section.lines)]
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
    row: Any = None,  # noqa: ANN401 - a number, or a row in any form that holds one
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


def wrapped(*lines: str, width: int = WIDTH) -> list[str]:
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
    return Explanation(concept.name, concept, text, tell(concept))
