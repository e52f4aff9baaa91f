from brainnet.concepts import CONCEPTS
from brainnet.observation import tags

HEADINGS = {concept.name.replace(" ", "_").removesuffix("_function") for concept in CONCEPTS}
HEADINGS |= {"bias", "accuracy", "r2"}


def test_tags_start_with_a_concept_or_a_metric():
    assert {tag.pattern.split("/")[0] for tag in tags.TAGS} <= HEADINGS


def test_patterns_are_unique():
    patterns = [tag.pattern for tag in tags.TAGS]
    assert len(set(patterns)) == len(patterns)


def test_every_tag_has_a_description():
    for tag in tags.TAGS:
        assert tag.meaning.endswith(".")
        assert tags.get_description(tag.at("hidden_1")) == tag.meaning


def test_unknown_tags_have_no_description():
    assert tags.get_description("weights/hidden_1/colour") == ""
    assert tags.get_description("weights") == ""


def test_layer_names_keep_their_dots():
    assert tags.WEIGHTS_NORM.at("encoder.0.linear") == "weights/encoder.0.linear/norm"
