"""Evaluate a finished run on its test rows or on other data."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

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
from brainnet.data.validation import join_names
from brainnet.errors import InputError
from brainnet.inference.inputs import choose_table_batch_rows
from brainnet.inference.trained_model import TrainedModel
from brainnet.learning.loss import Task
from brainnet.learning.predictions import BATCH_ROWS, choose_batch_rows, decode_predictions
from brainnet.observation.probe import isolated_eval
from brainnet.training.assembly import check_sizes
from brainnet.training.checkpoint_files import load_checkpoint, load_network, load_scaling
from brainnet.training.metrics import StageMetrics
from brainnet.training.run_directory import Run, find_run


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Results of one checkpoint on labeled rows.

    Attributes:
        metrics: `loss/test`, and `accuracy/test` or `r2/test`.
        outputs: outputs of the network, (rows, outputs).
        predictions: classes (rows,), or numbers (rows, targets) on the scale of training.
        targets: true classes or numbers, like `predictions`.
        confusion: number of rows by true class (row) and predicted class (column); None for
            regression.
        checkpoint: file of the evaluated weights.
        errors: mean absolute error of each number to predict, by name, in its own unit; empty for
            classes.
    """

    metrics: dict[str, float]
    outputs: Tensor = field(repr=False)
    predictions: Tensor = field(repr=False)
    targets: Tensor = field(repr=False)
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
    """Evaluate the best weights of a run on the test rows, scaled as in the run.

    The network is loaded with these weights, and the data with that scaling.

    Args:
        run: directory of a run, `latest`, or a checkpoint file.
        network: a network like the trained one.
        data: data of the run, or other data with the same columns.
        loss: the loss of the run.
        unchanged: whether the rows must be those of the run; if a file of the run changed, training
            rows may be among the test rows.

    Raises:
        InputError: there is no such run, or the network or the data do not fit it.
    """
    run = run if isinstance(run, Run) else find_run(run)
    checkpoint = load_checkpoint(run.best)
    check_sizes(network, data, loss)
    load_network(network, checkpoint)
    load_scaling(data, checkpoint, unchanged=unchanged)
    return _evaluate_batches(
        network,
        loss,
        data.iterate_batches("test", BATCH_ROWS),
        task=data.dataset.task,
        class_count=len(data.dataset.class_names),
        target_names=data.dataset.target_names,
        target_scaling=data.target_scaling,
        checkpoint=run.best,
    )


def evaluate_table_file(
    trained: TrainedModel,
    file: TableFile,
    targets: Sequence[str],
    *,
    missing: MissingPolicy = "error",
) -> Evaluation:
    """Evaluate a trained model on all rows of a file, encoded as the training rows were.

    Args:
        trained: the model.
        file: with the columns of the training data, matched by name, and the targets.
        targets: names of the target columns; classes are matched by name.
        missing: what to do with rows with empty cells: "error", "drop" or "impute".

    Raises:
        InputError: a column is missing, a cell cannot be read, a class is unknown, or no row is
            left.
    """
    return _evaluate_trained(trained, read_labeled_inputs(trained, file, targets, missing))


def evaluate_images(trained: TrainedModel, images: Dataset) -> Evaluation:
    """Evaluate a trained model on all images of a data set, of the size of the training images.

    Raises:
        InputError: a class is unknown.
    """
    codes = {name: code for code, name in enumerate(trained.class_names)}
    # Folders of other images may be sorted differently: classes are matched by name.
    unknown = [name for name in images.class_names if name not in codes]
    if unknown:
        raise InputError(
            f"{images.name} has the classes {join_names(unknown, 6)}, which the network does not "
            f"have: it has {join_names(trained.class_names, 6)}. Leave their images out."
        )
    class_codes = torch.tensor([codes[name] for name in images.class_names])
    rows = choose_batch_rows(images.inputs.shape[1])
    pairs = zip(images.inputs.split(rows), images.targets.split(rows), strict=True)
    batches = ((trained.scaling.apply(inputs), class_codes[labels]) for inputs, labels in pairs)
    return _evaluate_trained(trained, batches)


def read_labeled_inputs(
    trained: TrainedModel, file: TableFile, targets: Sequence[str], missing: MissingPolicy
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the rows of a file as scaled inputs, and their targets as the loss expects them.

    Raises:
        InputError: the run was trained on images, or a column or a value is missing or wrong.
    """
    encoder, class_names = trained.encoder, tuple(trained.class_names)
    if not isinstance(encoder, TableEncoder):
        raise InputError(
            f"this run was trained on images, and {file.path} is a table. Evaluate it on images: "
            "data=images data.path=..."
        )
    target_encoder = TargetEncoder(tuple(targets), class_names, encoder.decimal)
    # Without imputation in training, there is no mean to fill in.
    policy = "error" if missing == "impute" and not encoder.imputes else missing
    rows = choose_table_batch_rows(len(encoder.raw_names) + len(targets))
    for encoded, labels, _ in read_labeled_rows(file, encoder, target_encoder, policy, rows):
        # All rows of a chunk may have been dropped.
        if len(encoded):
            inputs = trained.scaling.apply(torch.from_numpy(encoded))
            if class_names:
                yield inputs, torch.from_numpy(labels[:, 0].astype(np.int64))
            else:
                numbers = torch.from_numpy(labels.astype(np.float32))
                yield inputs, trained.target_scaling.apply(numbers)


def _evaluate_trained(
    trained: TrainedModel, batches: Iterable[tuple[Tensor, Tensor]]
) -> Evaluation:
    return _evaluate_batches(
        trained.network,
        trained.loss,
        batches,
        task=trained.task,
        class_count=len(trained.class_names),
        target_names=trained.target_names,
        target_scaling=trained.target_scaling,
        checkpoint=trained.checkpoint,
    )


def _evaluate_batches(
    network: nn.Module,
    loss: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    task: Task,
    class_count: int,
    target_names: Sequence[str],
    target_scaling: Scaling,
    checkpoint: Path,
) -> Evaluation:
    """Compute all results from batches of scaled inputs and their targets."""
    metrics = StageMetrics(task, class_count or len(target_scaling.shift), confusion=True)
    # Outputs are few numbers per row; inputs are not kept.
    all_outputs, all_targets = [], []
    like = next(network.parameters())
    with isolated_eval(network):
        for batch in batches:
            # The same batch size as in `predict` gives the same bits.
            rows = choose_batch_rows(batch[0].shape[1])
            for inputs, targets in zip(*(part.split(rows) for part in batch), strict=True):
                outputs = network(inputs.to(like))
                expected = targets.to(like.device)
                expected = expected.to(like) if expected.is_floating_point() else expected
                predictions = decode_predictions(outputs, loss, task)
                # Metrics are computed on the CPU, because MPS has no float64 for R².
                metrics.add(loss(outputs, expected).cpu(), predictions.cpu(), expected.cpu())
                all_outputs.append(outputs.cpu())
                all_targets.append(targets)
    if not all_outputs:
        raise InputError("no row is left to evaluate on: all rows have empty cells.")
    outputs, targets = torch.cat(all_outputs), torch.cat(all_targets)
    predictions = decode_predictions(outputs, loss, task)
    errors = {}
    if targets.is_floating_point():
        # Predictions may be bfloat16, in which the differences would be rounded.
        differences = target_scaling.undo(predictions.to(targets)) - target_scaling.undo(targets)
        means = differences.abs().double().mean(dim=0).tolist()
        errors = dict(zip(target_names, means, strict=True))
    return Evaluation(
        metrics={f"{name}/test": value for name, value in metrics.read().items()},
        outputs=outputs,
        predictions=predictions,
        targets=targets,
        confusion=metrics.compute_confusion(),
        checkpoint=checkpoint,
        errors=errors,
    )
