"""Evaluate a finished run on its test rows or on other data."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from brainnet.data.datamodule import DataModule
from brainnet.data.dataset import Dataset
from brainnet.data.preprocessing import MissingPolicy, TableEncoder
from brainnet.data.table import read_labeled_rows
from brainnet.data.table_files import TableFile
from brainnet.data.targets import TargetEncoder
from brainnet.data.validation import join_names
from brainnet.errors import InputError
from brainnet.inference.inputs import choose_table_batch_rows
from brainnet.inference.trained_model import TrainedModel
from brainnet.learning.predictions import BATCH_ROWS, choose_batch_rows, decode_predictions
from brainnet.observation.probe import isolated_eval
from brainnet.training.assembly import check_sizes
from brainnet.training.metrics import StageMetrics


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
        errors: mean absolute error of each number to predict, by name, in its own unit.
    """

    metrics: dict[str, float]
    outputs: Tensor = field(repr=False)
    predictions: Tensor = field(repr=False)
    targets: Tensor = field(repr=False)
    confusion: Tensor | None = field(repr=False)
    checkpoint: Path
    errors: dict[str, float] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()


def evaluate(trained: TrainedModel, data: DataModule, *, unchanged: bool = False) -> Evaluation:
    """Evaluate a trained model on the test rows of a data module, which is scaled as in the run.

    With `unchanged`, the rows must be those of the run: if its file changed, training rows may be
    among the test rows.
    """
    data.apply_scaling(trained.data_state)
    check_sizes(trained.network, data, trained.loss)
    if unchanged:
        data.check_unchanged(trained.data_state)
    return _evaluate_batches(trained, data.iterate_batches("test", BATCH_ROWS))


def evaluate_table_file(
    trained: TrainedModel,
    file: TableFile,
    targets: Sequence[str],
    *,
    missing: MissingPolicy = "error",
) -> Evaluation:
    """Evaluate a trained model on all rows of a file; columns and classes are matched by name."""
    return _evaluate_batches(trained, _read_labeled_inputs(trained, file, targets, missing))


def evaluate_images(trained: TrainedModel, images: Dataset) -> Evaluation:
    """Evaluate a trained model on all images of a data set, of the size of the training images."""
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
    return _evaluate_batches(trained, batches)


def _read_labeled_inputs(
    trained: TrainedModel, file: TableFile, targets: Sequence[str], missing: MissingPolicy
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the rows of a file as scaled inputs, and their targets as the loss expects them."""
    encoder, class_names = trained.encoder, tuple(trained.class_names)
    if not isinstance(encoder, TableEncoder):
        raise InputError(
            f"this run was trained on images, and {file.path} is a table. Evaluate it on images: "
            "data=images data.path=..."
        )
    target_encoder = TargetEncoder(tuple(targets), class_names, encoder.decimal)
    if missing == "impute" and not encoder.imputes:
        raise InputError(
            "data.missing=impute: this run was trained without imputation, and has no mean to fill "
            "in. data.missing=drop leaves out rows with empty cells."
        )
    rows = choose_table_batch_rows(len(encoder.raw_names) + len(targets))
    for encoded, labels, _ in read_labeled_rows(file, encoder, target_encoder, missing, rows):
        # All rows of a chunk may have been dropped.
        if len(encoded):
            inputs = trained.scaling.apply(torch.from_numpy(encoded))
            if class_names:
                yield inputs, torch.from_numpy(labels[:, 0].astype(np.int64))
            else:
                numbers = torch.from_numpy(labels.astype(np.float32))
                yield inputs, trained.target_scaling.apply(numbers)


def _evaluate_batches(
    trained: TrainedModel, batches: Iterable[tuple[Tensor, Tensor]]
) -> Evaluation:
    """Compute all results from batches of scaled inputs and their targets."""
    network, loss, task = trained.network, trained.loss, trained.task
    columns = len(trained.class_names) or len(trained.target_names)
    metrics = StageMetrics(task, columns, confusion=True)
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
        scaling = trained.target_scaling
        differences = scaling.undo(predictions.to(targets)) - scaling.undo(targets)
        means = differences.abs().double().mean(dim=0).tolist()
        errors = dict(zip(trained.target_names, means, strict=True))
    return Evaluation(
        metrics={f"{name}/test": value for name, value in metrics.read().items()},
        outputs=outputs,
        predictions=predictions,
        targets=targets,
        confusion=metrics.compute_confusion(),
        checkpoint=trained.checkpoint,
        errors=errors,
        class_names=trained.class_names,
    )
