"""The steps of a run, counted again by hand."""

import math
from dataclasses import replace

import pytest

from brainnet.explanation.report import blame_of, descent_of, gradient_of, loss_of, rate_of


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


def blown_up(subject, failure=None):
    """A run whose last step led to no number, its weights moved beyond all numbers."""
    *rest, last = subject.readings
    layers = tuple(replace(each, update_ratio=math.nan) for each in last.layers)
    last = replace(last, predicted_decrease=1e30, actual_decrease=math.nan, layers=layers)
    facts = replace(subject.facts, failure=failure, learning_rate=1e30)
    return replace(subject, readings=(*rest, last), facts=facts)


def test_a_step_that_led_to_no_number_overshot(classes):
    told = rate_of(blown_up(classes))
    assert told.overshot == pytest.approx(2 / 3)  # that one and the one that ended higher
    assert told.kept == pytest.approx(0)  # of 1/2 and -1/2; the third brought no number
    assert told.broke == "the loss was not finite at step 10"
    assert descent_of(blown_up(classes)).downhill == pytest.approx(1 / 3)


def test_what_the_training_said_of_it_is_kept(classes):
    said = "the loss became nan at step 11"
    assert rate_of(blown_up(classes, said)).broke == said
    assert rate_of(replace(classes, facts=replace(classes.facts, failure=said))).broke == said
    other = replace(classes.facts, failure="the disk is full")
    assert rate_of(replace(classes, facts=other)).broke is None


def test_of_a_run_whose_only_step_led_to_no_number_nothing_is_made_up(classes):
    only = replace(classes, readings=blown_up(classes).readings[-1:])
    told = rate_of(only)
    assert (told.kept, told.overshot, told.update_ratio) == (None, 1.0, math.inf)


def test_what_nobody_looked_at_is_not_made_up(unobserved, without_rows):
    assert rate_of(unobserved).kept is None
    assert descent_of(unobserved).promised is None
    assert loss_of(unobserved).first is None
    assert blame_of(unobserved).layers[0].first is None
    assert blame_of(without_rows).layers[0].now is None
    assert gradient_of(without_rows).now is None
    assert loss_of(without_rows).guessing is None
