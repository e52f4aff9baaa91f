"""Other rows: a file with answers beside its rows, by all of which a trained network is judged."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from brainnet.answering.evaluation import Evaluation, mean_errors
from brainnet.answering.rows import check_complete, check_there
from brainnet.answering.table_rows import rows_at_once
from brainnet.answering.trained import Trained
from brainnet.data.answers import Answers
from brainnet.data.columns import Columns
from brainnet.data.dataset import Dataset
from brainnet.data.missing import Missing, kept_rows
from brainnet.data.row_file import RowFile
from brainnet.data.signs import agreed
from brainnet.data.wording import check_present, listed
from brainnet.errors import InputError
from brainnet.training.answers import ROWS_AT_ONCE, answers, outputs_of, rows_of_a_pass
from brainnet.training.tally import Tally


def judge_file(
    trained: Trained, file: RowFile, targets: Sequence[str], *, missing: Missing = "refuse"
) -> Evaluation:
    """Judge a trained network by all rows of a file, read as the run read its own.

    Args:
        trained: with what was learnt of the columns.
        file: with the columns that the run learnt from, by name, and the right answers.
        targets: the columns of the right answers; classes go by name.
        missing: what becomes of rows with empty cells: "refuse", "drop" or "impute".

    Raises:
        InputError: a column is missing, a cell cannot be read, or a class is none of the run's.
    """
    return _judged(trained, labelled(trained, file, targets, missing), file.path)


def judge_pictures(trained: Trained, pictures: Dataset) -> Evaluation:
    """Judge a trained network by all pictures of a data set, of the size it learnt from.

    Raises:
        InputError: a class is none of the run's.
    """
    known = {name: place for place, name in enumerate(trained.class_names)}
    strange = [name for name in pictures.class_names if name not in known]
    if strange:
        raise InputError(
            f"{pictures.name} has the classes {listed(strange, 6)}, which the network does not "
            f"know: it knows {listed(trained.class_names, 6)}. Leave their pictures out."
        )
    places = torch.tensor([known[name] for name in pictures.class_names])
    fitting = rows_of_a_pass(pictures.inputs.shape[1])
    rows = zip(pictures.inputs.split(fitting), pictures.targets.split(fitting), strict=True)
    return _judged(
        trained,
        ((trained.scaling.apply(inputs), places[targets]) for inputs, targets in rows),
        Path(pictures.name),
    )


def _judged(trained: Trained, rows: Iterator[tuple[Tensor, Tensor]], path: Path) -> Evaluation:
    """Judge by inputs, scaled, and the right answers."""
    tally: Tally | None = None
    found: list[Tensor] = []
    truths: list[Tensor] = []
    for inputs, right in rows:
        outputs = outputs_of(trained.network, inputs)
        targets = len(trained.class_names) or right.shape[1]
        tally = tally or Tally(trained.task, targets, confusion=True)
        blocks = (part.split(ROWS_AT_ONCE) for part in (outputs, right))
        for given, expected in zip(*blocks, strict=True):
            wanted = expected.to(given) if expected.is_floating_point() else expected
            told = answers(given, trained.loss, trained.task)
            tally.add(trained.loss(given, wanted), told, wanted)
        found.append(outputs)
        truths.append(right)
    if tally is None:
        raise InputError(f"every row of {path} has an empty cell: none is left to judge by.")
    given, right = torch.cat(found), torch.cat(truths)
    said = answers(given, trained.loss, trained.task)
    return Evaluation(
        metrics={f"{name}/test": value for name, value in tally.read().items()},
        outputs=given,
        answers=said,
        truths=right,
        confusion=tally.confusion_matrix(),
        checkpoint=trained.checkpoint,
        errors=mean_errors(said, right, trained.target_scaling, trained.target_names),
    )


def labelled(
    trained: Trained, file: RowFile, targets: Sequence[str], missing: Missing
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the rows of a file, scaled as the run scaled its own: inputs, and the right answers.

    Classes are the numbers of the run's own; numbers to predict are scaled as it scaled them.
    """
    columns = trained.preparation
    if not isinstance(columns, Columns):
        raise InputError(
            f"this run learnt from pictures, and {file.path} is a table. Judge it by pictures: "
            "data=images data.path=..."
        )
    check_there(file.columns, columns.raw_names)
    check_present(targets, file.columns, of=f"the right answers: in {file.path} ")
    columns, file = agreed(columns, file)
    classes = trained.class_names
    right = Answers(trained.task, torch.empty(0), classes, tuple(targets), columns.decimal)
    texts = [*columns.text_names, *(targets if trained.class_names else ())]
    names = [*columns.raw_names, *targets]
    for frame in file.chunks(rows_at_once(len(names)), text=texts, only=names):
        encoded = columns.encode(frame, wordless=missing == "drop")
        measured, truths = columns.expand(encoded), right.encode(frame)
        if missing == "refuse" and not columns.imputes:
            check_complete(measured, columns, frame.index)
        owners = [column.name for column in columns.columns for _ in range(column.width)]
        there = (encoded, owners), (truths, targets)
        kept = kept_rows(frame.index, *there, missing, file.path)
        if kept.any():
            inputs = trained.scaling.apply(torch.from_numpy(measured[kept]))
            yield inputs, _right(trained, truths[kept])


def _right(trained: Trained, truths: Any) -> Tensor:  # noqa: ANN401 - an array
    """Return right answers in the form that a loss takes."""
    if trained.class_names:
        return torch.from_numpy(truths[:, 0].astype(np.int64))
    return trained.target_scaling.apply(torch.from_numpy(truths.astype(np.float32)))
