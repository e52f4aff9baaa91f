"""The eleven concepts are complete, in order, and found in any spelling."""

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


def test_concepts_are_in_order() -> None:
    assert tuple(concept.name for concept in CONCEPTS) == NAMES


def test_concepts_have_two_groups() -> None:
    groups = [concept.group for concept in CONCEPTS]
    assert groups == ["structural primitives"] * 6 + ["learning mechanics"] * 5
    assert tuple(dict.fromkeys(groups)) == concepts.GROUPS


@pytest.mark.parametrize("concept", CONCEPTS, ids=lambda concept: concept.slug)
def test_concept_is_complete(concept: Concept) -> None:
    assert getattr(concepts, concept.name.upper().replace(" ", "_")) is concept
    for field in dataclasses.fields(concept):
        text = getattr(concept, field.name)
        assert text
        assert text == " ".join(text.split()) or field.name == "formula"
    for sentence in (concept.analogy, concept.definition):
        assert sentence[0].isupper()
        assert sentence.rstrip('"').endswith((".", "!"))
        assert len(sentence) < 320
    package = "structure" if concept.group == concepts.STRUCTURAL_PRIMITIVES else "learning"
    assert concept.home.startswith(f"brainnet.{package}.")


@pytest.mark.parametrize("concept", CONCEPTS, ids=lambda concept: concept.slug)
def test_any_spelling_finds_the_concept(concept: Concept) -> None:
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
def test_singular_plural_and_short_names(spelling: str, name: str) -> None:
    assert find_concept(spelling).name == name


@pytest.mark.parametrize(
    ("typo", "intended"),
    [("weigths", "weights"), ("bais", "biases"), ("foward-pass", "forward-pass")],
)
def test_misspelled_names_get_a_suggestion(typo: str, intended: str) -> None:
    with pytest.raises(InputError, match=f"got '{typo}'. Did you mean {intended}\\?"):
        find_concept(typo)


@pytest.mark.parametrize("name", ["squirrel", "", "42"])
def test_unknown_names_get_the_list(name: str) -> None:
    with pytest.raises(InputError, match=r"Choose one of: layers, neurons, .*, learning-rate"):
        find_concept(name)


def test_concepts_are_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        concepts.WEIGHTS.name = "importance"  # type: ignore[misc]


def test_concepts_import_no_torch() -> None:
    code = "import sys, brainnet.concepts; print('torch' in sys.modules, 'numpy' in sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert process.stdout.split() == ["False", "False"]
