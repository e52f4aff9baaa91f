"""Right answer: what would have been right of a raw row, where that stands beside its inputs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from brainnet.data.answers import Answers
from brainnet.data.wording import listed
from brainnet.errors import InputError
from brainnet.reasons.answer import Question

_TOLD = 6


def right_answer(
    question: Question,
    rows: Any,  # noqa: ANN401 - whatever `Trained.inputs` takes
    columns: Sequence[str],
    *,
    decimal: str = "",
) -> tuple[Tensor | None, str | None]:
    """Read the right answer to a raw row, the first of several.

    Args:
        question: what the network was asked.
        rows: a DataFrame, a mapping of columns or of cells, or a list of such mappings.
        columns: that hold the right answers.
        decimal: sign of the numbers in words, as `Columns` has it.

    Returns:
        The target as the loss takes it, (1,) or (1, targets), or None where nothing stands there;
        and a sentence where something stands there that is no answer.
    """
    import pandas as pd  # here, not above: half a second, and training on arrays needs none of it

    if isinstance(rows, list | tuple) and rows and isinstance(rows[0], Mapping):
        rows = rows[0]
    try:
        cells = [_first(rows[name]) for name in columns]
    except (KeyError, IndexError, TypeError):
        return None, None
    if not cells:
        return None, None
    frame = pd.DataFrame({name: [cell] for name, cell in zip(columns, cells, strict=True)})
    classes = question.labels.outputs if question.task != "regression" else ()
    answers = Answers(question.task, torch.empty(0), classes, tuple(columns), decimal)
    try:
        found = answers.encode(frame)
    except InputError:
        known = f"none of the classes {listed(classes, _TOLD)}" if classes else "no number"
        told = listed([f"{name} {cell}" for name, cell in zip(columns, cells, strict=True)], _TOLD)
        return None, f"Whether that is right: beside the inputs stands {told}, which is {known}."
    if np.isnan(found).any():
        return None, None
    if classes:
        return torch.from_numpy(found[:, 0].astype(np.int64)), None
    numbers = torch.from_numpy(found.astype(np.float32))
    scaling = question.target_scaling
    return numbers if scaling is None else scaling.apply(numbers), None


def _first(values: Any) -> Any:  # noqa: ANN401 - a column of anything, or one cell of it
    """The first cell of a column; a single cell is itself."""
    if np.ndim(values) == 0:
        return values.item() if hasattr(values, "item") else values
    return getattr(values, "iloc", values)[0]
