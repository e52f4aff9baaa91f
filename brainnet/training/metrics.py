"""Tally: what a stage has answered so far, kept on the device and read once."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchmetrics import Metric, SumMetric
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix
from torchmetrics.regression import R2Score

from brainnet.learning.loss import Task

# Batches are only remembered, and counted together later: a metric's update costs as much as half
# a training step of a small network, and one for 64 batches as much as one for a single batch.
_BATCHES_REMEMBERED = 64

_VALUES_REMEMBERED = 2**18  # R² takes them in float64, several times over


class StageMetrics(nn.Module):
    """Mean loss, and accuracy or R², over all rows since the last reset.

    Nothing here waits for the device except `read`. Over several processes, `read` speaks for all
    of them.

    Args:
        task: "multiclass", "binary" or "regression"; the last is judged by R², the others by
            accuracy.
        targets: number of classes, or of numbers to predict.
        confusion: whether to count which class was taken for which.
        answer: makes answers of what is added, many batches at a time; None where they are some.

    Example:
        >>> tally = Tally("multiclass", targets=3)
        >>> answers, truth = torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 2, 0])
        >>> tally.add(torch.tensor(0.5), answers, truth)
        >>> tally.read()
        {'loss': 0.5, 'accuracy': 0.75}
    """

    def __init__(
        self,
        task: Task,
        targets: int,
        *,
        confusion: bool = False,
        answer: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self._answer = answer
        # "disable": a loss that is not finite must show, not be dropped. Two sums, because with
        # it torchmetrics' MeanMetric (1.9) forgets its weights.
        self.loss = SumMetric(nan_strategy="disable")
        self.rows = SumMetric(nan_strategy="disable")
        self.score_name = "r2" if task == "regression" else "accuracy"
        self.score: Metric
        self.confusion: Metric | None = None
        if task == "regression":
            self.score = _Explained()
        else:
            self.score = MulticlassAccuracy(targets, average="micro", validate_args=False)
            if confusion:
                self.confusion = MulticlassConfusionMatrix(targets, validate_args=False)
        self._empty = True
        self._batches: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, loss: Tensor, answers: Tensor, truths: Tensor) -> None:
        """Remember one batch.

        Args:
            loss: its mean, one number.
            answers: classes (batch,), or numbers (batch, targets); or what `answer` makes them of.
            truths: classes or numbers that would have been right.
        """
        batches = self._batches
        batches.append((loss, answers, truths))
        # A module is slow to set a number of its own, so none is kept here: batches are alike.
        many = len(batches)
        if many >= _BATCHES_REMEMBERED or many * answers.numel() >= _VALUES_REMEMBERED:
            self._count()

    def read(self) -> dict[str, float]:
        """Return the mean loss and the score by name; empty where nothing was added."""
        self._count()
        if self._empty:
            return {}
        rows = float(self.rows.compute())
        values = {"loss": float(self.loss.compute()) / rows}
        # R² compares with the spread of the truths, and a single row has none.
        if self.score_name == "accuracy" or rows > 1:
            values[self.score_name] = float(self.score.compute())
        return values

    def confusion_matrix(self) -> Tensor | None:
        """Return how many rows of each class got which answer, or None where it was not counted.

        It is int64 (classes, classes), on the CPU; rows are the truth, columns the answer.
        """
        self._count()
        return None if self.confusion is None else self.confusion.compute().cpu()

    def reset(self) -> None:
        """Forget everything."""
        self._batches.clear()
        self._empty = True
        self.loss.reset()
        self.rows.reset()
        self.score.reset()
        if self.confusion is not None:
            self.confusion.reset()

    def _count(self) -> None:
        if not self._batches:
            return
        every_loss, every_answer, every_truth = zip(*self._batches, strict=True)
        sizes = [len(truths) for truths in every_truth]
        losses = torch.stack(every_loss).float()
        weights = torch.tensor(sizes, dtype=torch.float32).to(losses.device, non_blocking=True)
        answers, truths = torch.cat(every_answer), torch.cat(every_truth)
        if self._answer is not None:
            answers = self._answer(answers)
        self._batches.clear()
        self._empty = False
        self.loss.update(losses * weights)
        self.rows.update(weights)
        self.score.update(answers, truths)
        if self.confusion is not None:
            self.confusion.update(answers, truths)


class _Explained(R2Score):
    """R² of targets of any size: torchmetrics' sums, in numbers with room for them.

    In float32 the squares of targets around 10,000 leave no digit for their spread, and what
    torchmetrics takes for no spread is 0.0001, whatever the unit. Here it is what rounding leaves.
    """

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add what was missed, and the truths and their squares, all in float64 where there is."""
        kind = torch.float32 if target.device.type == "mps" else torch.float64
        super().update(preds.to(kind), target.to(kind))

    def compute(self) -> Tensor:
        """Mean over the targets; of truths that are all alike 1 where none was missed, else 0."""
        squares, missed = self.sum_squared_error, self.residual
        spread = squares - self.sum_error.square() / self.total
        alike = spread <= 256 * torch.finfo(spread.dtype).eps * squares
        return torch.where(alike, (missed == 0).to(spread), 1 - missed / spread).mean()
