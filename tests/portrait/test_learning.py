"""The portrait of how a network learned, counted again by hand."""

import math
from statistics import median

import pytest
import torch
from torch.nn import functional as F

from brainnet.portrait.learning import (
    blame_of,
    descent_of,
    gradient_of,
    guessing,
    loss_of,
    rate_of,
)


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


def test_blame_and_slope_are_autograds_on_the_training_rows(classes):
    parameters = list(classes.network.parameters())
    loss = F.cross_entropy(classes.network(classes.learned.inputs), classes.learned.targets)
    squares = [float(each.square().sum()) for each in torch.autograd.grad(loss, parameters)]
    hidden, total = sum(squares[:2]), sum(squares)
    blamed, steep = blame_of(classes), gradient_of(classes)
    assert blamed.loss == pytest.approx(float(loss.detach()))
    assert [each.now for each in blamed.layers] == pytest.approx(
        [hidden / total, 1 - hidden / total]
    )
    assert [(each.first, each.last) for each in blamed.layers] == [(0.25, 0.75), (0.75, 0.25)]
    assert steep.now == pytest.approx(total**0.5)
    assert steep.layers[0].now == pytest.approx(hidden**0.5)
    assert (steep.layers[0].first, steep.layers[0].last) == (0.5, 1.5)
    assert all(each.grad is None for each in parameters)


def test_the_way_downhill_is_summed_up(classes):
    told = descent_of(classes)
    assert (told.steps, told.epochs, told.optimizer, told.looks) == (11, 2, "Adam", 3)
    assert [each.update_ratio for each in told.layers] == pytest.approx([0.02, 0.06])
    assert (told.promised, told.kept) == (pytest.approx(0.7), pytest.approx(0.2))
    assert told.downhill == pytest.approx(2 / 3)


def test_the_rate_is_judged_by_the_promises_kept(classes):
    told = rate_of(classes)
    assert (told.value, told.schedule) == (0.1, "WarmupCosine")
    assert told.kept == pytest.approx(0.5)  # of 1/2, -1/2 and 1
    assert told.overshot == pytest.approx(1 / 3)
    assert told.update_ratio == pytest.approx(0.04)
    assert told.curve.steps == (0, 5, 10)


def test_what_nobody_looked_at_is_not_made_up(unobserved, without_rows):
    assert rate_of(unobserved).kept is None
    assert descent_of(unobserved).promised is None
    assert loss_of(unobserved).first is None
    assert blame_of(unobserved).layers[0].first is None
    assert blame_of(without_rows).layers[0].now is None
    assert gradient_of(without_rows).now is None
    assert loss_of(without_rows).guessing is None
