"""Evaluate a finished run on its test rows or on other data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from brainnet.data.datamodule import DataModule
from brainnet.data.dataset import Dataset
from brainnet.data.preprocessing import MissingPolicy, TableEncoder
from brainnet.data.scaling import Scaling
from brainnet.data.table import read_labeled_rows
from brainnet.data.table_files import TableFile
from brainnet.data.targets import TargetEncoder
from brainnet.data.validation import check_columns_exist, join_names
from brainnet.errors import InputError
from brainnet.inference.inputs import choose_table_batch_rows
from brainnet.inference.trained_model import TrainedModel
from brainnet.learning.predictions import (
    BATCH_ROWS,
    choose_batch_rows,
    compute_outputs,
    decode_predictions,
)
from brainnet.observation.probe import isolated_eval
from brainnet.training.assembly import check_sizes
from brainnet.training.checkpoint_files import load_checkpoint, load_network, load_scaling
from brainnet.training.metrics import StageMetrics
from brainnet.training.run_directory import Run, find_run

_ROWS_AT_ONCE = 8192


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The test of one checkpoint.

    Attributes:
        metrics: `loss/test`, and `accuracy/test` or `r2/test`.
        outputs: what the network gave for each row, (rows, outputs).
        answers: what that means: classes (rows,), or numbers (rows, targets), scaled as `truths`.
        truths: what would have been right.
        confusion: rows of each class (row) by the answer they got (column); None for numbers.
        checkpoint: the file that was judged.
        errors: of each number to predict by its name, how far the answers are from the truth on
            average (mean absolute error), in its own unit; empty for classes.
    """

    metrics: dict[str, float]
    outputs: Tensor = field(repr=False)
    answers: Tensor = field(repr=False)
    truths: Tensor = field(repr=False)
    confusion: Tensor | None = field(repr=False)
    checkpoint: Path
    errors: dict[str, float] = field(default_factory=dict)


def evaluate(
    run: Run | Path | str,
    network: nn.Module,
    data: DataModule,
    loss: nn.Module,
    *,
    unchanged: bool = False,
) -> Evaluation:
    """Judge a run's best weights by the test rows, scaled as the run scaled its own.

    The network gets these weights, and the data that scaling.

    Args:
        run: a run's folder, `latest`, or a checkpoint file.
        network: one as the run trained it.
        data: the run's data, or other data with the same columns.
        loss: from outputs and targets to one number.
        unchanged: whether the data are to be the run's own: where its files hold other rows now,
            some that it was trained on would come into the test.

    Raises:
        InputError: there is no such run, or the network or the data do not fit it.
    """
    found = run if isinstance(run, Run) else find_run(run)
    checkpoint = load_checkpoint(found.best)
    check_sizes(network, data, loss)
    load_network(network, checkpoint)
    load_scaling(data, checkpoint, unchanged=unchanged)
    return judge(network, data, loss, checkpoint=found.best)


def judge(network: nn.Module, data: DataModule, loss: nn.Module, *, checkpoint: Path) -> Evaluation:
    """Judge a network as it stands by the test rows; `checkpoint` is where it came from."""
    tally = StageMetrics(data.task, data.targets, confusion=True)
    outputs: list[Tensor] = []
    truths: list[Tensor] = []
    like = next(network.parameters())
    with isolated_eval(network):
        for rows, expected in data.iterate_batches("test", _ROWS_AT_ONCE):
            found = network(rows.to(like))
            right = expected.to(like) if expected.is_floating_point() else expected.to(like.device)
            tally.add(
                loss(found, right).cpu(),
                decode_predictions(found, loss, data.task).cpu(),
                right.cpu(),
            )
            outputs.append(found.cpu())
            truths.append(expected)
    given, right = torch.cat(outputs), torch.cat(truths)
    found = decode_predictions(given, loss, data.task)
    return Evaluation(
        metrics={f"{name}/test": value for name, value in tally.read().items()},
        outputs=given,
        answers=found,
        truths=right,
        confusion=tally.compute_confusion(),
        checkpoint=checkpoint,
        errors=mean_errors(found, right, data.target_scaling, data.target_names),
    )


def mean_errors(
    answers: Tensor, truths: Tensor, scaling: Scaling, names: Sequence[str]
) -> dict[str, float]:
    """How far numbers are from the truth on average, each in its own unit.

    Args:
        answers: scaled, (rows, targets); those that are classes have no error.
        truths: as `answers`.
        scaling: of the numbers to predict.
        names: of the numbers.
    """
    if not truths.is_floating_point():
        return {}
    apart = (scaling.undo(answers.to(truths)) - scaling.undo(truths)).abs().double().mean(dim=0)
    return dict(zip(names, apart.tolist(), strict=True))


def evaluate_table_file(
    trained: TrainedModel,
    file: TableFile,
    targets: Sequence[str],
    *,
    missing: MissingPolicy = "error",
) -> Evaluation:
    """Judge a trained network by all rows of a file, read as the run read its own.

    Args:
        trained: with what was learnt of the columns.
        file: with the columns that the run learnt from, by name, and the right answers.
        targets: the columns of the right answers; classes go by name.
        missing: what becomes of rows with empty cells: "error", "drop" or "impute".

    Raises:
        InputError: a column is missing, a cell cannot be read, or a class is none of the run's.
    """
    return _judged(trained, labelled(trained, file, targets, missing), file.path)


def evaluate_images(trained: TrainedModel, pictures: Dataset) -> Evaluation:
    """Judge a trained network by all pictures of a data set, of the size it learnt from.

    Raises:
        InputError: a class is none of the run's.
    """
    known = {name: place for place, name in enumerate(trained.class_names)}
    strange = [name for name in pictures.class_names if name not in known]
    if strange:
        raise InputError(
            f"{pictures.name} has the classes {join_names(strange, 6)}, which the network does not "
            f"know: it knows {join_names(trained.class_names, 6)}. Leave their pictures out."
        )
    places = torch.tensor([known[name] for name in pictures.class_names])
    fitting = choose_batch_rows(pictures.inputs.shape[1])
    rows = zip(pictures.inputs.split(fitting), pictures.targets.split(fitting), strict=True)
    return _judged(
        trained,
        ((trained.scaling.apply(inputs), places[targets]) for inputs, targets in rows),
        Path(pictures.name),
    )


def _judged(trained: TrainedModel, rows: Iterator[tuple[Tensor, Tensor]], path: Path) -> Evaluation:
    """Judge by inputs, scaled, and the right answers."""
    tally: StageMetrics | None = None
    found: list[Tensor] = []
    truths: list[Tensor] = []
    for inputs, right in rows:
        outputs = compute_outputs(trained.network, inputs)
        targets = len(trained.class_names) or right.shape[1]
        tally = tally or StageMetrics(trained.task, targets, confusion=True)
        blocks = (part.split(BATCH_ROWS) for part in (outputs, right))
        for given, expected in zip(*blocks, strict=True):
            wanted = expected.to(given) if expected.is_floating_point() else expected
            told = decode_predictions(given, trained.loss, trained.task)
            tally.add(trained.loss(given, wanted), told, wanted)
        found.append(outputs)
        truths.append(right)
    if tally is None:
        raise InputError(f"every row of {path} has an empty cell: none is left to judge by.")
    given, right = torch.cat(found), torch.cat(truths)
    said = decode_predictions(given, trained.loss, trained.task)
    return Evaluation(
        metrics={f"{name}/test": value for name, value in tally.read().items()},
        outputs=given,
        answers=said,
        truths=right,
        confusion=tally.compute_confusion(),
        checkpoint=trained.checkpoint,
        errors=mean_errors(said, right, trained.target_scaling, trained.target_names),
    )


def labelled(
    trained: TrainedModel, file: TableFile, targets: Sequence[str], missing: MissingPolicy
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the rows of a file, scaled as the run scaled its own: inputs, and the right answers.

    Classes are the numbers of the run's own; numbers to predict are scaled as it scaled them.
    """
    columns = trained.encoder
    if not isinstance(columns, TableEncoder):
        raise InputError(
            f"this run learnt from pictures, and {file.path} is a table. Judge it by pictures: "
            "data=images data.path=..."
        )
    check_columns_exist(targets, file.columns, where=f"the right answers: in {file.path} ")
    right = TargetEncoder(tuple(targets), tuple(trained.class_names), columns.decimal)
    # A network that was trained without imputation has no mean for a missing number.
    policy = "error" if missing == "impute" and not columns.imputes else missing
    rows = choose_table_batch_rows(len(columns.raw_names) + len(targets))
    for measured, truths, _ in read_labeled_rows(file, columns, right, policy, rows):
        if len(measured):
            inputs = trained.scaling.apply(torch.from_numpy(measured))
            yield inputs, _right(trained, truths)


def _right(trained: TrainedModel, truths: Any) -> Tensor:
    """Return right answers in the form that a loss takes."""
    if trained.class_names:
        return torch.from_numpy(truths[:, 0].astype(np.int64))
    return trained.target_scaling.apply(torch.from_numpy(truths.astype(np.float32)))
