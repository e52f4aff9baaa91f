"""`brainnet explain`: a concept, the numbers of a run, or the prediction for a row."""

import json
import math
import shlex
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from brainnet import concepts
from brainnet.cli.options import load_named_run
from brainnet.concepts import CONCEPTS, Concept, find_concept
from brainnet.errors import InputError, find_nearest
from brainnet.explanation.explanation import Explanation, explain
from brainnet.explanation.worked_example import STORY, describe_concept
from brainnet.observation import tags
from brainnet.observation.tags import Tag

if TYPE_CHECKING:
    from brainnet.explanation.row_explanation import RowExplanation
    from brainnet.inference.explain_row import RowExplainer

_LAYER = "hidden_1"
_MIN_WIDTH, _MAX_WIDTH = 40, 100

TAGS: dict[Concept, tuple[Tag, ...]] = {
    concepts.LAYERS: (tags.WEIGHTS_NORM, tags.BLAME),
    concepts.NEURONS: (tags.SILENT, tags.WEIGHTS_PLOT),
    concepts.WEIGHTS: (tags.WEIGHTS_HISTOGRAM, tags.WEIGHTS_NORM, tags.WEIGHTS_PLOT),
    concepts.BIASES: (tags.BIAS_HISTOGRAM, tags.BIAS_NORM),
    concepts.ACTIVATION_FUNCTION: (tags.ACTIVATION_HISTOGRAM, tags.FIRING_RATE, tags.SATURATED),
    concepts.FORWARD_PASS: (
        tags.PRE_ACTIVATION_HISTOGRAM,
        tags.FORWARD_SECONDS,
        tags.BOUNDARY_PLOT,
    ),
    concepts.LOSS_FUNCTION: (tags.LOSS_TRAIN, tags.LOSS_VALIDATION, tags.LOSS_TEST),
    concepts.BACKPROPAGATION: (tags.BLAME, tags.DELTA_HISTOGRAM),
    concepts.GRADIENT: (tags.GRADIENT_HISTOGRAM, tags.GRADIENT_NORM, tags.GRADIENT_TOTAL_NORM),
    concepts.GRADIENT_DESCENT: (
        tags.UPDATE_RATIO,
        tags.PREDICTED_DECREASE,
        tags.ACTUAL_DECREASE,
        tags.LOSS_SLICE_PLOT,
    ),
    concepts.LEARNING_RATE: (tags.LEARNING_RATE_VALUE,),
}

OVERRIDES: dict[Concept, dict[str, str]] = {
    concepts.LAYERS: {"network.hidden=[32,16,8]": "three hidden layers"},
    concepts.NEURONS: {"network.hidden=[16]": "one hidden layer of 16 neurons"},
    concepts.WEIGHTS: {"optimizer.weight_decay=0.001": "pull every weight towards zero"},
    concepts.BIASES: {"network.bias=false": "neurons without biases"},
    concepts.ACTIVATION_FUNCTION: {
        "activation.threshold=0.2": "react later",
        "activation.width=2": "rise more gently",
        "activation=relu": "another function",
    },
    concepts.FORWARD_PASS: {"data.batch_size=64": "process 64 rows at once"},
    concepts.LOSS_FUNCTION: {"loss=cross_entropy loss.label_smoothing=0.1": "never be quite sure"},
    concepts.BACKPROPAGATION: {"observe=full": "record the blame of every neuron"},
    concepts.GRADIENT: {"trainer.gradient_clip_val=1": "limit the norm of the gradient to 1"},
    concepts.GRADIENT_DESCENT: {
        "optimizer=sgd": "plain gradient descent",
        "optimizer=sgd optimizer.momentum=0.9": "with momentum",
        "trainer.max_epochs=60": "more steps",
    },
    concepts.LEARNING_RATE: {
        "optimizer.lr=0.01": "larger steps",
        "schedule=warmup_cosine": "warm up, then decrease",
    },
}


def run_explain(arguments: Namespace) -> int:
    """Explain a concept, a run or a row; returns the exit code."""
    overrides = [word for word in arguments.words if "=" in word]
    name = " ".join(word for word in arguments.words if "=" not in word)
    if arguments.run is not None:
        return _explain_run(arguments, find_concept(name) if name else None, overrides)
    # Overrides change where the data of a run lie, so a concept alone has no use for them.
    if overrides:
        raise InputError(f"explain needs a run for {overrides[0]}: add --run RUN, or leave it out.")
    for option in ("row", "input"):
        if (value := getattr(arguments, option)) is not None:
            raise InputError(
                f"--{option} needs a run: brainnet explain --run latest --{option} {value}"
            )
    concept = _find_concept(name) if name else None
    if arguments.json:
        values = [_describe_as_data(each) for each in CONCEPTS]
        print(json.dumps(_describe_as_data(concept) if concept else values, indent=2))
        return 0
    console = _open_console()
    print_explanation(explain(concept), console)
    if concept is None:
        note = "brainnet explain CONCEPT explains one. --run RUN adds the numbers of a run."
        console.print(f"\n{note}")
        return 0
    meanings = {}
    for tag in TAGS[concept]:
        level = "" if tag.level == "light" else f" (observe={tag.level})"
        meanings[tag.at(_LAYER)] = f"{tag.meaning}{level}"
    _print_terms("In TensorBoard", meanings, console)
    commands = {f"brainnet train {key}": meaning for key, meaning in OVERRIDES[concept].items()}
    _print_terms("To change it", commands, console)
    return 0


def _find_concept(name: str) -> Concept:
    """Find a concept; if a run was named without `--run`, the error says so."""
    try:
        return find_concept(name)
    except InputError:
        latest = find_nearest(name, ["latest"])
        if latest or (Path(name) / "summary.json").is_file() or name.endswith(".ckpt"):
            raise InputError(
                f"expected a concept; got {name!r}. Did you mean brainnet explain --run "
                f"{latest or shlex.quote(name)}?"
            ) from None
        raise


def _describe_as_data(concept: Concept) -> dict[str, object]:
    return asdict(concept) | {
        "worked_example": [STORY, *describe_concept(concept)],
        "tags": {tag.at(_LAYER): tag.meaning for tag in TAGS[concept]},
        "overrides": OVERRIDES[concept],
    }


def _explain_run(arguments: Namespace, concept: Concept | None, overrides: Sequence[str]) -> int:
    # These import torch, which the page of a concept does not need.
    from brainnet.explanation.report import build_report, report_concept, summarize_run
    from brainnet.explanation.row_text import format_row

    if concept is not None and (arguments.row is not None or arguments.input is not None):
        raise InputError(f"a row is explained as a whole: leave out {concept.slug}, or the row.")
    trained, allow_list = load_named_run(arguments.run, overrides, "explain")
    explainer = trained.build_explainer(allow_list)
    row, data = _explain_row(explainer, arguments), explainer.run_data
    run = data.name
    if arguments.json:
        values: Any = {"run": run, "checkpoint": str(trained.checkpoint)}
        if row is not None:
            values = row
        elif concept is not None:
            values |= {"concept": concept.name, "report": build_report(data, concept).values}
        else:
            values["concepts"] = {each.slug: build_report(data, each).values for each in CONCEPTS}
        print(json.dumps(_convert(values), indent=2, allow_nan=False))
        return 0
    console = _open_console()
    if row is not None:
        print_explanation(format_row(row), console)
    elif concept is not None:
        print_explanation(report_concept(data, concept), console)
        console.print(f"\nWhat it means: brainnet explain {concept.slug}")
    else:
        print_explanation(summarize_run(data), console)
        console.print(f"\nbrainnet explain CONCEPT --run {run}", soft_wrap=True)
        console.print(f"brainnet explain --run {run} --row 0", soft_wrap=True)
    return 0


def _explain_row(explainer: "RowExplainer", arguments: Namespace) -> "RowExplanation | None":
    from brainnet.cli.predict import STANDARD_INPUT, open_source

    if arguments.input is None:
        return None if arguments.row is None else explainer.explain_row(arguments.row)
    with open_source(arguments.input) as path:
        row = explainer.explain_file_row(path, arguments.row)
    # Standard input is copied to a file, whose name means nothing to the user.
    is_piped = arguments.input == STANDARD_INPUT and row.source == str(path)
    return replace(row, source="the standard input") if is_piped else row


def _convert(value: Any) -> Any:
    """Convert data classes to JSON values; numbers that are not finite become null."""
    if is_dataclass(value) and not isinstance(value, type):
        return _convert(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _convert(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_convert(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _open_console() -> Console:
    # A terminal with an old encoding shows "?" instead of failing.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    # Names and numbers may contain brackets, which rich would take for markup.
    console = Console(highlight=False, markup=False, emoji=False)
    console.width = min(max(console.width, _MIN_WIDTH), _MAX_WIDTH)
    return console


def print_explanation(explanation: Explanation, console: Console) -> None:
    """Print an explanation, with colors on a terminal."""
    text = Text(f"\n{explanation.to_text(console.width)}")
    text.highlight_words([f"\n{section.heading}\n" for section in explanation.sections], "bold")
    text.highlight_regex(r"\A\n.*\n─+", "bold")
    text.highlight_regex("█+", "cyan")
    text.highlight_regex("░+", "dim")
    console.print(text, soft_wrap=True)


def _print_terms(heading: str, terms: Mapping[str, str], console: Console) -> None:
    console.print(Text(f"\n{heading}", "bold"))
    for term, meaning in terms.items():
        console.print(Text(f"  {term}", "cyan"), soft_wrap=True)
        console.print(Padding(meaning, (0, 0, 0, 6), expand=False))
