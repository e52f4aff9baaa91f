"""Loss function: the sting of being wrong; the bigger the mistake, the bigger the sting."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from brainnet import concepts

Task = Literal["multiclass", "binary", "regression"]


class CrossEntropy(nn.Module):
    """How surprised the network is by the right class: -log of the share it gave to it.

    PyTorch's `cross_entropy`; the outputs are logits, no softmax before it.

    Args:
        label_smoothing: share of certainty spread over all classes, in [0, 1).

    Raises:
        ValueError: where outputs and targets do not fit together, or the smoothing is out of range.

    Shape:
        outputs: (batch, classes)
        targets: (batch,) int64
        return:  ()
    """

    concept = concepts.LOSS_FUNCTION
    tasks: tuple[Task, ...] = ("multiclass", "binary")

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ValueError(
                f"label_smoothing is a share from 0 up to, not including, 1; got {label_smoothing}."
            )
        self.label_smoothing = label_smoothing

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean sting over the batch, in nats."""
        _need_classes(outputs, targets, type(self).__name__)
        return F.cross_entropy(outputs, targets, label_smoothing=self.label_smoothing)

    @staticmethod
    def count_outputs(classes: int) -> int:
        """Outputs that the network needs: one per class."""
        return classes

    @staticmethod
    def decode(outputs: Tensor) -> Tensor:
        """The class with the largest output, (batch,) int64."""
        return outputs.argmax(dim=-1)

    @staticmethod
    def compute_probabilities(outputs: Tensor) -> Tensor:
        """Share that the network gives to each class, (batch, classes)."""
        return outputs.softmax(dim=-1)

    def extra_repr(self) -> str:
        """Smoothing, and the concept that this part embodies."""
        return f"label_smoothing={self.label_smoothing:g}, concept={self.concept.name}"


class BinaryCrossEntropy(nn.Module):
    """Cross-entropy of a yes-or-no question, answered by one output.

    PyTorch's `binary_cross_entropy_with_logits`; the output is a logit, no sigmoid before it.

    Raises:
        ValueError: where outputs and targets do not fit together.

    Shape:
        outputs: (batch, 1)
        targets: (batch,) int64
        return:  ()
    """

    concept = concepts.LOSS_FUNCTION
    tasks: tuple[Task, ...] = ("binary",)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean sting over the batch, in nats."""
        if outputs.ndim != 2 or outputs.shape[1] != 1 or targets.shape != outputs.shape[:1]:
            raise ValueError(
                "BinaryCrossEntropy needs one output per row, (batch, 1), and one target per row, "
                f"(batch,); got {tuple(outputs.shape)} and {tuple(targets.shape)}. "
                "Give the network one output, or use CrossEntropy with one output per class."
            )
        return F.binary_cross_entropy_with_logits(outputs[:, 0], targets.to(outputs.dtype))

    @staticmethod
    def count_outputs(classes: int) -> int:
        """Outputs that the network needs: one, for yes or no."""
        if classes != 2:
            raise ValueError(
                f"BinaryCrossEntropy tells two classes apart; got {classes}. Use CrossEntropy "
                "(loss=cross_entropy)."
            )
        return 1

    @staticmethod
    def decode(outputs: Tensor) -> Tensor:
        """1 where the output is positive, else 0, (batch,) int64."""
        return (outputs[:, 0] > 0).to(torch.int64)

    @staticmethod
    def compute_probabilities(outputs: Tensor) -> Tensor:
        """Share that the network gives to no and to yes, (batch, 2)."""
        yes = outputs[:, :1].sigmoid()
        return torch.cat([1 - yes, yes], dim=1)

    def extra_repr(self) -> str:
        """The concept that this part embodies."""
        return f"concept={self.concept.name}"


def _one_per_target(targets: int) -> int:
    """Outputs that the network needs: one per column of the targets."""
    return targets


def _the_outputs_themselves(outputs: Tensor) -> Tensor:
    """The numbers as the network gives them, (batch, targets)."""
    return outputs


def _no_probabilities(_outputs: Tensor) -> None:
    """Numbers come without probabilities."""
    return


class MeanSquaredError(nn.Module):
    """The square of the mistake: twice as wrong stings four times as much.

    PyTorch's `mse_loss`, without its silent broadcast of (batch,) against (batch, 1).

    Raises:
        ValueError: where the shapes differ or the targets are whole numbers (classes).

    Shape:
        outputs: (batch, targets)
        targets: (batch, targets)
        return:  ()
    """

    concept = concepts.LOSS_FUNCTION
    tasks: tuple[Task, ...] = ("regression",)
    count_outputs = staticmethod(_one_per_target)
    decode = staticmethod(_the_outputs_themselves)
    compute_probabilities = staticmethod(_no_probabilities)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over all numbers, in squared units of the targets."""
        _need_numbers(outputs, targets, type(self).__name__)
        return F.mse_loss(outputs, targets)

    def extra_repr(self) -> str:
        """The concept that this part embodies."""
        return f"concept={self.concept.name}"


class MeanAbsoluteError(nn.Module):
    """The size of the mistake: twice as wrong stings twice as much; outliers count less.

    PyTorch's `l1_loss`, without its silent broadcast.

    Raises:
        ValueError: where the shapes differ or the targets are whole numbers (classes).

    Shape:
        outputs: (batch, targets)
        targets: (batch, targets)
        return:  ()
    """

    concept = concepts.LOSS_FUNCTION
    tasks: tuple[Task, ...] = ("regression",)
    count_outputs = staticmethod(_one_per_target)
    decode = staticmethod(_the_outputs_themselves)
    compute_probabilities = staticmethod(_no_probabilities)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over all numbers, in units of the targets."""
        _need_numbers(outputs, targets, type(self).__name__)
        return F.l1_loss(outputs, targets)

    def extra_repr(self) -> str:
        """The concept that this part embodies."""
        return f"concept={self.concept.name}"


class Huber(nn.Module):
    """Squared for small mistakes, absolute for large ones (Huber, 1964).

    PyTorch's `huber_loss`, without its silent broadcast.

    Args:
        delta: size of a mistake from which the sting grows no faster; positive, in units of the
            targets.

    Raises:
        ValueError: where the shapes differ, the targets are whole numbers (classes), or delta is
            not positive.

    Shape:
        outputs: (batch, targets)
        targets: (batch, targets)
        return:  ()
    """

    concept = concepts.LOSS_FUNCTION
    tasks: tuple[Task, ...] = ("regression",)
    count_outputs = staticmethod(_one_per_target)
    decode = staticmethod(_the_outputs_themselves)
    compute_probabilities = staticmethod(_no_probabilities)

    def __init__(self, delta: float = 1.0) -> None:
        super().__init__()
        if not delta > 0:
            raise ValueError(f"the Huber loss needs a positive delta; got {delta}.")
        self.delta = delta

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over all numbers."""
        _need_numbers(outputs, targets, type(self).__name__)
        return F.huber_loss(outputs, targets, delta=self.delta)

    def extra_repr(self) -> str:
        """Delta, and the concept that this part embodies."""
        return f"delta={self.delta:g}, concept={self.concept.name}"


def _need_classes(outputs: Tensor, targets: Tensor, loss: str) -> None:
    fits = outputs.ndim == 2 and targets.shape == outputs.shape[:1]
    if not fits or targets.is_floating_point():
        raise ValueError(
            f"{loss} needs one output per class, (batch, classes), and the number of the right "
            f"class as target, (batch,) int64; got {tuple(outputs.shape)} and "
            f"{tuple(targets.shape)} {targets.dtype}. Give class numbers, or use MeanSquaredError "
            "for targets that are measurements."
        )


def _need_numbers(outputs: Tensor, targets: Tensor, loss: str) -> None:
    if outputs.shape != targets.shape or not targets.is_floating_point():
        raise ValueError(
            f"{loss} needs outputs and targets of one shape, (batch, targets), in floating point; "
            f"got {tuple(outputs.shape)} and {tuple(targets.shape)} {targets.dtype}. Reshape one "
            "of them, or use CrossEntropy for targets that are classes."
        )


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

"""The loss that `auto` stands for, by task."""
