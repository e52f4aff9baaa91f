"""Row: one row of a run's data, or of a file, with the reasons for its answer."""

from dataclasses import dataclass

from brainnet.reasons.columns import ColumnPart
from brainnet.reasons.reasons import Reasons


@dataclass(frozen=True, slots=True)
class RowTold:
    """Why one row got its answer; primitives all the way down.

    Attributes:
        run: the run's folder.
        source: where the row is from: the name of the run's data, or a file.
        row: its number there, from 0; None for a row that came alone.
        rows: how many rows there are; None where that was not counted.
        part: "train", "validation" or "test": what the run used it for; None for rows from
            elsewhere.
        note: how rows are counted, where that is not plain.
        reasons: the row's way through the network, and back.
        columns: each raw column's part in the answer, in the order of the columns; empty for
            pictures.
    """

    run: str
    source: str
    row: int | None
    rows: int | None
    part: str | None
    reasons: Reasons
    note: str | None = None
    columns: tuple[ColumnPart, ...] = ()
