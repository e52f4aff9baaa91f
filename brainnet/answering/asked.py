"""Asked: what a stored run was asked to learn, how it learned it, and what was seen meanwhile."""

import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from brainnet.data.columns import Columns
from brainnet.data.pixels import Pixels
from brainnet.data.preparation import Preparation
from brainnet.observation.reading import Reading
from brainnet.observation.recording import NAME, read_recording
from brainnet.portrait.subject import Facts
from brainnet.reasons.answer import Question
from brainnet.reasons.labels import Labels
from brainnet.structure.anatomy import places
from brainnet.training.answers import answers, probabilities
from brainnet.training.stored import NETWORK

if TYPE_CHECKING:  # which gives an account of itself
    from brainnet.answering.trained import Trained

_PIXEL = re.compile(r"row (\d+) column (\d+)")


def question_of(trained: "Trained") -> Question:
    """What the network was asked, and how its outputs are to be read."""
    names, words = _short(trained.preparation), {}
    if isinstance(trained.preparation, Columns):
        coded = [column for column in trained.preparation.columns if column.embedded]
        positions = sorted(trained.preparation.embedded)
        words = {place: each.values for place, each in zip(positions, coded, strict=True)}
    regression = trained.task == "regression"
    outputs = trained.target_names if regression else trained.class_names
    return Question(
        task=trained.task,
        loss=trained.loss,
        labels=Labels(names, outputs, words),
        answers=partial(answers, loss=trained.loss, task=trained.task),
        probabilities=partial(probabilities, loss=trained.loss, task=trained.task),
        target_scaling=trained.target_scaling if regression else None,
        image_shape=None if trained.image_shape is None else tuple(trained.image_shape),
        zero=_zero(trained),
    )


def facts_of(trained: "Trained") -> Facts:
    """What configuration and summary say of how the network learned."""
    config, folder = trained.config, trained.run.folder
    summary: dict[str, Any] = folder.read_summary() if folder.began else {}
    optimizer, schedule = config.get("optimizer") or {}, config.get("schedule") or {}
    metrics = {
        tag: value
        for tag, value in (summary.get("metrics") or {}).items()
        if isinstance(value, int | float)
    }
    return Facts(
        name=str(folder.path),
        checkpoint=trained.checkpoint.name,
        optimizer=_last_word(optimizer.get("_target_") or optimizer.get("function")),
        learning_rate=optimizer.get("lr"),
        schedule=_last_word(schedule.get("_target_") or schedule.get("function")),
        batch_size=(config.get("data") or {}).get("batch_size"),
        steps=summary.get("steps"),
        epochs=summary.get("epochs"),
        metrics=metrics,
    )


def readings_of(trained: "Trained") -> tuple[Reading, ...]:
    """What was seen during training; empty where nobody looked."""
    folder = trained.run.folder.path
    if not (folder / NAME).exists():
        return ()
    # The module that trains has the network in it, and its layers by such names.
    own = {f"{NETWORK}{place.name}": place.name for place in places(trained.network)}
    return tuple(
        replace(
            reading,
            layers=tuple(
                replace(layer, place=own.get(layer.place, layer.place)) for layer in reading.layers
            ),
        )
        for reading in read_recording(folder)
    )


def _short(preparation: Preparation) -> tuple[str, ...]:
    """The names of the inputs; those of pixels so short that they fit beside a number."""
    names = preparation.names
    if isinstance(preparation, Pixels):
        short = (_PIXEL.sub(r"\1,\2", name) for name in names)
        return tuple(name if name[0].isalpha() else f"pixel {name}" for name in short)
    return names


def _zero(trained: "Trained") -> str:
    """What a row of zeros stands for, as the run scaled its inputs."""
    kind = trained.scaling.kind
    if kind == "standard":
        return "an average row"
    if trained.image_shape is not None:
        return "an empty picture"
    return "a row of the smallest values" if kind == "minmax" else "a row of zeros"


def _last_word(path: object) -> str | None:
    return None if path is None else str(path).rpartition(".")[2]
