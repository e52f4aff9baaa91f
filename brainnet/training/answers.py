"""Answers: what a network's outputs say, in the form of the targets."""

from collections.abc import Callable

from torch import Tensor, nn

from brainnet.learning.loss import Task


def answers(outputs: Tensor, loss: nn.Module, task: Task) -> Tensor:
    """Turn outputs (batch, outputs) into classes (batch,) or numbers (batch, targets).

    Args:
        outputs: of the network.
        loss: says itself how, where it has a method `answer`.
        task: decides where it does not: numbers stand for themselves, one output says yes where it
            is positive, and of several the largest one wins.

    Example:
        >>> import torch
        >>> answers(torch.tensor([[0.2, 0.8]]), nn.CrossEntropyLoss(), "multiclass")
        tensor([1])
    """
    answer: Callable[[Tensor], Tensor] | None = getattr(loss, "answer", None)
    if answer is not None:
        return answer(outputs)
    if task == "regression":
        return outputs
    return (outputs[:, 0] > 0).long() if outputs.shape[1] == 1 else outputs.argmax(dim=1)
