"""Answers: what a network's outputs say, in the form of the targets."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from brainnet.learning.loss import Task

BATCH_ROWS = 8192

"""Rows of one forward pass: a row's last bit may depend on how many are multiplied with it."""

MAX_BATCH_CELLS = 1 << 24

"""Input values of one batch when rows are encoded or predicted: 64 MB as float32."""

PREDICTION_COLUMN = "prediction"

PROBABILITY_PREFIX = "probability "

"""What the columns of an answer are called: the one before a class is `probability CLASS`."""

_SHARES = (nn.CrossEntropyLoss, nn.NLLLoss)

_YES_OR_NO = (nn.BCEWithLogitsLoss,)


def decode_predictions(outputs: Tensor, loss: nn.Module, task: Task) -> Tensor:
    """Turn outputs (batch, outputs) into classes (batch,) or numbers (batch, targets).

    Args:
        outputs: of the network.
        loss: says itself how, where it has a method `answer`.
        task: decides where it does not: numbers stand for themselves, one output says yes where it
            is positive, and of several the largest one wins.

    Example:
        >>> answers(torch.tensor([[0.2, 0.8]]), nn.CrossEntropyLoss(), "multiclass")
        tensor([1])
    """
    answer: Callable[[Tensor], Tensor] | None = getattr(loss, "decode", None)
    if answer is not None:
        return answer(outputs)
    if task == "regression":
        return outputs
    return (outputs[:, 0] > 0).long() if outputs.shape[1] == 1 else outputs.argmax(dim=1)


def compute_probabilities(outputs: Tensor, loss: nn.Module, task: Task) -> Tensor | None:
    """Turn outputs (batch, outputs) into the share that each class is given, (batch, classes).

    Args:
        outputs: of the network.
        loss: says itself how, where it has a method `probabilities`; PyTorch's own cross-entropies
            are known.
        task: numbers have none.

    Returns:
        None where there are none, or the loss does not tell what its outputs stand for.

    Example:
        >>> probabilities(torch.tensor([[0.0]]), nn.BCEWithLogitsLoss(), "binary")
        tensor([[0.5000, 0.5000]])
    """
    shares: Callable[[Tensor], Tensor | None] | None = getattr(loss, "compute_probabilities", None)
    if task == "regression":
        return None
    if shares is not None:
        return shares(outputs)
    if isinstance(loss, _SHARES):
        return outputs.softmax(dim=-1)
    if isinstance(loss, _YES_OR_NO) and outputs.shape[1] == 1:
        yes = outputs.sigmoid()
        return torch.cat([1 - yes, yes], dim=1)
    return None


def choose_batch_rows(inputs: int) -> int:
    """Return how many rows of so many inputs to ask a network about at a time.

    Fewer where they are large, as `DataModule.batches` has it.

    Example:
        >>> rows_of_a_pass(64), rows_of_a_pass(3 * 224 * 224)
        (8192, 111)
    """
    return max(1, min(BATCH_ROWS, MAX_BATCH_CELLS // inputs))


def compute_outputs(network: nn.Module, inputs: Tensor) -> Tensor:
    """Ask a network for its outputs, `rows_of_a_pass` at a time, without gradients.

    The same rows in the same order give the same outputs, to the bit.

    Args:
        network: in evaluation mode.
        inputs: scaled, (rows, inputs).

    Returns:
        On the CPU, (rows, outputs), in the network's own numbers.
    """
    like = next(network.parameters())
    with torch.no_grad():
        passes = inputs.contiguous().split(choose_batch_rows(inputs.shape[1]))
        found = [network(rows.to(like)).cpu() for rows in passes]
    return torch.cat(found)
