"""Concept page: everything about a concept on one page, down to what to type to change it."""

from collections.abc import Iterator
from dataclasses import asdict

from brainnet import concepts
from brainnet.cli.page import Page
from brainnet.concepts import CONCEPTS, GROUPS, Concept
from brainnet.explanation import IN_SHORT, wrapped
from brainnet.observation import tags
from brainnet.observation.tags import Tag
from brainnet.telling import STORY, tell

TAGS: dict[Concept, tuple[Tag, ...]] = {
    concepts.LAYERS: (tags.WEIGHTS_NORM, tags.BLAME),
    concepts.NEURONS: (tags.SILENT, tags.WEIGHTS_PICTURE),
    concepts.WEIGHTS: (tags.WEIGHTS, tags.WEIGHTS_NORM, tags.WEIGHTS_PICTURE),
    concepts.BIASES: (tags.BIAS, tags.BIAS_NORM),
    concepts.ACTIVATION_FUNCTION: (tags.ACTIVATION, tags.FIRING_RATE, tags.SATURATED),
    concepts.FORWARD_PASS: (tags.PRE_ACTIVATION, tags.FORWARD_SECONDS, tags.BOUNDARY_PICTURE),
    concepts.LOSS_FUNCTION: (tags.LOSS_TRAIN, tags.LOSS_VALIDATION, tags.LOSS_TEST),
    concepts.BACKPROPAGATION: (tags.BLAME, tags.DELTA),
    concepts.GRADIENT: (tags.GRADIENT, tags.GRADIENT_NORM, tags.GRADIENT_TOTAL_NORM),
    concepts.GRADIENT_DESCENT: (
        tags.UPDATE_RATIO,
        tags.PREDICTED_DECREASE,
        tags.ACTUAL_DECREASE,
        tags.HILL_PICTURE,
    ),
    concepts.LEARNING_RATE: (tags.LEARNING_RATE,),
}

OVERRIDES: dict[Concept, dict[str, str]] = {
    concepts.LAYERS: {"network.hidden=[32,16,8]": "three hidden layers"},
    concepts.NEURONS: {"network.hidden=[16]": "one hidden layer of 16 neurons"},
    concepts.WEIGHTS: {"optimizer.weight_decay=0.001": "pull every weight towards zero"},
    concepts.BIASES: {"network.bias=false": "neurons without tendencies"},
    concepts.ACTIVATION_FUNCTION: {
        "activation.threshold=0.2": "react later",
        "activation.width=2": "rise more gently",
        "activation=relu": "another function",
    },
    concepts.FORWARD_PASS: {"data.batch_size=64": "think about 64 rows at once"},
    concepts.LOSS_FUNCTION: {"loss=cross_entropy loss.label_smoothing=0.1": "never be quite sure"},
    concepts.BACKPROPAGATION: {"observe=full": "watch the blame of every neuron"},
    concepts.GRADIENT: {"trainer.gradient_clip_val=1": "never feel a slope steeper than 1"},
    concepts.GRADIENT_DESCENT: {
        "optimizer=sgd": "plain gradient descent",
        "optimizer=sgd optimizer.momentum=0.9": "with the swing of the last steps",
        "trainer.max_epochs=60": "more steps",
    },
    concepts.LEARNING_RATE: {
        "optimizer.lr=0.01": "larger steps",
        "schedule=warmup_cosine": "warm up, then settle",
    },
}

PLACE = "hidden_1"  # the layer in whose name the tags are shown


def as_data(concept: Concept) -> dict[str, object]:
    """All that is told of a concept, as primitives."""
    return asdict(concept) | {
        "worked_example": [STORY, *tell(concept)],
        "tags": {tag.at(PLACE): tag.meaning for tag in TAGS[concept]},
        "overrides": OVERRIDES[concept],
    }


def page_of_all(page: Page) -> Iterator[str]:
    """All concepts in their groups, in a line each."""
    for group in GROUPS:
        yield page.bold(f"The {group}")
        members = [concept for concept in CONCEPTS if concept.group == group]
        listed = {concept.slug: IN_SHORT[concept] for concept in members}
        yield from page.table(listed, mark=page.cyan, column=19)
        yield ""
    yield from wrapped(
        "brainnet explain CONCEPT tells more, and with --run RUN in a run's own numbers.",
        width=page.width,
    )


def page_of(concept: Concept, page: Page) -> Iterator[str]:
    """Everything about one concept."""
    yield page.bold(concept.name)
    yield page.dim(f"one of the {concept.group}")
    yield ""
    yield from map(page.cyan, wrapped(concept.analogy, width=page.width))
    yield ""
    yield from wrapped(concept.definition, width=page.width)
    yield ""
    facts = {"formula": concept.formula, "in code": concept.home, "to read": concept.reference}
    yield from page.table(facts, mark=page.dim)
    yield from ("", page.bold("For example"))
    yield from wrapped(STORY, "", *tell(concept), width=page.width)
    yield from ("", page.bold("In TensorBoard"))
    shown = {tag.at(PLACE): f"{tag.meaning}{_level(tag)}" for tag in TAGS[concept]}
    yield from page.table(shown, mark=page.cyan)
    yield from ("", page.bold("To change it"))
    typed = {f"brainnet train {key}": told for key, told in OVERRIDES[concept].items()}
    yield from page.table(typed, mark=page.cyan)


def _level(tag: Tag) -> str:
    """What to ask for to see the tag, where it is not shown anyway."""
    return "" if tag.level == "light" else f" (observe={tag.level})"
