"""The telling of a run: it fits, every number is there, and nothing is told that is not known."""

import math
from dataclasses import replace

import pytest

from brainnet.concepts import CONCEPTS, find_concept
from brainnet.explanation.formatting import format_number
from brainnet.explanation.report import REPORT_BUILDERS, guessing, loss_of, rate_of, thought_of
from brainnet.explanation.report_text import format_report, in_short, report_concept, summarize_run

EACH = pytest.mark.parametrize("concept", CONCEPTS, ids=lambda concept: concept.slug)
KINDS = ("classes", "numbers", "without_rows", "unobserved", "smooth")


def text(subject, name):
    concept = find_concept(name)
    return " ".join(" ".join(format_report(concept, REPORT_BUILDERS[concept](subject))).split())


@pytest.mark.parametrize("kind", KINDS)
@EACH
def test_every_concept_is_told_of_every_run_and_fits(concept, kind, request):
    subject = request.getfixturevalue(kind)
    found = REPORT_BUILDERS[concept](subject)
    lines = format_report(concept, found)
    assert lines
    assert [line for line in lines if line.startswith(" ") and len(line) > 60] == []
    assert not any("nan" in line.split() or "None" in line for line in lines)
    assert len(f"  {'':20} {in_short(concept, found)}") <= 80


def test_all_concepts_are_portrayed():
    assert list(REPORT_BUILDERS) == list(CONCEPTS)


def test_a_page_names_its_run_and_what_to_type_next(classes):
    page = report_concept(classes, find_concept("forward pass"))
    assert page.title == "forward pass of runs/it"
    assert page.lines[-1] == "Sum by sum: brainnet explain --run runs/it --row 48"
    assert thought_of(classes).row == 48


def test_the_overview_has_a_line_for_each_and_names_the_weights(classes):
    told = summarize_run(classes)
    lines = [line for section in told.sections for line in section.lines]
    assert [line[2:22].strip() for line in lines] == [concept.name for concept in CONCEPTS]
    assert "best.ckpt" in told.text[0]
    assert "3 → 6 → 2: 38 numbers that learn" in lines[0]


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("layers", "38 numbers that learn"),
        ("loss", "the first batch, untrained 1.2"),
        ("backpropagation", "hidden_1 25.0% 75.0%"),
        ("gradient descent", "11 steps downhill in 2 epochs, taken by Adam"),
        ("gradient descent", "the slope promised 0.7"),
        ("learning rate", "The learning rate is 0.1 and follows WarmupCosine."),
        ("learning rate", "brought 50% of what the slope promised, and 33%"),
        ("learning rate", "It overshoots: try a smaller one."),
        ("activation", "threshold 0, width 1"),
    ],
)
def test_the_numbers_of_the_run_are_told(classes, name, numbers):
    assert numbers in text(classes, name)


def ended(subject, loss):
    return replace(subject, facts=replace(subject.facts, metrics={"loss/validation": loss}))


def test_a_step_size_that_broke_the_run_is_never_said_to_suit(classes):
    layers = tuple(replace(each, update_ratio=math.inf) for each in classes.readings[0].layers)
    only = replace(classes.readings[0], actual_decrease=math.nan, layers=layers)
    facts = replace(
        classes.facts, failure="the loss became nan at step 1", learning_rate=1e30, schedule=None
    )
    broken = replace(classes, readings=(only,), facts=facts)
    said = text(broken, "learning rate")
    assert "The learning rate is 1e+30 and stays as it is." in said
    assert "The loss became nan at step 1: try a smaller step." in said
    assert "100% of the steps looked at ended higher than they began, or at no number" in said
    assert "suit" not in said
    assert [word for word in ("nan%", "inf") if word in said] == []
    assert "the loss fell by not finite" in text(broken, "gradient descent")
    short = in_short(find_concept("learning rate"), rate_of(broken))
    assert short == "1e+30; the loss became nan at step 1"


def test_the_end_is_set_beside_guessing_on_the_same_rows_not_the_last_batch(classes):
    loss = find_concept("loss")
    cost = guessing(classes, classes.rows[1])
    nothing = ended(classes, 0.995 * cost)
    assert (
        f"loss/validation ended at {format_number(0.995 * cost)}, no better than guessing"
        in text(nothing, "loss")
    )
    assert in_short(loss, loss_of(nothing)) == (
        f"1.2 → {format_number(0.995 * cost)} (validation); no better than guessing {format_number(cost)}"
    )
    learnt = ended(classes, 0.9 * cost)
    assert "no better than guessing" not in text(learnt, "loss")
    assert in_short(loss, loss_of(learnt)) == (
        f"1.2 → {format_number(0.9 * cost)} (validation); guessing costs {format_number(cost)}"
    )
    assert in_short(loss, loss_of(classes)).startswith("1.2 → 0.5 (last batch); guessing costs")


def test_what_is_no_number_is_called_not_finite(classes):
    loss = find_concept("loss")
    nothing = in_short(loss, loss_of(ended(classes, math.nan)))
    assert nothing.startswith("1.2 → not finite (validation); no better than guessing")


def test_what_is_not_known_is_said(without_rows, unobserved):
    assert "are not stored" in text(without_rows, "neurons")
    assert "are not stored" in text(without_rows, "loss")
    assert "Nobody looked on" in text(unobserved, "learning rate")
    assert in_short(find_concept("neurons"), None) == "not known without its rows"
