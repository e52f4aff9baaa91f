"""The sting: PyTorch's numbers, and no silent misfits."""

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

CLASSES = torch.tensor([0, 2, 1, 1])
NUMBERS = torch.tensor([[0.5], [-1.0], [3.0], [0.0]])


def test_values_are_pytorchs() -> None:
    logits, guesses = torch.randn(4, 3), torch.randn(4, 1)
    yes = torch.tensor([0, 1, 1, 0])
    smoothed = F.cross_entropy(logits, CLASSES, label_smoothing=0.1)
    assert torch.equal(CrossEntropy()(logits, CLASSES), F.cross_entropy(logits, CLASSES))
    assert torch.equal(CrossEntropy(0.1)(logits, CLASSES), smoothed)
    expected = F.binary_cross_entropy_with_logits(guesses[:, 0], yes.float())
    assert torch.equal(BinaryCrossEntropy()(guesses, yes), expected)
    assert torch.equal(MeanSquaredError()(guesses, NUMBERS), F.mse_loss(guesses, NUMBERS))
    assert torch.equal(MeanAbsoluteError()(guesses, NUMBERS), F.l1_loss(guesses, NUMBERS))
    assert torch.equal(Huber(0.5)(guesses, NUMBERS), F.huber_loss(guesses, NUMBERS, delta=0.5))


@pytest.mark.parametrize("loss", [MeanSquaredError(), MeanAbsoluteError(), Huber()])
def test_a_bigger_mistake_stings_more(loss: nn.Module) -> None:
    stings = [
        loss(torch.tensor([[miss]]), torch.tensor([[0.0]])).item() for miss in (0.0, 1.0, 2.0, 4.0)
    ]
    assert stings == sorted(set(stings))


def test_surer_of_the_wrong_class_stings_more() -> None:
    wrong = torch.tensor([0])
    stings = [CrossEntropy()(torch.tensor([[0.0, sure]]), wrong).item() for sure in (-1, 0, 1, 5)]
    assert stings == sorted(set(stings))


def test_answers_and_probabilities() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0]])
    assert CrossEntropy.decode(logits).tolist() == [1, 0]
    torch.testing.assert_close(CrossEntropy.compute_probabilities(logits).sum(1), torch.ones(2))
    yes = torch.tensor([[0.0], [1.0], [-3.0]])
    assert BinaryCrossEntropy.decode(yes).tolist() == [0, 1, 0]
    torch.testing.assert_close(
        BinaryCrossEntropy.compute_probabilities(yes)[:, 1], yes[:, 0].sigmoid()
    )
    assert MeanSquaredError.decode(NUMBERS) is NUMBERS
    assert MeanSquaredError.compute_probabilities(NUMBERS) is None


def test_how_many_outputs_a_loss_needs() -> None:
    assert CrossEntropy.count_outputs(10) == 10
    assert BinaryCrossEntropy.count_outputs(2) == 1
    assert Huber.count_outputs(3) == 3
    with pytest.raises(ValueError, match="two classes apart; got 3"):
        BinaryCrossEntropy.count_outputs(3)


def test_auto_serves_every_task() -> None:
    for task, name in DEFAULT_LOSS.items():
        assert task in LOSSES[name].tasks


@pytest.mark.parametrize("loss", [MeanSquaredError(), MeanAbsoluteError(), Huber()])
def test_no_silent_broadcast(loss: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"\(4, 1\) and \(4,\)"):
        loss(NUMBERS, NUMBERS[:, 0])
    with pytest.raises(ValueError, match="CrossEntropy"):
        loss(NUMBERS, NUMBERS.long())


def test_classes_and_measurements_do_not_mix() -> None:
    with pytest.raises(ValueError, match="MeanSquaredError"):
        CrossEntropy()(torch.randn(4, 3), NUMBERS[:, 0])
    with pytest.raises(ValueError, match=r"\(batch, 1\)"):
        BinaryCrossEntropy()(torch.randn(4, 2), CLASSES)


def test_parameters_in_range() -> None:
    with pytest.raises(ValueError, match="label_smoothing"):
        CrossEntropy(1.0)
    with pytest.raises(ValueError, match="positive delta"):
        Huber(0.0)
