"""`brainnet evaluate RUN`: the best checkpoint of a run on rows it has not seen."""

import json
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from torch import Tensor, nn

from brainnet.config.components import build_datamodule, build_network_and_loss
from brainnet.config.compose import (
    build_allow_list,
    compose_config,
    parse_overrides,
    resolve_config,
)
from brainnet.config.instantiate import (
    DATAMODULE_KEYS,
    TargetAllowList,
    check_targets,
    instantiate,
)
from brainnet.config.resume import (
    changes_nothing,
    check_no_deletions,
    check_rebuildable,
    find_runs_directory,
    get_value,
    read_stored_config,
    select_data_choice,
    set_value,
)
from brainnet.config.schema import Config, check_config
from brainnet.data.datamodule import DataModule
from brainnet.data.datasets import IMAGES_TARGET, PATH_KEYS, TABLE_TARGET, is_same_path
from brainnet.data.image_files import ImageEncoder
from brainnet.data.images import Images
from brainnet.data.preprocessing import MissingPolicy
from brainnet.data.table_files import open_table
from brainnet.data.validation import suppress_warnings
from brainnet.errors import InputError
from brainnet.explanation.formatting import format_number
from brainnet.inference.evaluate import Evaluation, evaluate, evaluate_images, evaluate_table_file
from brainnet.inference.trained_model import TrainedModel, load
from brainnet.training.assembly import count_outputs
from brainnet.training.run_directory import Run, find_run

MOST_CLASSES = 12  # that fit beside each other

MISTAKES = 10  # named of more classes

WIDEST = 16  # letters of a class in the table


@dataclass(frozen=True, slots=True)
class Judgement:
    """An evaluation with what its rows and classes are called.

    Attributes:
        evaluation: what came of it.
        rows: which rows it was judged by, as a sentence ends: "test rows of iris".
        class_names: what each class is called; empty for a regression.
    """

    evaluation: Evaluation
    rows: str
    class_names: tuple[str, ...]

    def told(self) -> str:
        """For people: the figures, then which class was taken for which."""
        metrics = sorted(self.evaluation.metrics.items())
        lines = [f"{tag:<15}{value:.4g}" for tag, value in metrics]
        errors = self.evaluation.errors.items()
        lines += [
            f"{'off by':<15}{format_number(value)} on average in {name}" for name, value in errors
        ]
        lines += [
            f"{'judged by':<15}{len(self.evaluation.truths):,} {self.rows}",
            f"{'checkpoint':<15}{self.evaluation.checkpoint}",
        ]
        confusion = self.evaluation.confusion
        if confusion is not None:
            lines += ["", *confused(confusion, self.class_names)]
        return "\n".join(lines) + "\n"

    def as_json(self) -> str:
        """For programs: one JSON object, on a line."""
        confusion = self.evaluation.confusion
        told = {
            "metrics": self.evaluation.metrics,
            "mean_absolute_errors": self.evaluation.errors,
            "rows": len(self.evaluation.truths),
            "judged_by": self.rows,
            "checkpoint": str(self.evaluation.checkpoint),
            "classes": list(self.class_names),
            "confusion": None if confusion is None else confusion.tolist(),
        }
        return json.dumps(told, ensure_ascii=False) + "\n"


def confused(confusion: Tensor, names: Sequence[str]) -> list[str]:
    """Lines that say how many rows of each class got which answer.

    Args:
        confusion: rows of each class (row) by the answer they got (column), (classes, classes).
        names: of the classes.
    """
    counts: list[list[int]] = confusion.tolist()
    if len(names) > MOST_CLASSES:
        return mistakes(counts, names)
    shown = [name if len(name) <= WIDEST else f"{name[: WIDEST - 1]}…" for name in names]
    first = max(map(len, [*shown, "class"]))
    widths = [
        max(len(name), *(len(f"{row[place]:,}") for row in counts))
        for place, name in enumerate(shown)
    ]
    header = "  ".join(f"{name:>{width}}" for name, width in zip(shown, widths, strict=True))
    lines = ["rows of each class, by the answer they got", f"{'':<{first}}  {header}"]
    for name, row in zip(shown, counts, strict=True):
        told = (f"{count:,}" if count else "·" for count in row)
        cells = (f"{cell:>{width}}" for cell, width in zip(told, widths, strict=True))
        lines.append(f"{name:<{first}}  {'  '.join(cells)}".rstrip())
    return lines


def mistakes(counts: Sequence[Sequence[int]], names: Sequence[str]) -> list[str]:
    """Lines with the most frequent mistakes, for more classes than fit into a table."""
    wrong = sorted(
        (-count, row, column)
        for row, line in enumerate(counts)
        for column, count in enumerate(line)
        if count and row != column
    )
    if not wrong:
        return ["no row got a wrong answer"]
    told = [
        f"{-count:>7,}  {names[row]} taken for {names[column]}"
        for count, row, column in wrong[:MISTAKES]
    ]
    more = len(wrong) - MISTAKES
    return ["the most frequent mistakes", *told, *([f"{'':>7}  and {more} more"] * (more > 0))]


# What may be said of another file; all else is as it was in the run.
OF_FILE = {
    TABLE_TARGET: ("path", "target", "missing", "header"),
    IMAGES_TARGET: ("path", "labels", "broken"),
}

AS_LEARNT = ("data.target", "data.missing", "data.header", "data.broken")


def keep_reading(config: Config, learnt: Config, overrides: Sequence[Override]) -> None:
    """Read other rows as the run read its own, in all that was not typed."""
    typed = {override.key_or_group for override in overrides}
    if get_value(config, "data._target_") == get_value(learnt, "data._target_"):
        for key in AS_LEARNT:
            if key not in typed and get_value(learnt, key) is not None:
                set_value(config, key, get_value(learnt, key))


def is_other_file(config: Config, learnt: Config) -> bool:
    """Whether rows from a file were typed that are not those the run learnt from."""
    kind, path = get_value(config, "data._target_"), get_value(config, "data.path")
    same = kind == get_value(learnt, "data._target_") and is_same_path(
        path, get_value(learnt, "data.path")
    )
    return kind in OF_FILE and path is not None and not same


def judge_by_test_file(config: Config, learnt: Config) -> None:
    """Take a file of test rows that was typed, and that the run had not, for the one to judge by.

    Beside the run's own file it leaves more rows to train on: all were split anew.
    """
    path, own = get_value(config, "data.test_path"), get_value(learnt, "data.test_path")
    if path is None or is_other_file(config, learnt) or is_same_path(path, own):
        return
    set_value(config, "data.path", path)
    set_value(config, "data.test_path", own)


def check_reading(config: Config, learnt: Config, overrides: Sequence[Override]) -> None:
    """Refuse words on files that change what inputs and answers mean, or which rows are whose.

    Args:
        config: with what was typed.
        learnt: as the run was trained.
        overrides: what was typed.

    Raises:
        InputError: at the first such word.
    """
    kind = get_value(config, "data._target_")
    if kind not in OF_FILE:
        return
    other = is_other_file(config, learnt)
    free = OF_FILE[kind] if other else ()
    for override in overrides:
        group, _, key = override.key_or_group.partition(".")
        if group != "data" or key in ("", "_target_", *free, *DATAMODULE_KEYS):
            continue
        typed, there = get_value(config, f"data.{key}"), get_value(learnt, f"data.{key}")
        if is_same_path(typed, there) if key in PATH_KEYS else typed == there:
            continue
        allowed = ", ".join(f"data.{name}" for name in OF_FILE[kind])
        which = "another file is" if other else "its own data are"
        raise InputError(
            f"evaluate judges a network as it was trained, and {which} read as the run read its "
            f"own: {override.input_line} has no place here. All rows of another file are judged, "
            f"and of such a one may be said: {allowed}."
        )


def judged_by_file(run: Run, config: Config, consent: TargetAllowList) -> Judgement:
    """Judge a run by all rows of a file, or all pictures of a folder: it learnt from none of them.

    Raises:
        InputError: when the file cannot be read, or does not fit the run.
    """
    trained = load(run, consent=consent)
    data = config["data"]
    if data["_target_"] == IMAGES_TARGET:
        evaluation = judged_by_pictures(trained, data)
        return Judgement(evaluation, f"pictures of {data['path']}", trained.class_names)
    target = data.get("target")
    if target in (None, "", []):
        raise InputError(
            f"data.target must be given: which column of {data['path']} has the right answers?"
        )
    names = [str(target)] if isinstance(target, str | int) else [str(name) for name in target]
    names = in_learnt_order(names, trained)
    missing: MissingPolicy = data.get("missing") or "error"
    if missing == "impute" and not trained.encoder.imputes:
        raise InputError(
            "data.missing=impute: this run learnt from complete rows, and has no mean to fill in. "
            "data.missing=drop leaves rows with empty cells out."
        )
    file = open_table(str(data["path"]), header=data.get("header"), csv=data.get("csv"))
    evaluation = evaluate_table_file(trained, file, names, missing=missing)
    which = "without empty cells" if missing == "drop" else "all there are"
    return Judgement(evaluation, f"rows of {data['path']}, {which}", trained.class_names)


def in_learnt_order(targets: Sequence[str], trained: TrainedModel) -> list[str]:
    """The columns of the right answers, in the order in which the network gives its own.

    Raises:
        InputError: they are not as many, one comes twice, or several are called otherwise.
    """
    learnt = list(trained.target_names)
    wanted = 1 if trained.class_names else len(trained.target_scaling.shift)
    if sorted(targets) == sorted(learnt):
        return learnt
    if len(targets) == wanted == 1:
        return list(targets)
    known = f": {', '.join(learnt)}" if learnt else ""
    raise InputError(
        f"data.target={','.join(targets)}: this network gives {wanted} "
        f"{'answer' if wanted == 1 else 'answers'} to a row{known}. Name the columns of the right "
        "answers, each once, as they were called in training."
    )


def judged_by_pictures(trained: TrainedModel, data: Mapping[str, Any]) -> Evaluation:
    """Judge a run by other pictures, brought to the size and the colours of its own.

    Raises:
        InputError: when they cannot be read, or the run learnt from a table.
    """
    pixels = trained.encoder
    if not isinstance(pixels, ImageEncoder):
        raise InputError(
            f"this run learnt from a table, and {data['path']} is to be pictures. Judge it by a "
            "table: data=table data.path=..."
        )
    pictures = Images(
        data["path"],
        size=(pixels.height, pixels.width),
        colors="rgb" if pixels.channels == 3 else "gray",
        broken=data.get("broken") or "error",
        labels=data.get("labels"),
    )
    return evaluate_images(trained, pictures.load(0))


# All that a judgement follows from; of the rest of a run nothing needs to be built.
JUDGED = ("data", "network", "activation", "loss")
# Where one of these changes, rows that were trained on may come into the test.
SPLIT = ("data.validation", "data.test", "data.rows")
# The run's own scaling is used, and no batches are made.
OF_TRAINING = ("data.batch_size", "data.normalize", "data.normalize_targets")

NEEDS_RUN = (
    "evaluate needs a run: its folder, latest, or a checkpoint file, as in brainnet evaluate latest"
)


def run_evaluate(arguments: Namespace) -> int:
    """Judge a run as the words ask for; returns the exit code.

    Raises:
        InputError: when there is no such run, or what was typed does not fit it.
    """
    if not names_run(arguments.run):
        raise InputError(f"{NEEDS_RUN}; got {arguments.run}.")
    parsed = parse_overrides(arguments.overrides)
    check_no_deletions(parsed, "evaluate")
    found = find_run(arguments.run, find_runs_directory(parsed))
    learnt = read_stored_config(found)
    choice = parse_overrides(select_data_choice(parsed, learnt))
    composed = resolve_config(compose_config([*choice, *parsed]))
    stored = {key: deepcopy(learnt.get(key)) for key in ("seed", *JUDGED)}
    config = with_typed(stored, composed, parsed)
    keep_reading(config, learnt, parsed)
    judge_by_test_file(config, learnt)
    check_reading(config, learnt, parsed)
    judgement = judged(found, config, learnt, build_allow_list(parsed))
    sys.stdout.write(judgement.as_json() if arguments.json else judgement.told())
    return 0


def names_run(word: str) -> bool:
    """Whether a word is a run rather than an override, `~key` among these; `~/runs` is a folder."""
    overrides = "=" in word or (word.startswith("~") and "/" not in word)
    return not overrides or Path(word).exists()


def judged(run: Run, config: Config, learnt: Config, consent: TargetAllowList) -> Judgement:
    """Judge a run by the test rows of its own data, or by all rows of another file.

    Args:
        run: the run.
        config: its configuration, with the data that were typed.
        learnt: its configuration as it was trained.
        consent: which classes the words allow.

    Raises:
        InputError: when the data cannot be read, or do not fit the network.
    """
    if is_other_file(config, learnt):
        check_config({"data": config["data"]}, ("data",))
        return judged_by_file(run, config, consent)
    check_rebuildable(config)
    check_config(config, JUDGED)
    check_targets(config, consent)
    with suppress_warnings():
        data = build_datamodule(config, consent)
    check_alike(config, data, instantiate(config["loss"], "loss", consent))
    network, loss = build_network_and_loss(config, data, consent)
    rows = f"rows of {data.dataset.name}, kept for the test"
    own = get_value(config, "data._target_") == get_value(learnt, "data._target_")
    evaluation = evaluate(run, network, data, loss, unchanged=own)
    return Judgement(evaluation, rows, data.class_names)


def with_typed(stored: Config, composed: Config, overrides: Sequence[Override]) -> Config:
    """The stored configuration with the data that was typed.

    Raises:
        InputError: for a key that evaluating has no use for, or that would mix the rows it was
            trained on into those of the test.
    """
    before = {path: get_value(stored, path) for path in ("seed", *SPLIT, "data._target_")}
    for override in overrides:
        key = override.key_or_group
        group = key.partition(".")[0]
        if group in ("data", "seed") and key not in OF_TRAINING:
            set_value(stored, key, get_value(composed, key))
        elif group != "paths" and not changes_nothing(override, composed, stored):
            raise InputError(
                f"evaluate judges a network as it was trained: {override.input_line} has no place "
                "here. What may change is which rows it is judged by: data and seed."
            )
    check_unseen(stored, before)
    return stored


def check_unseen(config: Config, before: Mapping[str, object]) -> None:
    """Refuse to split anew the rows that the run was trained on.

    Args:
        config: with what was typed.
        before: the stored values of the seed, of what else a split follows from, and of the class
            of the data.

    Raises:
        InputError: when the test would hold rows the network was trained on.
    """
    if get_value(config, "data._target_") != before["data._target_"]:
        return
    changed = [path for path in ("seed", *SPLIT) if get_value(config, path) != before[path]]
    generated = get_value(config, "data.rows") is not None
    if not changed or (generated and "seed" in changed):
        return
    advice = ", or draw other rows with another seed as well" if generated else ""
    raise InputError(
        f"another {changed[0]} would split these rows anew, and the test would hold rows the "
        f"network was trained on. Leave it as it was in the run{advice}."
    )


def check_alike(config: Config, data: DataModule, loss: nn.Module) -> None:
    """Hold data against those that the network learnt from.

    Raises:
        InputError: when they have other inputs or other answers.
    """
    learnt, tasks = config["network"], getattr(loss, "tasks", (data.task,))
    inputs, outputs = learnt.get("inputs"), learnt.get("outputs")
    try:
        same_answers = outputs in (None, count_outputs(loss, data) or outputs)
    except InputError:  # more classes than the loss can tell apart
        same_answers = False
    if same_answers and inputs in (None, data.inputs) and data.task in tasks:
        return
    # A single output tells two classes apart.
    answers = max(2, outputs or 0) if "regression" not in tasks else outputs
    raise InputError(
        f"{data.dataset.name} has {counted(data.targets, data.task)} and {data.inputs} inputs; the "
        f"network learnt {counted(answers, tasks[0])} from {inputs}. Judge it by data like those "
        "it learnt from."
    )


def counted(answers: object, task: str) -> str:
    """How many answers there are to choose from, or numbers to predict."""
    if task == "regression":
        return "1 number to predict" if answers == 1 else f"{answers} numbers to predict"
    return f"{answers} classes"
