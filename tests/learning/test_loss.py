"""Losses equal those of PyTorch, without broadcasting."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from brainnet.learning.loss import (
    DEFAULT_LOSS,
    LOSSES,
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
)
from brainnet.learning.predictions import compute_probabilities, decode_predictions

CLASSES = torch.tensor([0, 2, 1, 1])
NUMBERS = torch.tensor([[0.5], [-1.0], [3.0], [0.0]])


def test_values_equal_pytorch() -> None:
    logits, outputs = torch.randn(4, 3), torch.randn(4, 1)
    yes = torch.tensor([0, 1, 1, 0])
    smoothed = F.cross_entropy(logits, CLASSES, label_smoothing=0.1)
    assert torch.equal(CrossEntropy()(logits, CLASSES), F.cross_entropy(logits, CLASSES))
    assert torch.equal(CrossEntropy(0.1)(logits, CLASSES), smoothed)
    expected = F.binary_cross_entropy_with_logits(outputs[:, 0], yes.float())
    assert torch.equal(BinaryCrossEntropy()(outputs, yes), expected)
    assert torch.equal(MeanSquaredError()(outputs, NUMBERS), F.mse_loss(outputs, NUMBERS))
    assert torch.equal(MeanAbsoluteError()(outputs, NUMBERS), F.l1_loss(outputs, NUMBERS))
    assert torch.equal(Huber(0.5)(outputs, NUMBERS), F.huber_loss(outputs, NUMBERS, delta=0.5))


@pytest.mark.parametrize("loss", [MeanSquaredError(), MeanAbsoluteError(), Huber()])
def test_loss_grows_with_the_error(loss: nn.Module) -> None:
    losses = [
        loss(torch.tensor([[error]]), torch.tensor([[0.0]])).item()
        for error in (0.0, 1.0, 2.0, 4.0)
    ]
    assert losses == sorted(set(losses))


def test_loss_grows_with_the_confidence_in_a_wrong_class() -> None:
    wrong = torch.tensor([0])
    losses = [CrossEntropy()(torch.tensor([[0.0, logit]]), wrong).item() for logit in (-1, 0, 1, 5)]
    assert losses == sorted(set(losses))


def test_decode_and_probabilities() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0]])
    assert decode_predictions(logits, CrossEntropy(), "multiclass").tolist() == [1, 0]
    torch.testing.assert_close(CrossEntropy.compute_probabilities(logits).sum(1), torch.ones(2))
    yes = torch.tensor([[0.0], [1.0], [-3.0]])
    assert decode_predictions(yes, BinaryCrossEntropy(), "binary").tolist() == [0, 1, 0]
    torch.testing.assert_close(
        BinaryCrossEntropy.compute_probabilities(yes)[:, 1], yes[:, 0].sigmoid()
    )
    assert decode_predictions(NUMBERS, MeanSquaredError(), "regression") is NUMBERS
    assert compute_probabilities(NUMBERS, MeanSquaredError(), "regression") is None


def test_count_outputs() -> None:
    assert CrossEntropy.count_outputs(10) == 10
    assert BinaryCrossEntropy.count_outputs(2) == 1
    assert Huber.count_outputs(3) == 3
    with pytest.raises(ValueError, match="needs two classes; got 3"):
        BinaryCrossEntropy.count_outputs(3)


def test_default_losses_fit_their_task() -> None:
    for task, name in DEFAULT_LOSS.items():
        assert task in LOSSES[name].tasks


@pytest.mark.parametrize("loss", [MeanSquaredError(), MeanAbsoluteError(), Huber()])
def test_different_shapes_are_rejected(loss: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"\(4, 1\) and \(4,\)"):
        loss(NUMBERS, NUMBERS[:, 0])
    with pytest.raises(ValueError, match="CrossEntropy"):
        loss(NUMBERS, NUMBERS.long())


def test_wrong_kind_of_targets_is_rejected() -> None:
    with pytest.raises(ValueError, match="MeanSquaredError"):
        CrossEntropy()(torch.randn(4, 3), NUMBERS[:, 0])
    with pytest.raises(ValueError, match=r"\(batch, 1\)"):
        BinaryCrossEntropy()(torch.randn(4, 2), CLASSES)


def test_invalid_parameters_are_rejected() -> None:
    with pytest.raises(ValueError, match="label_smoothing"):
        CrossEntropy(1.0)
    with pytest.raises(ValueError, match="delta must be positive"):
        Huber(0.0)
