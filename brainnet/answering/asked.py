"""Asked: what a trained network was asked, and what its inputs and answers are called."""

import re
from functools import partial

from torch import nn

from brainnet.data.columns import Columns
from brainnet.data.dataset import ImageShape
from brainnet.data.pixels import Pixels
from brainnet.data.preparation import Preparation
from brainnet.data.scaling import Scaling
from brainnet.learning.loss import Task
from brainnet.reasons.answer import Question
from brainnet.reasons.labels import Labels
from brainnet.training.answers import answers, probabilities

_PIXEL = re.compile(r"row (\d+) column (\d+)")


def question_of(
    task: Task,
    loss: nn.Module,
    *,
    preparation: Preparation,
    outputs: tuple[str, ...],
    scaling: Scaling,
    target_scaling: Scaling,
    image_shape: ImageShape | None,
) -> Question:
    """What a network was asked, and how its outputs are to be read.

    Args:
        task: what it learnt.
        loss: by which it learnt.
        preparation: how raw rows become inputs as measured.
        outputs: names of the classes, or of the numbers to predict.
        scaling: of the inputs.
        target_scaling: of the numbers to predict.
        image_shape: of a row that is a picture.
    """
    words = {}
    if isinstance(preparation, Columns):
        coded = [column for column in preparation.columns if column.embedded]
        positions = sorted(preparation.embedded)
        words = {place: each.values for place, each in zip(positions, coded, strict=True)}
    return Question(
        task=task,
        loss=loss,
        labels=Labels(_short(preparation), outputs, words),
        answers=partial(answers, loss=loss, task=task),
        probabilities=partial(probabilities, loss=loss, task=task),
        target_scaling=target_scaling if task == "regression" else None,
        image_shape=None if image_shape is None else tuple(image_shape),
        zero=_zero(scaling, image_shape),
    )


def _short(preparation: Preparation) -> tuple[str, ...]:
    """The names of the inputs; those of pixels so short that they fit beside a number."""
    names = preparation.names
    if isinstance(preparation, Pixels):
        short = (_PIXEL.sub(r"\1,\2", name) for name in names)
        return tuple(name if name[0].isalpha() else f"pixel {name}" for name in short)
    return names


def _zero(scaling: Scaling, image_shape: ImageShape | None) -> str:
    """What a row of zeros stands for, as the run scaled its inputs."""
    if scaling.kind == "standard":
        return "an average row"
    if image_shape is not None:
        return "an empty picture"
    return "a row of the smallest values" if scaling.kind == "minmax" else "a row of zeros"
