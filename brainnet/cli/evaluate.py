"""`brainnet evaluate RUN`: evaluate the best checkpoint of a run on rows it was not trained on."""

import json
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Override
from torch import Tensor

from brainnet.config.components import build_datamodule
from brainnet.config.compose import ConfigFiles, build_allow_list, parse_overrides
from brainnet.config.instantiate import check_targets
from brainnet.config.resume import (
    changes_nothing,
    check_rebuildable,
    get_value,
    has_same_data_class,
    open_run,
)
from brainnet.config.schema import Config, check_config
from brainnet.data.datasets import IMAGES_TARGET, TABLE_TARGET
from brainnet.data.image_files import ImageEncoder
from brainnet.data.images import Images
from brainnet.data.preprocessing import MissingPolicy
from brainnet.data.table_files import open_table
from brainnet.data.validation import format_count, parse_names, suppress_warnings
from brainnet.errors import InputError
from brainnet.explanation.formatting import format_number
from brainnet.inference.evaluate import Evaluation, evaluate, evaluate_images, evaluate_table_file
from brainnet.inference.trained_model import TrainedModel, load

_MAX_TABLE_CLASSES = 12
_MAX_ERRORS = 10
_MAX_NAME_LETTERS = 16

# With another value of these keys, training rows may be in the test part.
_SPLIT_KEYS = ("seed", "data.validation", "data.test", "data.rows")

# Keys without effect: the scaling is that of the run, and there are no training batches.
_TRAINING_KEYS = ("data.batch_size", "data.normalize", "data.normalize_targets")

# Keys that may be typed for other files; everything else is as in the run.
_FILE_KEYS = {
    TABLE_TARGET: ("path", "target", "missing", "header", "csv"),
    IMAGES_TARGET: ("path", "labels", "broken"),
}


def format_evaluation(evaluation: Evaluation, rows: str) -> str:
    """Return the results as text; `rows` describes the rows, such as "test rows of iris"."""
    lines = [f"{tag:<15}{value:.4g}" for tag, value in sorted(evaluation.metrics.items())]
    lines += [
        f"{'mean error':<15}{format_number(value)} in {name}"
        for name, value in evaluation.errors.items()
    ]
    lines += [
        f"{'evaluated on':<15}{len(evaluation.targets):,} {rows}",
        f"{'checkpoint':<15}{evaluation.checkpoint}",
    ]
    if evaluation.confusion is not None:
        lines += ["", *format_confusion(evaluation.confusion, evaluation.class_names)]
    return "\n".join(lines) + "\n"


def format_json(evaluation: Evaluation, rows: str) -> str:
    """Return the same as one JSON object on one line."""
    confusion = evaluation.confusion
    values = {
        "metrics": evaluation.metrics,
        "mean_absolute_errors": evaluation.errors,
        "rows": len(evaluation.targets),
        "evaluated_on": rows,
        "checkpoint": str(evaluation.checkpoint),
        "classes": list(evaluation.class_names),
        "confusion": None if confusion is None else confusion.tolist(),
    }
    return json.dumps(values, ensure_ascii=False) + "\n"


def format_confusion(confusion: Tensor, names: Sequence[str]) -> list[str]:
    """Format a confusion matrix (classes, classes); of many classes, list the frequent errors."""
    if len(names) <= _MAX_TABLE_CLASSES:
        import pandas as pd

        letters = _MAX_NAME_LETTERS
        labels = [name if len(name) <= letters else f"{name[: letters - 1]}…" for name in names]
        table = pd.DataFrame(confusion.tolist(), index=labels, columns=labels)
        text = table.map(lambda count: f"{count:,}" if count else "·").to_string()
        return ["true class by row, predicted class by column", *text.splitlines()]
    # A table of more classes does not fit on a screen.
    errors = [
        (count, true, predicted)
        for true, row in enumerate(confusion.tolist())
        for predicted, count in enumerate(row)
        if count and predicted != true
    ]
    if not errors:
        return ["all predictions are correct"]
    errors.sort(key=lambda error: error[0], reverse=True)
    lines = ["the most frequent errors"]
    for count, true, predicted in errors[:_MAX_ERRORS]:
        lines.append(f"{count:>7,}  {names[true]} predicted as {names[predicted]}")
    if len(errors) > _MAX_ERRORS:
        lines.append(f"{'':>7}  and {len(errors) - _MAX_ERRORS} more")
    return lines


def run_evaluate(arguments: Namespace) -> int:
    """Evaluate a run and print the results; return the exit code."""
    overrides = parse_overrides(arguments.overrides)
    run, stored, composed = open_run(arguments.run, overrides, "evaluate", ConfigFiles())
    is_other_file = _check_overrides(overrides, composed, stored)
    config: Config = {key: stored.get(key) for key in ("network", "activation", "loss")}
    config |= {key: composed[key] for key in ("data", "seed")}
    allow_list = build_allow_list(overrides)
    if not is_other_file:
        check_rebuildable(config)
    # Network and loss are built from the checkpoint, so that their keys need no check here.
    check_config({"data": config["data"]}, ("data",))
    check_targets(config, allow_list)
    trained = load(run, allow_list=allow_list)
    # The network was trained on no row of another file, so that all of them can be used.
    if is_other_file:
        evaluation, rows = _evaluate_file(trained, config["data"])
    else:
        # The warnings about the data were printed by the training.
        with suppress_warnings():
            data = build_datamodule(config, allow_list)
        evaluation = evaluate(trained, data, unchanged=has_same_data_class(config, stored))
        rows = f"test rows of {data.dataset.name}"
    text = (format_json if arguments.json else format_evaluation)(evaluation, rows)
    sys.stdout.write(text)
    return 0


def _evaluate_file(trained: TrainedModel, options: Mapping[str, Any]) -> tuple[Evaluation, str]:
    """Evaluate a run on all rows of a table, or all images, that it was not trained on."""
    path, encoder = options["path"], trained.encoder
    if options["_target_"] == IMAGES_TARGET:
        if not isinstance(encoder, ImageEncoder):
            raise InputError(
                f"this run was trained on a table, and {path} are images. Evaluate it on a table: "
                "data=table data.path=..."
            )
        images = Images(
            path,
            size=(encoder.height, encoder.width),
            colors="rgb" if encoder.channels == 3 else "gray",
            broken=options.get("broken") or "error",
            labels=options.get("labels"),
        )
        return evaluate_images(trained, images.load(0)), f"images of {path}"
    missing: MissingPolicy = options.get("missing") or "error"
    targets = _order_targets(parse_names(options.get("target")), trained, path)
    file = open_table(str(path), header=options.get("header"), csv=options.get("csv"))
    which = "rows without empty cells" if missing == "drop" else "rows"
    return evaluate_table_file(trained, file, targets, missing=missing), f"{which} of {path}"


def _order_targets(names: Sequence[str], trained: TrainedModel, path: object) -> list[str]:
    """Return the target columns in the order of the outputs of the network."""
    learned = list(trained.target_names)
    count = 1 if trained.class_names else len(trained.target_scaling.shift)
    if not names:
        raise InputError(f"data.target must be given: which column of {path} is the target?")
    # The order of the outputs is that of training, not the order that the user typed.
    if sorted(names) == sorted(learned):
        return learned
    if len(names) == count == 1:
        return list(names)
    known = f": {', '.join(learned)}" if learned else ""
    raise InputError(
        f"data.target={','.join(names)}: this network has {format_count(count, 'target')}{known}. "
        "Name each target column once, as in training."
    )


def _check_overrides(overrides: Sequence[Override], composed: Config, stored: Config) -> bool:
    """Check that only the rows change; returns whether they are another file or folder."""
    is_same_class = has_same_data_class(composed, stored)
    file_keys = _FILE_KEYS.get(get_value(composed, "data._target_"))
    path = get_value(composed, "data.path")
    is_same_file = is_same_class and path == get_value(stored, "data.path")
    is_other_file = file_keys is not None and path is not None and not is_same_file
    for override in overrides:
        key = override.key_or_group
        group, _, name = key.partition(".")
        if file_keys is None:
            can_change = group == "data" and key not in _TRAINING_KEYS
        else:
            can_change = is_other_file and group == "data" and name.partition(".")[0] in file_keys
        if key in ("data", "seed", "paths.runs") or can_change:
            continue
        if not changes_nothing(override, composed, stored):
            rows = ", ".join(f"data.{name}" for name in file_keys or ("*",))
            raise InputError(
                f"evaluate uses the network as it was trained: {override.input_line} cannot be set "
                f"here. Only the rows may change: data, {rows}, and the seed of generated rows."
            )
    if is_same_class:
        _check_same_split(composed, stored)
    return is_other_file


def _check_same_split(composed: Config, stored: Config) -> None:
    changed = [key for key in _SPLIT_KEYS if get_value(composed, key) != get_value(stored, key)]
    is_generated = get_value(composed, "data.rows") is not None
    # Another seed generates other rows, none of which the network was trained on.
    if not changed or (is_generated and "seed" in changed):
        return
    advice = ", or generate other rows with another seed" if is_generated else ""
    raise InputError(
        f"another {changed[0]} would split these rows differently, and training rows would be in "
        f"the test. Leave it as in the run{advice}."
    )
