"""Other data than a run learnt from: which were typed, and how a run is judged by all of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.types import Override

from brainnet.answering.evaluation import Evaluation
from brainnet.answering.load import load
from brainnet.answering.other_rows import judge_file, judge_pictures
from brainnet.answering.trained import Trained
from brainnet.building.build import ROWS
from brainnet.building.files import IMAGES, PATHS, TABLE, is_same
from brainnet.building.targets import Consent
from brainnet.cli.conf_folder import choices, conf_folder
from brainnet.cli.configuration import Config
from brainnet.cli.judgement import Judgement
from brainnet.cli.resume import look_up, put
from brainnet.data.images import Images
from brainnet.data.missing import Missing
from brainnet.data.pixels import Pixels
from brainnet.data.reading import open_rows
from brainnet.errors import InputError
from brainnet.training.run_folder import Run

# What may be said of another file; all else is as it was in the run.
OF_FILE = {
    TABLE: ("path", "target", "missing", "header"),
    IMAGES: ("path", "labels", "broken"),
}
AS_LEARNT = ("data.target", "data.missing", "data.header", "data.broken")


def runs_of(overrides: Sequence[Override]) -> Path:
    """The folder of all runs, before anything is composed: which data can be typed is the run's."""
    typed = [override for override in overrides if override.key_or_group == "paths.runs"]
    return Path(str(typed[-1].value())) if typed else Path("runs")


def own_choice(overrides: Sequence[Override], learnt: Config) -> list[str]:
    """The choice of data that a run was trained on, where its keys alone were typed."""
    keys = [override.key_or_group for override in overrides]
    target = look_up(learnt, "data._target_")
    if "data" in keys or target is None or not any(key.startswith("data.") for key in keys):
        return []
    for choice in choices("data"):
        file = conf_folder() / "data" / f"{choice.name}.yaml"
        if yaml.safe_load(file.read_text(encoding="utf-8")).get("_target_") == target:
            return [f"data={choice.name}"]
    return []


def keep_reading(config: Config, learnt: Config, overrides: Sequence[Override]) -> None:
    """Read other rows as the run read its own, in all that was not typed."""
    typed = {override.key_or_group for override in overrides}
    if look_up(config, "data._target_") == look_up(learnt, "data._target_"):
        for key in AS_LEARNT:
            if key not in typed and look_up(learnt, key) is not None:
                put(config, key, look_up(learnt, key))


def is_other_file(config: Config, learnt: Config) -> bool:
    """Whether rows from a file were typed that are not those the run learnt from."""
    kind, path = look_up(config, "data._target_"), look_up(config, "data.path")
    same = kind == look_up(learnt, "data._target_") and is_same(path, look_up(learnt, "data.path"))
    return kind in OF_FILE and path is not None and not same


def judge_by_test_file(config: Config, learnt: Config) -> None:
    """Take a file of test rows that was typed, and that the run had not, for the one to judge by.

    Beside the run's own file it leaves more rows to train on: all were split anew.
    """
    path, own = look_up(config, "data.test_path"), look_up(learnt, "data.test_path")
    if path is None or is_other_file(config, learnt) or is_same(path, own):
        return
    put(config, "data.path", path)
    put(config, "data.test_path", own)


def check_reading(config: Config, learnt: Config, overrides: Sequence[Override]) -> None:
    """Refuse words on files that change what inputs and answers mean, or which rows are whose.

    Args:
        config: with what was typed.
        learnt: as the run was trained.
        overrides: what was typed.

    Raises:
        InputError: at the first such word.
    """
    kind = look_up(config, "data._target_")
    if kind not in OF_FILE:
        return
    other = is_other_file(config, learnt)
    free = OF_FILE[kind] if other else ()
    for override in overrides:
        group, _, key = override.key_or_group.partition(".")
        if group != "data" or key in ("", "_target_", *free, *ROWS):
            continue
        typed, there = look_up(config, f"data.{key}"), look_up(learnt, f"data.{key}")
        if is_same(typed, there) if key in PATHS else typed == there:
            continue
        allowed = ", ".join(f"data.{name}" for name in OF_FILE[kind])
        which = "another file is" if other else "its own data are"
        raise InputError(
            f"evaluate judges a network as it was trained, and {which} read as the run read its "
            f"own: {override.input_line} has no place here. All rows of another file are judged, "
            f"and of such a one may be said: {allowed}."
        )


def judged_by_file(run: Run, config: Config, consent: Consent) -> Judgement:
    """Judge a run by all rows of a file, or all pictures of a folder: it learnt from none of them.

    Raises:
        InputError: when the file cannot be read, or does not fit the run.
    """
    trained = load(run, consent=consent)
    data = config["data"]
    if data["_target_"] == IMAGES:
        evaluation = judged_by_pictures(trained, data)
        return Judgement(evaluation, f"pictures of {data['path']}", trained.class_names)
    target = data.get("target")
    if target in (None, "", []):
        raise InputError(
            f"data.target must be given: which column of {data['path']} has the right answers?"
        )
    names = [str(target)] if isinstance(target, str | int) else [str(name) for name in target]
    names = in_learnt_order(names, trained)
    missing: Missing = data.get("missing") or "refuse"
    if missing == "impute" and not trained.preparation.imputes:
        raise InputError(
            "data.missing=impute: this run learnt from complete rows, and has no mean to fill in. "
            "data.missing=drop leaves rows with empty cells out."
        )
    file = open_rows(str(data["path"]), header=data.get("header"))
    evaluation = judge_file(trained, file, names, missing=missing)
    which = "without empty cells" if missing == "drop" else "all there are"
    return Judgement(evaluation, f"rows of {data['path']}, {which}", trained.class_names)


def in_learnt_order(targets: Sequence[str], trained: Trained) -> list[str]:
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


def judged_by_pictures(trained: Trained, data: Mapping[str, Any]) -> Evaluation:
    """Judge a run by other pictures, brought to the size and the colours of its own.

    Raises:
        InputError: when they cannot be read, or the run learnt from a table.
    """
    pixels = trained.preparation
    if not isinstance(pixels, Pixels):
        raise InputError(
            f"this run learnt from a table, and {data['path']} is to be pictures. Judge it by a "
            "table: data=table data.path=..."
        )
    pictures = Images(
        data["path"],
        size=(pixels.height, pixels.width),
        colours="rgb" if pixels.channels == 3 else "grey",
        broken=data.get("broken") or "refuse",
        labels=data.get("labels"),
    )
    return judge_pictures(trained, pictures.load(0))
