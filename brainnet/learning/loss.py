"""Loss function: how wrong the outputs of a network are, as one number."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from brainnet import concepts

Task = Literal["multiclass", "binary", "regression"]


class CrossEntropy(nn.Module):
    """Mean negative log-likelihood of the true class: PyTorch's `cross_entropy`.

    The outputs are logits.

    Args:
        label_smoothing: probability spread evenly over all classes in the targets, in [0, 1).

    Raises:
        ValueError: if the shapes do not match, or the smoothing is out of range.

    Shape:
        outputs: (batch, classes)
        targets: (batch,) int64
        return:  ()
    """

    concept = concepts.LOSS_FUNCTION
    # Two classes can also have one output each.
    tasks: tuple[Task, ...] = ("multiclass", "binary")

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(
                f"label_smoothing must be between 0 and 1 (1 excluded); got {label_smoothing}."
            )
        self.label_smoothing = label_smoothing

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of the batch, in nats."""
        # PyTorch also accepts class probabilities as targets, which are a mistake here.
        has_classes = outputs.ndim == 2 and targets.shape == outputs.shape[:1]
        if not has_classes or targets.is_floating_point():
            raise ValueError(
                "CrossEntropy needs one output per class, (batch, classes), and class indices as "
                f"targets, (batch,) int64; got {tuple(outputs.shape)} and {tuple(targets.shape)} "
                f"{targets.dtype}. Use MeanSquaredError for numerical targets."
            )
        return F.cross_entropy(outputs, targets, label_smoothing=self.label_smoothing)

    @staticmethod
    def count_outputs(classes: int) -> int:
        """Number of outputs of the network: one per class."""
        return classes

    @staticmethod
    def compute_probabilities(outputs: Tensor) -> Tensor:
        """Probability of each class, (batch, classes)."""
        return outputs.softmax(dim=-1)

    def extra_repr(self) -> str:
        """Label smoothing and the concept of this module."""
        return f"label_smoothing={self.label_smoothing:g}, concept={self.concept.name}"


class BinaryCrossEntropy(nn.Module):
    """Cross-entropy of two classes with one output: `binary_cross_entropy_with_logits`.

    The output is the logit of class 1.

    Raises:
        ValueError: if the shapes do not match.

    Shape:
        outputs: (batch, 1)
        targets: (batch,) int64
        return:  ()
    """

    concept = concepts.LOSS_FUNCTION
    tasks: tuple[Task, ...] = ("binary",)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of the batch, in nats."""
        if outputs.ndim != 2 or outputs.shape[1] != 1 or targets.shape != outputs.shape[:1]:
            raise ValueError(
                "BinaryCrossEntropy needs one output per row, (batch, 1), and one target per row, "
                f"(batch,); got {tuple(outputs.shape)} and {tuple(targets.shape)}. Use "
                "CrossEntropy for one output per class."
            )
        return F.binary_cross_entropy_with_logits(outputs[:, 0], targets.to(outputs.dtype))

    @staticmethod
    def count_outputs(classes: int) -> int:
        """Number of outputs of the network: one logit, which separates two classes."""
        if classes != 2:
            raise ValueError(
                f"BinaryCrossEntropy needs two classes; got {classes}. Use CrossEntropy "
                "(loss=cross_entropy)."
            )
        return 1

    @staticmethod
    def compute_probabilities(outputs: Tensor) -> Tensor:
        """Probabilities of class 0 and class 1, (batch, 2)."""
        positive = outputs[:, :1].sigmoid()
        return torch.cat([1 - positive, positive], dim=1)

    def extra_repr(self) -> str:
        """The concept of this module."""
        return f"concept={self.concept.name}"


class _RegressionLoss(nn.Module):
    """What the losses of numerical targets have in common."""

    concept = concepts.LOSS_FUNCTION
    tasks: tuple[Task, ...] = ("regression",)

    def _check(self, outputs: Tensor, targets: Tensor) -> None:
        # PyTorch would broadcast (batch,) against (batch, 1) with only a warning.
        if outputs.shape != targets.shape or not targets.is_floating_point():
            raise ValueError(
                f"{type(self).__name__} needs outputs and targets of the same shape, "
                f"(batch, targets), and floating-point targets; got {tuple(outputs.shape)} and "
                f"{tuple(targets.shape)} {targets.dtype}. Use CrossEntropy for classes."
            )

    @staticmethod
    def count_outputs(targets: int) -> int:
        """Number of outputs of the network: one per target column."""
        return targets

    def extra_repr(self) -> str:
        """The concept of this module."""
        return f"concept={self.concept.name}"


class MeanSquaredError(_RegressionLoss):
    """Mean of the squared errors: PyTorch's `mse_loss`, without broadcasting.

    Raises:
        ValueError: if the shapes differ, or the targets are integers (classes).

    Shape:
        outputs: (batch, targets)
        targets: (batch, targets)
        return:  ()
    """

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over all values."""
        self._check(outputs, targets)
        return F.mse_loss(outputs, targets)


class MeanAbsoluteError(_RegressionLoss):
    """Mean of the absolute errors, less sensitive to outliers: PyTorch's `l1_loss`.

    Raises:
        ValueError: if the shapes differ, or the targets are integers (classes).

    Shape:
        outputs: (batch, targets)
        targets: (batch, targets)
        return:  ()
    """

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over all values."""
        self._check(outputs, targets)
        return F.l1_loss(outputs, targets)


class Huber(_RegressionLoss):
    """Squared for small errors, linear for large ones (Huber, 1964): PyTorch's `huber_loss`.

    Args:
        delta: error at which the loss becomes linear; positive, in units of the targets.

    Raises:
        ValueError: if the shapes differ, the targets are integers (classes), or delta is not
            positive.

    Shape:
        outputs: (batch, targets)
        targets: (batch, targets)
        return:  ()
    """

    def __init__(self, delta: float = 1.0) -> None:
        super().__init__()
        if not delta > 0:
            raise ValueError(f"delta must be positive; got {delta}.")
        self.delta = delta

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over all values."""
        self._check(outputs, targets)
        return F.huber_loss(outputs, targets, delta=self.delta)

    def extra_repr(self) -> str:
        """Delta and the concept of this module."""
        return f"delta={self.delta:g}, concept={self.concept.name}"


LOSSES: dict[str, type[nn.Module]] = {
    "cross_entropy": CrossEntropy,
    "binary_cross_entropy": BinaryCrossEntropy,
    "mean_squared_error": MeanSquaredError,
    "mean_absolute_error": MeanAbsoluteError,
    "huber": Huber,
}

DEFAULT_LOSS: dict[Task, str] = {
    "multiclass": "cross_entropy",
    "binary": "binary_cross_entropy",
    "regression": "mean_squared_error",
}
"""The loss that `auto` selects for each task."""
