"""The steps of a run, counted again by hand."""

import pytest

from brainnet.portrait.blame import blame_of, gradient_of
from brainnet.portrait.descent import descent_of, rate_of
from brainnet.portrait.loss import loss_of


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
