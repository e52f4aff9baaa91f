"""The command `brainnet explain`: a concept told on the terminal, in words and in numbers."""

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TextIO

from brainnet import concepts
from brainnet.concepts import CONCEPTS, GROUPS, Concept, find_concept
from brainnet.errors import InputError
from brainnet.explanation import IN_SHORT, wrapped
from brainnet.observation import tags
from brainnet.observation.tags import Tag
from brainnet.suggestion import did_you_mean
from brainnet.telling import STORY, tell

HELP = """\
brainnet explain [CONCEPT] [--json]

Tells what a concept means: in a brain, in plain words, in mathematics, in the numbers of a small
worked example; where it is in code and in TensorBoard, and what to type to change it.
Without CONCEPT: all eleven.

Examples
  brainnet explain
  brainnet explain weights
  brainnet explain forward-pass
  brainnet explain learning-rate --json

Options
  --json    the same for programs: one JSON object, or a list of all eleven
"""

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


def run(argv: list[str]) -> int:
    """Tell of one concept, or list all.

    Args:
        argv: the words behind `brainnet explain`.

    Returns:
        0, the exit code.

    Raises:
        InputError: an unknown concept or option; exit code 2.
    """
    options = [word for word in argv if word.startswith("-")]
    if "--help" in options or "-h" in options:
        sys.stdout.write(HELP)
        return 0
    unknown = [option for option in options if option != "--json"]
    if unknown:
        known = ("--json", "--help")
        raise InputError(
            f"there is no option {unknown[0]}.{did_you_mean(unknown[0], known)} "
            "brainnet explain --help lists the options."
        )
    name = " ".join(word for word in argv if not word.startswith("-"))
    concept = find_concept(name) if name else None
    if options:
        told = as_data(concept) if concept else [as_data(each) for each in CONCEPTS]
        print(json.dumps(told, indent=2))
        return 0
    page = Page.fitting(sys.stdout)
    lines = page.of_concept(concept) if concept else page.of_all()
    _write("\n".join(["", *lines]))
    return 0


def as_data(concept: Concept) -> dict[str, object]:
    """All that is told of a concept, as primitives."""
    return asdict(concept) | {
        "worked_example": [STORY, *tell(concept)],
        "tags": {tag.at(PLACE): tag.meaning for tag in TAGS[concept]},
        "overrides": OVERRIDES[concept],
    }


@dataclass(frozen=True, slots=True)
class Page:
    """A page of text that fits where it is shown.

    Attributes:
        width: columns that prose may take.
        colours: whether the place understands ANSI codes.
    """

    width: int = 80
    colours: bool = False

    @classmethod
    def fitting(cls, stream: TextIO) -> "Page":
        """As wide as the terminal within reason, and plain where there is none."""
        if not stream.isatty():
            return cls()
        columns = shutil.get_terminal_size().columns
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        # The old console of Windows prints the codes; its successors name themselves.
        understood = sys.platform != "win32" or "WT_SESSION" in os.environ or "TERM" in os.environ
        return cls(width=min(max(columns, 40), 100), colours=understood and not plain)

    def of_all(self) -> Iterator[str]:
        """All concepts in their groups, in a line each."""
        for group in GROUPS:
            yield self.bold(f"The {group}")
            members = [concept for concept in CONCEPTS if concept.group == group]
            listed = {concept.slug: IN_SHORT[concept] for concept in members}
            yield from self.table(listed, mark=self.cyan, column=19)
            yield ""
        yield from wrapped("brainnet explain CONCEPT tells more.", width=self.width)

    def of_concept(self, concept: Concept) -> Iterator[str]:
        """Everything about one concept."""
        yield self.bold(concept.name)
        yield self.dim(f"one of the {concept.group}")
        yield ""
        yield from map(self.cyan, wrapped(concept.analogy, width=self.width))
        yield ""
        yield from wrapped(concept.definition, width=self.width)
        yield ""
        facts = {"formula": concept.formula, "in code": concept.home, "to read": concept.reference}
        yield from self.table(facts, mark=self.dim)
        yield from ("", self.bold("For example"))
        yield from wrapped(STORY, "", *tell(concept), width=self.width)
        yield from ("", self.bold("In TensorBoard"))
        shown = {tag.at(PLACE): f"{tag.meaning}{_level(tag)}" for tag in TAGS[concept]}
        yield from self.table(shown, mark=self.cyan)
        yield from ("", self.bold("To change it"))
        typed = {f"brainnet train {key}": told for key, told in OVERRIDES[concept].items()}
        yield from self.table(typed, mark=self.cyan)

    def table(
        self, meanings: dict[str, str], *, mark: Callable[[str], str], column: int = 0
    ) -> Iterator[str]:
        """Terms with their meanings beside them, or below them where that is too narrow."""
        column = max(column, *map(len, meanings))
        margin = column + 4
        for term, meaning in meanings.items():
            if self.width < margin + 24:
                yield f"  {mark(term)}"
                yield from _block(meaning, self.width, margin=4)
                continue
            first, *others = _block(meaning, self.width, margin=margin)
            yield f"  {mark(term)}{' ' * (column - len(term))}{first[column + 2 :]}"
            yield from others

    def bold(self, text: str) -> str:
        """A heading."""
        return self._in("1", text)

    def dim(self, text: str) -> str:
        """What stands back."""
        return self._in("2", text)

    def cyan(self, text: str) -> str:
        """What is to be noticed."""
        return self._in("36", text)

    def _in(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.colours else text


def _level(tag: Tag) -> str:
    """What to ask for to see the tag, where it is not shown anyway."""
    return "" if tag.level == "light" else f" (observe={tag.level})"


def _block(text: str, width: int, *, margin: int) -> list[str]:
    space = " " * margin
    return textwrap.wrap(
        text, width, initial_indent=space, subsequent_indent=space, break_on_hyphens=False
    )


def _write(text: str) -> None:
    """Print, with a question mark for what the terminal's encoding cannot show."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, errors="replace").decode(encoding))
