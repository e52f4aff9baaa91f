"""`brainnet explain`: a concept, a run or one row."""

import codecs
import json
import math
import os
import re
import shlex
import shutil
import sys
import textwrap
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from brainnet import concepts
from brainnet.cli.options import load_named_run
from brainnet.cli.predict import STANDARD, source_of
from brainnet.concepts import CONCEPTS, GROUPS, Concept, find_concept
from brainnet.config.instantiate import TargetAllowList, read_allowed_roots
from brainnet.errors import InputError, find_nearest
from brainnet.explanation.explanation import IN_SHORT, Explanation, wrap_text
from brainnet.explanation.report import build_report, report_concept, summarize_run
from brainnet.explanation.row_explanation import ExplainedRow
from brainnet.explanation.row_text import format_row
from brainnet.explanation.worked_example_text import STORY, describe_concept
from brainnet.inference.explain_row import RowExplainer
from brainnet.observation import tags
from brainnet.observation.tags import Tag

_BLOCKS = re.compile("█+")

_PALE = re.compile("░+")

_ALIKE = "brainnet.alike"
# One sign for each, so that columns stay what they are.
_PLAIN = {
    **dict(zip("█▓▒░", "#*:.", strict=True)),
    **dict(zip("▁▂▃▄▅▆▇", "_.-~=+*", strict=True)),
    **dict(zip("·…→←≈\N{MULTIPLICATION SIGN}\N{MINUS SIGN}", "*~><~x-", strict=True)),
}

_COLUMN = re.compile(r" +\S+(?: \S+)*  +")


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

    def of_explanation(self, told: Explanation) -> Iterator[str]:
        """What there is to say about one thing, section by section."""
        yield from map(self.bold, wrap_text(told.title, width=self.width))
        for part in told.text:
            yield from ("", *map(self.dim, wrap_text(part, width=self.width)))
        if told.lines:
            yield from ("", *self.of_lines(told.lines))
        for section in told.sections:
            yield from ("", *map(self.bold, wrap_text(section.heading, width=self.width)))
            yield from self.of_lines(section.lines)

    def of_lines(self, lines: tuple[str, ...]) -> Iterator[str]:
        """Prose broken to the width; drawings as they stand, with their blocks in colour."""
        for line in wrap_text(*lines, width=self.width):
            if not line.startswith(" "):
                yield line
            elif len(line) <= self.width:
                yield self.drawn(line)
            else:
                yield from map(self.drawn, self._hanging(line))

    def _hanging(self, line: str) -> list[str]:
        """A line of a table that is too long, continued in its last column."""
        column = _COLUMN.match(line)
        margin = " " * min(column.end() if column else 4, self.width // 2)
        return textwrap.wrap(
            line, self.width, subsequent_indent=margin, break_long_words=False
        ) or [line]

    def drawn(self, line: str) -> str:
        """A drawing with its full blocks to be noticed, and its pale ones to stand back."""
        full = _BLOCKS.sub(lambda found: self.cyan(found.group()), line)
        return _PALE.sub(lambda found: self.dim(found.group()), full)

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


def write(text: str) -> None:
    """Print, with something alike for what the terminal's encoding cannot show."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, errors=_ALIKE).decode(encoding))


def _alike(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    signs = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign, "?") for sign in signs), error.end


codecs.register_error(_ALIKE, _alike)


def _block(text: str, width: int, *, margin: int) -> list[str]:
    space = " " * margin
    return textwrap.wrap(
        text, width, initial_indent=space, subsequent_indent=space, break_on_hyphens=False
    )


TAGS: dict[Concept, tuple[Tag, ...]] = {
    concepts.LAYERS: (tags.WEIGHTS_NORM, tags.BLAME),
    concepts.NEURONS: (tags.SILENT, tags.WEIGHTS_PLOT),
    concepts.WEIGHTS: (tags.WEIGHTS, tags.WEIGHTS_NORM, tags.WEIGHTS_PLOT),
    concepts.BIASES: (tags.BIAS, tags.BIAS_NORM),
    concepts.ACTIVATION_FUNCTION: (tags.ACTIVATION, tags.FIRING_RATE, tags.SATURATED),
    concepts.FORWARD_PASS: (tags.PRE_ACTIVATION, tags.FORWARD_SECONDS, tags.BOUNDARY_PLOT),
    concepts.LOSS_FUNCTION: (tags.LOSS_TRAIN, tags.LOSS_VALIDATION, tags.LOSS_TEST),
    concepts.BACKPROPAGATION: (tags.BLAME, tags.DELTA),
    concepts.GRADIENT: (tags.GRADIENT, tags.GRADIENT_NORM, tags.GRADIENT_TOTAL_NORM),
    concepts.GRADIENT_DESCENT: (
        tags.UPDATE_RATIO,
        tags.PREDICTED_DECREASE,
        tags.ACTUAL_DECREASE,
        tags.LOSS_SLICE_PLOT,
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
        "worked_example": [STORY, *describe_concept(concept)],
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
    yield from wrap_text(
        "brainnet explain CONCEPT tells more, and with --run RUN in a run's own numbers.",
        width=page.width,
    )


def page_of(concept: Concept, page: Page) -> Iterator[str]:
    """Everything about one concept."""
    yield page.bold(concept.name)
    yield page.dim(f"one of the {concept.group}")
    yield ""
    yield from map(page.cyan, wrap_text(concept.analogy, width=page.width))
    yield ""
    yield from wrap_text(concept.definition, width=page.width)
    yield ""
    facts = {"formula": concept.formula, "in code": concept.home, "to read": concept.reference}
    yield from page.table(facts, mark=page.dim)
    yield from ("", page.bold("For example"))
    yield from wrap_text(STORY, "", *describe_concept(concept), width=page.width)
    yield from ("", page.bold("In TensorBoard"))
    shown = {tag.at(PLACE): f"{tag.meaning}{_level(tag)}" for tag in TAGS[concept]}
    yield from page.table(shown, mark=page.cyan)
    yield from ("", page.bold("To change it"))
    typed = {f"brainnet train {key}": told for key, told in OVERRIDES[concept].items()}
    yield from page.table(typed, mark=page.cyan)


def _level(tag: Tag) -> str:
    """What to ask for to see the tag, where it is not shown anyway."""
    return "" if tag.level == "light" else f" (observe={tag.level})"


DATA = "data._target_"


def run_report(arguments: Namespace) -> int:
    """Tell of a run as the words ask for; returns the exit code.

    Raises:
        InputError: when there is no such run, concept, row or file.
    """
    name = " ".join(word for word in arguments.words if "=" not in word)
    concept = find_concept(name) if name else None
    if concept is not None and (arguments.row is not None or arguments.input is not None):
        raise InputError(f"a row is explained as a whole: leave {concept.slug} out, or the row.")
    account = _account_of(arguments)
    told = _told(account, arguments.row, arguments.input)
    if arguments.json:
        found = _data(account, concept) if told is None else _plain(told)
        print(json.dumps(found, indent=2, allow_nan=False))
        return 0
    page = Page.fitting(sys.stdout)
    shown = _explained(account, concept) if told is None else format_row(told)
    write("\n".join(["", *page.of_explanation(shown), *_hint(account, concept, told)]))
    return 0


def _account_of(arguments: Namespace) -> RowExplainer:
    """The run, with consent to the classes that were typed."""
    keys = [word for word in arguments.words if "=" in word]
    own = [word for word in keys if not word.startswith(f"{DATA}=")]
    trained = load_named_run(arguments.run, own, "explain")
    named = frozenset(word.partition("=")[2] for word in keys)
    return trained.account(TargetAllowList(typed=named, roots=read_allowed_roots()))


def _told(account: RowExplainer, number: int | None, file: str | None) -> ExplainedRow | None:
    if file is None:
        return None if number is None else account.row(number)
    with source_of(file) as path:
        told = account.row_of_file(path, number)
    piped = file == STANDARD and told.source == str(path)
    return replace(told, source="the standard input") if piped else told


def _explained(account: RowExplainer, concept: Concept | None) -> Explanation:
    subject = account.subject_of(concept)
    return summarize_run(subject) if concept is None else report_concept(subject, concept)


def _hint(account: RowExplainer, concept: Concept | None, told: ExplainedRow | None) -> list[str]:
    """What to type next."""
    if told is not None:
        return []
    name = account.history.name
    if concept is None:
        return [
            "",
            f"brainnet explain CONCEPT --run {name}",
            f"brainnet explain --run {name} --row 0",
        ]
    return ["", f"What it means: brainnet explain {concept.slug}"]


def _data(account: RowExplainer, concept: Concept | None) -> dict[str, Any]:
    """A run's own numbers, as primitives."""
    found: dict[str, Any] = {
        "run": account.history.name,
        "checkpoint": str(account.history.checkpoint),
    }
    if concept is not None:
        return found | {
            "concept": concept.name,
            "report": _plain(build_report(account.subject_of(concept), concept).values),
        }
    every = {each.slug: _plain(build_report(account.subject, each).values) for each in CONCEPTS}
    return found | {"concepts": every}


def _plain(told: object) -> Any:
    """Data classes as JSON has it; a number that is none becomes null."""
    if is_dataclass(told) and not isinstance(told, type):
        return _plain(asdict(told))
    if isinstance(told, dict):
        return {key: _plain(value) for key, value in told.items()}
    if isinstance(told, list | tuple):
        return [_plain(value) for value in told]
    return None if isinstance(told, float) and not math.isfinite(told) else told


def run_explain(arguments: Namespace) -> int:
    """Tell of one concept, of a run or of one row, or list all concepts.

    Args:
        arguments: the parsed options.

    Returns:
        0, the exit code.

    Raises:
        InputError: an unknown concept or option, or no such run or row; exit code 2.
    """
    if arguments.run is not None:
        # Here, not above: a run takes torch, and explaining a concept waits for nothing.

        return run_report(arguments)
    _check_alone(arguments)
    name = " ".join(arguments.words)
    concept = _concept_of(name) if name else None
    if arguments.json:
        told = as_data(concept) if concept else [as_data(each) for each in CONCEPTS]
        print(json.dumps(told, indent=2))
        return 0
    page = Page.fitting(sys.stdout)
    lines = page_of(concept, page) if concept else page_of_all(page)
    write("\n".join(["", *lines]))
    return 0


def _concept_of(name: str) -> Concept:
    """The concept of that name.

    Raises:
        InputError: there is none; a run was named, say, without the option for it.
    """
    try:
        return find_concept(name)
    except InputError:
        latest = find_nearest(name, ["latest"])
        if latest or (Path(name) / "summary.json").is_file() or name.endswith(".ckpt"):
            run = latest or shlex.quote(name)
            raise InputError(
                f"expected a concept; got {name!r}. Did you mean brainnet explain --run {run}?"
            ) from None
        raise


def _check_alone(arguments: Namespace) -> None:
    """Refuse what means something only beside a run.

    Raises:
        InputError: when a row is asked for, or a file, and no run.
    """
    for option, value in (("--row", arguments.row), ("--input", arguments.input)):
        if value is not None:
            raise InputError(
                f"{option} needs a run whose network answers: brainnet explain --run latest "
                f"{option} {value}"
            )
