import math

import pytest
import torch
from torch import nn

from brainnet.training.metrics import StageMetrics


def test_mean_loss_weighs_each_row_alike():
    tally = StageMetrics("multiclass", targets=2)
    tally.add(torch.tensor(1.0), torch.tensor([0, 0, 0]), torch.tensor([0, 0, 1]))
    tally.add(torch.tensor(5.0), torch.tensor([1]), torch.tensor([1]))
    assert tally.read() == {"loss": 2.0, "accuracy": 0.75}


@pytest.mark.parametrize("batches", [1, 64, 65, 200])
def test_counting_in_bulk_equals_counting_at_once(batches):
    generator = torch.Generator().manual_seed(0)
    answers = torch.randint(3, (batches, 8), generator=generator)
    truths = torch.randint(3, (batches, 8), generator=generator)
    tally = StageMetrics("multiclass", targets=3, confusion=True)
    for answer, truth in zip(answers, truths, strict=True):
        tally.add(torch.tensor(0.0), answer, truth)
    assert tally.read()["accuracy"] == pytest.approx((answers == truths).double().mean().item())
    counted = torch.zeros(3, 3, dtype=torch.int64)
    for truth, answer in zip(truths.flatten(), answers.flatten(), strict=True):
        counted[truth, answer] += 1
    assert torch.equal(tally.confusion_matrix(), counted)


def test_r2_is_the_share_of_variance_explained():
    truths = torch.tensor([[1.0], [2.0], [3.0], [6.0]])
    answers = torch.tensor([[1.5], [2.0], [2.5], [5.0]])
    tally = StageMetrics("regression", targets=1)
    tally.add(torch.tensor(0.1), answers[:3], truths[:3])
    tally.add(torch.tensor(0.1), answers[3:], truths[3:])
    missed = (truths - answers).square().sum()
    spread = (truths - truths.mean()).square().sum()
    assert tally.read()["r2"] == pytest.approx((1 - missed / spread).item())


@pytest.mark.parametrize(
    ("middle", "size"), [(0, 1), (2e3, 1), (1e5, 1), (-1e6, 8), (0, 1e-3), (0, 1e-15), (0, 1e15)]
)
def test_r2_is_told_of_targets_of_any_size(middle, size):
    generator = torch.Generator().manual_seed(0)
    truths = middle + size * torch.randn(500, 2, generator=generator)
    answers = truths + 0.3 * size * torch.randn(500, 2, generator=generator)
    tally = StageMetrics("regression", targets=2)
    for answer, truth in zip(answers.split(32), truths.split(32), strict=True):
        tally.add(torch.tensor(0.0), answer, truth)
    missed = (truths.double() - answers).square().sum(0)
    spread = (truths.double() - truths.double().mean(0)).square().sum(0)
    assert tally.read()["r2"] == pytest.approx((1 - missed / spread).mean().item(), rel=1e-3)


@pytest.mark.parametrize("number", [0.0, 0.1, 1e6])
def test_r2_of_truths_that_are_all_alike(number):
    truths = torch.full((30, 1), number)
    tally = StageMetrics("regression", targets=1)
    tally.add(torch.tensor(0.0), truths, truths)
    assert tally.read()["r2"] == 1.0
    tally.add(torch.tensor(0.0), truths + 1, truths)
    assert tally.read()["r2"] == 0.0


def test_an_answer_that_is_not_finite_shows_in_r2():
    tally = StageMetrics("regression", targets=1)
    tally.add(torch.tensor(0.0), torch.tensor([[math.nan], [1.0]]), torch.tensor([[1.0], [2.0]]))
    assert math.isnan(tally.read()["r2"])


def test_one_row_has_no_spread_to_explain():
    tally = StageMetrics("regression", targets=1)
    tally.add(torch.tensor(0.5), torch.ones(1, 1), torch.ones(1, 1))
    assert tally.read() == {"loss": 0.5}


def test_nothing_added_reads_as_nothing():
    tally = StageMetrics("binary", targets=2)
    assert tally.read() == {}
    tally.add(torch.tensor(1.0), torch.tensor([0]), torch.tensor([0]))
    tally.reset()
    assert tally.read() == {}


def test_a_loss_that_is_not_finite_shows():
    tally = StageMetrics("binary", targets=2)
    tally.add(torch.tensor(float("nan")), torch.tensor([0]), torch.tensor([0]))
    tally.add(torch.tensor(1.0), torch.tensor([0]), torch.tensor([0]))
    assert math.isnan(tally.read()["loss"])


def test_half_precision_does_not_overflow():
    tally = StageMetrics("regression", targets=1)
    truths = torch.tensor([[300.0], [600.0]])
    tally.add(torch.tensor(1.0, dtype=torch.float16), truths.half(), truths)
    assert tally.read() == {"loss": 1.0, "r2": 1.0}


def test_adds_no_key_to_a_state_dict():
    holder = nn.Module()
    holder.tally = StageMetrics("multiclass", targets=3, confusion=True)
    assert holder.state_dict() == {}
