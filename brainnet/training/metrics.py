"""Metrics of a stage: mean loss, accuracy or R², and the confusion matrix."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import multiclass_confusion_matrix

from brainnet.learning.loss import Task

# Batches are collected and counted together: an update costs as much as half a training step of a
# small network, for one batch or for many.
_MAX_BATCHES = 64
_MAX_VALUES = 2**18  # R² copies them to float64


class StageMetrics(Metric):
    """Mean loss, and accuracy or R², over all rows of all processes since the last reset.

    Only `read` and `compute_confusion` wait for the device. `decode` converts outputs to
    predictions.
    """

    full_state_update = False
    loss_sum: Tensor
    rows: Tensor
    correct: Tensor
    residual: Tensor
    target_sum: Tensor
    target_square_sum: Tensor
    confusion: Tensor

    def __init__(
        self,
        task: Task,
        targets: int,
        *,
        confusion: bool = False,
        decode: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self._decode = decode
        self._is_regression = task == "regression"
        self._classes = targets if confusion and not self._is_regression else 0
        self._batches: list[tuple[Tensor, Tensor, Tensor]] = []
        sums = ("residual", "target_sum", "target_square_sum")
        for name in ("loss_sum", "rows", *(sums if self._is_regression else ())):
            self.add_state(name, torch.tensor(0.0), dist_reduce_fx="sum")
        if not self._is_regression:
            self.add_state("correct", torch.tensor(0), dist_reduce_fx="sum")
        if self._classes:
            counts = torch.zeros(targets, targets, dtype=torch.int64)
            self.add_state("confusion", counts, dist_reduce_fx="sum")

    def add(self, loss: Tensor, predictions: Tensor, targets: Tensor) -> None:
        """Collect the mean loss, predictions (or outputs for `decode`) and targets of a batch."""
        batches = self._batches
        batches.append((loss, predictions, targets))
        # Batches have equal sizes; a counter would cost more, as modules set attributes slowly.
        count = len(batches)
        if count >= _MAX_BATCHES or count * predictions.numel() >= _MAX_VALUES:
            self._count_batches()

    def read(self) -> dict[str, float]:
        """Return the mean loss and the score by name; empty if nothing was added."""
        self._count_batches()
        return self.compute() if self.update_called else {}

    def compute_confusion(self) -> Tensor | None:
        """Return the confusion matrix (target by row, predicted by column) if it is counted."""
        self._count_batches()
        if not self._classes:
            return None
        with self.sync_context():
            return self.confusion.cpu()

    def reset(self) -> None:
        """Discard everything that was added."""
        self._batches.clear()
        super().reset()

    def _count_batches(self) -> None:
        if not self._batches:
            return
        losses, predictions, targets = zip(*self._batches, strict=True)
        self._batches.clear()
        rows = torch.tensor([float(len(part)) for part in targets])
        decoded = torch.cat(predictions)
        if self._decode is not None:
            decoded = self._decode(decoded)
        self.update(torch.stack(losses).float(), rows, decoded, torch.cat(targets))

    def update(self, losses: Tensor, rows: Tensor, predictions: Tensor, targets: Tensor) -> None:
        """Count batches: their mean losses and sizes (batches,), and predictions of all rows."""
        rows = rows.to(losses.device, non_blocking=True)
        self.loss_sum = self.loss_sum + (losses * rows).sum()
        self.rows = self.rows + rows.sum()
        if self._is_regression:
            # In float32, the squares of targets near 10,000 leave no digits for their variance.
            dtype = torch.float32 if targets.device.type == "mps" else torch.float64
            numbers = targets.to(dtype)
            self.residual = self.residual + (numbers - predictions.to(dtype)).square().sum(0)
            self.target_sum = self.target_sum + numbers.sum(0)
            self.target_square_sum = self.target_square_sum + numbers.square().sum(0)
        else:
            self.correct = self.correct + (predictions == targets).sum()
            if self._classes:
                self.confusion = self.confusion + multiclass_confusion_matrix(
                    predictions, targets, self._classes, validate_args=False
                )

    def compute(self) -> dict[str, float]:
        """Return the mean loss and the score by name."""
        rows = float(self.rows)
        values = {"loss": float(self.loss_sum) / rows}
        if not self._is_regression:
            values["accuracy"] = float(self.correct / self.rows)
        elif rows > 1:  # R² is undefined for one row
            values["r2"] = float(self._compute_r2())
        return values

    def _compute_r2(self) -> Tensor:
        """Mean R² over the targets; for constant targets, 1 if predictions are exact, else 0."""
        # torchmetrics treats a variance below 1e-4 as constant in any unit of the targets.
        squares = self.target_square_sum
        variance = squares - self.target_sum.square() / self.rows
        is_constant = variance <= 256 * torch.finfo(variance.dtype).eps * squares
        exact = (self.residual == 0).to(variance)
        return torch.where(is_constant, exact, 1 - self.residual / variance).mean()
