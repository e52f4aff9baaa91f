"""The stings of a run, counted again by hand."""

import math
from statistics import median

import pytest
import torch
from torch.nn import functional as F

from brainnet.portrait.loss import guessing, loss_of


def test_the_stings_are_those_of_the_rows_one_by_one(classes):
    told = loss_of(classes)
    stings = {}
    for rows in classes.rows[1:]:
        with torch.no_grad():
            each = F.cross_entropy(classes.network(rows.inputs), rows.targets, reduction="none")
        stings |= dict(zip(rows.numbers.tolist(), each.tolist(), strict=True))
    worst = sorted(stings, key=stings.get, reverse=True)[:3]
    assert [each.row for each in told.worst] == worst
    assert [each.loss for each in told.worst] == pytest.approx([stings[row] for row in worst])
    assert told.typical == pytest.approx(median(stings.values()))
    share = sum(stings[row] for row in worst) / sum(stings.values())
    assert told.worst_share == pytest.approx(share)
    assert (told.first, told.last) == (1.2, 0.5)
    assert told.name == "CrossEntropy"


def test_guessing_costs_the_entropy_of_the_classes(classes):
    share = float(classes.learned.targets.double().mean())
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    assert guessing(classes) == pytest.approx(entropy)


def test_guessing_a_number_costs_its_variance(numbers):
    assert guessing(numbers) == pytest.approx(float(numbers.learned.targets.var(correction=0)))
