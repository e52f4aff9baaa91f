"""The stings of a run, counted again by hand."""

import math
from dataclasses import replace
from statistics import median

import pytest
import torch
from torch.nn import functional as F

from brainnet.explanation.report import guessing, loss_of
from brainnet.learning.loss import MeanAbsoluteError


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


def test_guessing_is_judged_by_the_rows_it_is_asked_of(classes):
    rows = classes.rows[1]
    share = float(classes.learned.targets.double().mean())
    right = rows.targets.double()
    by_hand = -(right * math.log(share) + (1 - right) * math.log(1 - share)).mean()
    assert guessing(classes, rows) == pytest.approx(float(by_hand))


@pytest.mark.parametrize(("part", "row"), [("validation", 1), ("train", 0)])
def test_the_end_is_that_of_a_whole_part_of_the_rows(classes, part, row):
    metrics = {"loss/train": 0.4} | ({f"loss/{part}": 0.3} if part == "validation" else {})
    end = loss_of(replace(classes, facts=replace(classes.facts, metrics=metrics))).end
    assert (end.part, end.loss) == (part, metrics[f"loss/{part}"])
    assert end.guessing == guessing(classes, classes.rows[row])
    assert end.beats_guessing


def test_guessing_a_number_costs_its_variance(numbers):
    assert guessing(numbers) == pytest.approx(float(numbers.learned.targets.var(correction=0)))


def test_guessing_costs_no_more_than_the_median_where_the_size_of_a_mistake_counts(numbers):
    rows = numbers.learned
    rows.targets[:3] = 40.0  # a few far off, which draw the mean to them
    loss = MeanAbsoluteError()
    subject = replace(numbers, question=replace(numbers.question, loss=loss))
    middle = rows.targets.median(dim=0).values
    median = float((rows.targets - middle).abs().mean())
    assert guessing(subject) == pytest.approx(median)
    assert median < 0.9 * float((rows.targets - rows.targets.mean()).abs().mean())
