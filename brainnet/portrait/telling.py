"""Telling: a run's own numbers for each concept, in words, tables and small pictures."""

from collections.abc import Callable
from typing import Any

from brainnet import concepts
from brainnet.concepts import CONCEPTS, GROUPS, Concept
from brainnet.explanation import Explanation, Section
from brainnet.portrait.in_short import in_short
from brainnet.portrait.learning_told import (
    blame_lines,
    descent_lines,
    gradient_lines,
    loss_lines,
    rate_lines,
)
from brainnet.portrait.portrait import PORTRAYED
from brainnet.portrait.structure_told import (
    activations_lines,
    biases_lines,
    forward_pass_lines,
    layers_lines,
    neurons_lines,
    weights_lines,
)
from brainnet.portrait.subject import Subject
from brainnet.portrait.words import NO_ROWS, Lines

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


def tell_portrait(concept: Concept, told: Any) -> tuple[str, ...]:  # noqa: ANN401 - of PORTRAYED
    """Tell what `PORTRAYED[concept]` found.

    Lines that begin with a space are drawings and sums, at most 60 characters wide; the others are
    prose, to be wrapped to any width.
    """
    return (NO_ROWS,) if told is None else tuple(_TELLERS[concept](told))


def portrait_of(subject: Subject, concept: Concept) -> Explanation:
    """Explain a concept with a run's own numbers."""
    lines = tell_portrait(concept, PORTRAYED[concept](subject))
    named = tuple(line.replace("--run RUN", f"--run {subject.facts.name}") for line in lines)
    title = f"{concept.name} of {subject.facts.name}"
    return Explanation(title, concept, (concept.definition,), named)


def overview_of(subject: Subject) -> Explanation:
    """All concepts with a run's own numbers, in a line each."""
    facts, sections = subject.facts, []
    for group in GROUPS:
        members = [concept for concept in CONCEPTS if concept.group == group]
        lines = [f"  {each.name:20} {in_short(each, PORTRAYED[each](subject))}" for each in members]
        sections.append(Section(f"The {group}", tuple(lines)))
    weights = "" if facts.checkpoint is None else f"; its weights are those of {facts.checkpoint}"
    text = (f"What {facts.name} has to say of itself{weights}.",)
    return Explanation(facts.name, None, text, (), tuple(sections))
