"""Predictions: network outputs, and how to decode them into classes, numbers and probabilities."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from brainnet.learning.loss import BinaryCrossEntropy, CrossEntropy, Task

BATCH_ROWS = 8192
"""Rows of one forward pass; a fixed number, as the last bits of a row may depend on it."""

MAX_BATCH_CELLS = 1 << 24
"""Input values of one batch when rows are encoded or predicted: 64 MB as float32."""

PREDICTION_COLUMN = "prediction"
PROBABILITY_PREFIX = "probability "
"""Prefix of the columns of probabilities: the column of class A is `probability A`."""


def decode_predictions(outputs: Tensor, loss: nn.Module, task: Task) -> Tensor:
    """Decode outputs (batch, outputs) into classes (batch,) or numbers (batch, targets).

    The class is the sign of a single output, or the largest of several; a loss with other outputs
    has a method `decode`.
    """
    decode: Callable[[Tensor], Tensor] | None = getattr(loss, "decode", None)
    if decode is not None:
        return decode(outputs)
    if task == "regression":
        return outputs
    return (outputs[:, 0] > 0).long() if outputs.shape[1] == 1 else outputs.argmax(dim=1)


def compute_probabilities(outputs: Tensor, loss: nn.Module, task: Task) -> Tensor | None:
    """Convert outputs (batch, outputs) to the probability of each class, (batch, classes).

    The `compute_probabilities` of the loss is used if it has one; PyTorch's cross-entropy losses
    are known. Otherwise, and for regression, the result is None.
    """
    if task == "regression":
        return None
    compute: Callable[[Tensor], Tensor] | None = getattr(loss, "compute_probabilities", None)
    if compute is not None:
        return compute(outputs)
    # The softmax of log-probabilities, the outputs for NLLLoss, are the probabilities.
    if isinstance(loss, (nn.CrossEntropyLoss, nn.NLLLoss)):
        return CrossEntropy.compute_probabilities(outputs)
    if isinstance(loss, nn.BCEWithLogitsLoss) and outputs.shape[1] == 1:
        return BinaryCrossEntropy.compute_probabilities(outputs)
    return None


def choose_batch_rows(inputs: int) -> int:
    """Choose the number of rows of one forward pass for a number of inputs per row."""
    return max(1, min(BATCH_ROWS, MAX_BATCH_CELLS // inputs))


def compute_outputs(network: nn.Module, inputs: Tensor) -> Tensor:
    """Compute the outputs of a network in evaluation mode, in batches and without gradients.

    The same rows in the same order give the same outputs, to the bit. They are on the CPU, in the
    data type of the network.
    """
    # Inputs must have the device and data type of the network.
    parameter = next(network.parameters())
    with torch.no_grad():
        # Contiguous, because matrix products of other layouts may differ in the last bit.
        batches = inputs.contiguous().split(choose_batch_rows(inputs.shape[1]))
        outputs = [network(rows.to(parameter)).cpu() for rows in batches]
    return torch.cat(outputs)


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Set PyTorch's number of threads, unless the environment sets it; restore it afterwards."""
    previous = torch.get_num_threads()
    if not (os.environ.get("OMP_NUM_THREADS") or os.environ.get("MKL_NUM_THREADS")):
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(previous)
