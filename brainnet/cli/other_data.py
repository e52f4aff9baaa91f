"""Other data than a run learnt from: which were typed, and how a run is judged by all of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.types import Override

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
from brainnet.training.evaluation import Evaluation
from brainnet.training.other_rows import judge_file, judge_pictures
from brainnet.training.run_folder import Run
from brainnet.training.trained import Trained, load

TABLE, IMAGES = "brainnet.data.table.Table", "brainnet.data.images.Images"
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
    same = kind == look_up(learnt, "data._target_") and path == look_up(learnt, "data.path")
    return kind in (TABLE, IMAGES) and path is not None and not same


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
