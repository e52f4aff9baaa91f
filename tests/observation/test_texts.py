from brainnet.concepts import CONCEPTS, WEIGHTS
from brainnet.observation.tags import TAGS
from brainnet.observation.tensorboard import all_texts, concept_text, guide_text


def test_every_concept_is_explained_in_the_order_of_the_explanation():
    texts = list(all_texts().values())
    assert texts[1:] == [concept_text(concept) for concept in CONCEPTS]


def test_a_concept_is_told_whole():
    text = concept_text(WEIGHTS)
    for part in (WEIGHTS.analogy, WEIGHTS.definition, WEIGHTS.formula, WEIGHTS.home):
        assert part in text


def test_the_guide_is_one_table_of_all_tags():
    rows = [line for line in guide_text().splitlines() if line.startswith("| `")]
    assert len(rows) == len(TAGS)
    assert all(row.count("|") == 3 for row in rows)
