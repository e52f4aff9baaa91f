"""Every concept is implemented by a class or function that has its label."""

from importlib import import_module

import pytest

from brainnet.concepts import CONCEPTS, Concept


@pytest.mark.parametrize("concept", CONCEPTS, ids=lambda concept: concept.name)
def test_implementation_exists(concept: Concept) -> None:
    module_name, _, name = concept.home.rpartition(".")
    part = getattr(import_module(module_name), name)
    assert part.__module__ == module_name
    if isinstance(part, type):
        assert part.concept is concept


def test_there_are_eleven_concepts() -> None:
    assert len(CONCEPTS) == 11
    assert len({concept.name for concept in CONCEPTS}) == 11
