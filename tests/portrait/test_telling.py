"""The telling of a run: it fits, every number is there, and nothing is told that is not known."""

import pytest

from brainnet.concepts import CONCEPTS, find_concept
from brainnet.portrait.in_short import in_short
from brainnet.portrait.portrait import PORTRAYED, thought_of
from brainnet.portrait.telling import overview_of, portrait_of, tell_portrait

EACH = pytest.mark.parametrize("concept", CONCEPTS, ids=lambda concept: concept.slug)
KINDS = ("classes", "numbers", "without_rows", "unobserved", "smooth")


def text(subject, name):
    concept = find_concept(name)
    return " ".join(" ".join(tell_portrait(concept, PORTRAYED[concept](subject))).split())


@pytest.mark.parametrize("kind", KINDS)
@EACH
def test_every_concept_is_told_of_every_run_and_fits(concept, kind, request):
    subject = request.getfixturevalue(kind)
    found = PORTRAYED[concept](subject)
    lines = tell_portrait(concept, found)
    assert lines
    assert [line for line in lines if line.startswith(" ") and len(line) > 60] == []
    assert not any("nan" in line.split() or "None" in line for line in lines)
    assert len(f"  {'':20} {in_short(concept, found)}") <= 80


def test_all_concepts_are_portrayed():
    assert list(PORTRAYED) == list(CONCEPTS)


def test_a_page_names_its_run_and_what_to_type_next(classes):
    page = portrait_of(classes, find_concept("forward pass"))
    assert page.title == "forward pass of runs/it"
    assert page.lines[-1] == "Sum by sum: brainnet explain --run runs/it --row 48"
    assert thought_of(classes).row == 48


def test_the_overview_has_a_line_for_each_and_names_the_weights(classes):
    told = overview_of(classes)
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


def test_what_is_not_known_is_said(without_rows, unobserved):
    assert "are not stored" in text(without_rows, "neurons")
    assert "are not stored" in text(without_rows, "loss")
    assert "Nobody looked on" in text(unobserved, "learning rate")
    assert in_short(find_concept("neurons"), None) == "not known without its rows"
