"""Evaluation: how well a trained network answers rows it has never seen."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from brainnet.data.module import DataModule
from brainnet.data.scaling import Scaling
from brainnet.observation.untouched import untouched
from brainnet.training.answers import answers
from brainnet.training.run_folder import Run, find_run
from brainnet.training.sizes import check_sizes
from brainnet.training.stored import load_checkpoint, load_network, load_scaling
from brainnet.training.tally import Tally

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
    tally = Tally(data.task, data.targets, confusion=True)
    outputs: list[Tensor] = []
    truths: list[Tensor] = []
    like = next(network.parameters())
    with untouched(network):
        for rows, expected in data.batches("test", _ROWS_AT_ONCE):
            found = network(rows.to(like))
            right = expected.to(like) if expected.is_floating_point() else expected.to(like.device)
            tally.add(loss(found, right).cpu(), answers(found, loss, data.task).cpu(), right.cpu())
            outputs.append(found.cpu())
            truths.append(expected)
    given, right = torch.cat(outputs), torch.cat(truths)
    found = answers(given, loss, data.task)
    return Evaluation(
        metrics={f"{name}/test": value for name, value in tally.read().items()},
        outputs=given,
        answers=found,
        truths=right,
        confusion=tally.confusion_matrix(),
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
