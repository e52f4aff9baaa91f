from brainnet.concepts import CONCEPTS
from brainnet.observation import tags

HEADINGS = {concept.name.replace(" ", "_").removesuffix("_function") for concept in CONCEPTS}
HEADINGS |= {"bias", "accuracy", "r2"}


def test_every_heading_is_a_concept_or_a_score():
    assert {tag.pattern.split("/")[0] for tag in tags.TAGS} <= HEADINGS


def test_no_tag_is_spelled_twice():
    patterns = [tag.pattern for tag in tags.TAGS]
    assert len(set(patterns)) == len(patterns)


def test_every_tag_has_a_meaning_and_is_found_by_it():
    for tag in tags.TAGS:
        assert tag.meaning.endswith(".")
        assert tags.get_description(tag.at("hidden_1")) == tag.meaning


def test_a_strange_tag_has_no_meaning():
    assert tags.get_description("weights/hidden_1/colour") == ""
    assert tags.get_description("weights") == ""


def test_places_of_other_models_keep_their_dots():
    assert tags.WEIGHTS_NORM.at("encoder.0.linear") == "weights/encoder.0.linear/norm"
