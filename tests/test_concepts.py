"""The eleven concepts: complete, in order, and found however they are spelled."""

import dataclasses
import subprocess
import sys

import pytest

from brainnet import concepts
from brainnet.concepts import CONCEPTS, Concept, find_concept
from brainnet.errors import InputError

NAMES = (
    "layers",
    "neurons",
    "weights",
    "biases",
    "activation function",
    "forward pass",
    "loss function",
    "backpropagation",
    "gradient",
    "gradient descent",
    "learning rate",
)


def test_the_eleven_stand_in_the_order_of_the_explanation() -> None:
    assert tuple(concept.name for concept in CONCEPTS) == NAMES


def test_six_say_what_a_network_is_and_five_how_it_learns() -> None:
    groups = [concept.group for concept in CONCEPTS]
    assert groups == ["structural primitives"] * 6 + ["learning mechanics"] * 5
    assert tuple(dict.fromkeys(groups)) == concepts.GROUPS


@pytest.mark.parametrize("concept", CONCEPTS, ids=lambda concept: concept.slug)
def test_every_concept_is_complete_and_has_its_constant(concept: Concept) -> None:
    assert getattr(concepts, concept.name.upper().replace(" ", "_")) is concept
    for field in dataclasses.fields(concept):
        text = getattr(concept, field.name)
        assert text
        assert text == " ".join(text.split()) or field.name == "formula"
    for sentence in (concept.analogy, concept.definition):
        assert sentence[0].isupper()
        assert sentence.rstrip('"').endswith((".", "!"))
        assert len(sentence) < 320
    room = "structure" if concept.group == concepts.STRUCTURAL_PRIMITIVES else "learning"
    assert concept.home.startswith(f"brainnet.{room}.")


@pytest.mark.parametrize("concept", CONCEPTS, ids=lambda concept: concept.slug)
def test_any_spelling_of_the_name_finds_the_concept(concept: Concept) -> None:
    name = concept.name
    for spelling in (name, concept.slug, name.replace(" ", "_"), name.title(), f" {name.upper()} "):
        assert find_concept(spelling) is concept


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("layer", "layers"),
        ("neuron", "neurons"),
        ("weight", "weights"),
        ("bias", "biases"),
        ("activation", "activation function"),
        ("loss", "loss function"),
        ("gradients", "gradient"),
        ("backprop", "backpropagation"),
        ("lr", "learning rate"),
    ],
)
def test_singulars_plurals_and_short_names_are_understood(spelling: str, name: str) -> None:
    assert find_concept(spelling).name == name


@pytest.mark.parametrize(
    ("typo", "meant"),
    [("weigths", "weights"), ("bais", "biases"), ("foward-pass", "forward-pass")],
)
def test_a_typo_is_answered_with_the_nearest_name(typo: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"got '{typo}'. Did you mean {meant}\\?"):
        find_concept(typo)


@pytest.mark.parametrize("name", ["squirrel", "", "42"])
def test_a_name_near_to_none_is_answered_with_all(name: str) -> None:
    with pytest.raises(InputError, match=r"Choose one of: layers, neurons, .*, learning-rate"):
        find_concept(name)


def test_a_concept_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        concepts.WEIGHTS.name = "importance"  # type: ignore[misc]


def test_the_concepts_need_nothing_but_the_standard_library() -> None:
    code = "import sys, brainnet.concepts; print('torch' in sys.modules, 'numpy' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == ["False", "False"]
