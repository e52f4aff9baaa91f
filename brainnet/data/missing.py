"""Missing: what becomes of rows in which a cell is empty."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from brainnet.data.cells import Numbers
from brainnet.data.columns import all_finite
from brainnet.data.wording import listed, row_called
from brainnet.errors import InputError
from brainnet.suggestion import override

Missing = Literal["refuse", "drop", "impute"]
MISSING: tuple[Missing, ...] = get_args(Missing)

_ROWS_NAMED = 3


def kept_rows(
    index: Any,  # noqa: ANN401 - a pandas Index
    inputs: tuple[Numbers, Sequence[str]],
    targets: tuple[Numbers, Sequence[str]],
    missing: Missing,
    path: Path,
) -> Numbers:
    """Which rows to learn from, (rows,); an answer that is missing cannot be filled in.

    Args:
        index: what the rows are called.
        inputs: numbers (rows, columns) with NaN where one is missing, and the names of the columns.
        targets: the same.
        missing: "refuse", "drop" or "impute".
        path: of the file, for messages.

    Raises:
        InputError: a cell is missing, and that is to be refused.
    """
    if all_finite(inputs[0]) and all_finite(targets[0]):
        return np.ones(len(index), dtype=bool)
    asked, told = np.isnan(inputs[0]), np.isnan(targets[0])
    if missing == "refuse":
        for lacking, names, what in ((told, targets[1], "target"), (asked, inputs[1], "column")):
            if lacking.any():
                raise InputError(_refusal(index, lacking, names, what, path))
    left_out = np.hstack([told, asked]) if missing == "drop" else told
    kept: Numbers = ~np.any(left_out, axis=1)
    return kept


def _refusal(index: Any, lacking: Numbers, names: Sequence[str], what: str, path: Path) -> str:  # noqa: ANN401
    place = int(lacking.any(axis=0).argmax())
    rows = np.flatnonzero(lacking[:, place])
    named = ", ".join(f"{row_called(index, row)}" for row in rows[:_ROWS_NAMED])
    more = ", ..." if len(rows) > _ROWS_NAMED else ""
    others = [n for n in dict.fromkeys(np.array(names)[lacking.any(axis=0)]) if n != names[place]]
    also = f" (and so have {listed(others, 5)})" if others else ""
    hint = (
        "data.missing=drop leaves such rows out."
        if what == "target"
        else "data.missing=impute fills in the mean of the training rows, data.missing=drop leaves "
        f"such rows out, {override('data.drop', [names[place]])} the column."
    )
    return (
        f"{path}: the {what} {names[place]!r} has empty cells{also}: row{'s' * (len(rows) > 1)} "
        f"{named}{more} (counted from 1 below the names). {hint}"
    )
