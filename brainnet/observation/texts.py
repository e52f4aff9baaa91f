"""Texts: what TensorBoard's text page tells of the concepts and of the charts, in Markdown."""

from brainnet.concepts import CONCEPTS, Concept
from brainnet.observation.tags import TAGS


def concept_text(concept: Concept) -> str:
    """One concept: in a brain, plainly, as a formula, in code."""
    return "\n\n".join(
        [
            f"## {concept.name}",
            f"*{concept.group}*",
            f"**In a brain.** {concept.analogy}",
            f"**Plainly.** {concept.definition}",
            f"    {concept.formula}",
            f"**In code.** `{concept.home}`",
            f"**To read on.** {concept.reference}",
        ]
    )


def guide_text() -> str:
    """How to read the charts: each kind of tag and its meaning, as a table."""
    rows = [f"| `{tag.pattern.replace('{place}', '…')}` | {tag.meaning} |" for tag in TAGS]
    return "\n".join(
        [
            "## How to read these pages",
            "",
            "Headings are concepts; `…` is the name of a layer.",
            "",
            "| chart | what it shows |",
            "|---|---|",
            *(row.replace("|dL/dz|", "the size of dL/dz") for row in rows),
        ]
    )


def all_texts() -> dict[str, str]:
    """Every text by its tag, numbered in the order in which to read them.

    Example:
        >>> list(all_texts())[:2]
        ['explanation/00_how_to_read', 'explanation/01_layers']
    """
    texts = {"explanation/00_how_to_read": guide_text()}
    for number, concept in enumerate(CONCEPTS, start=1):
        texts[f"explanation/{number:02}_{concept.name.replace(' ', '_')}"] = concept_text(concept)
    return texts
