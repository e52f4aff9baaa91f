"""Labels: what stands in a target of classes, and what classes are called by it."""

import re
from collections.abc import Sequence

import numpy as np

from brainnet.data.cells import MISSING_NUMBERS, Numbers, numbers

NOTHING = frozenset({""})
"""What stands where an answer is not known, among words."""

_NO_FRACTION = {
    "": re.compile(r"[.,]0?$"),
    ".": re.compile(r"\.0*$"),
    ",": re.compile(r",0*$"),
}


def are_numbers(labels: Sequence[str], decimal: str) -> bool:
    """Whether there are labels, and all of them numbers."""
    return bool(labels) and not np.isnan(values_of(labels, decimal)).any()


def missing_among(labels: Sequence[str], decimal: str) -> frozenset[str]:
    """What stands where an answer is not known: among numbers also NA and the like."""
    said = [label for label in labels if label not in MISSING_NUMBERS]
    return MISSING_NUMBERS if are_numbers(said, decimal) else NOTHING


def values_of(labels: Sequence[str], decimal: str) -> Numbers:
    """The numbers that labels are; NaN for words."""
    import pandas

    return numbers(pandas.Series(list(labels), dtype=object), decimal)[0]


def class_names_of(labels: Sequence[str], decimal: str) -> list[str]:
    """What classes are called: as they are written; whole numbers without a decimal point."""
    return (
        [whole(label, decimal) for label in labels] if are_numbers(labels, decimal) else [*labels]
    )


def whole(label: str, decimal: str) -> str:
    """A number without a fraction of zeros; 1,000 is more than one where it may be."""
    return _NO_FRACTION[decimal].sub("", label)
