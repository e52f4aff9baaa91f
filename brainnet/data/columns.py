"""Columns: how the raw columns of a table become the numbers that a network reads."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from brainnet.data.cells import Cells, Numbers
from brainnet.data.column import Column, Unseen, encoded, missed
from brainnet.data.encoding import encoded_rows
from brainnet.data.wording import check_present, refuse_cells


@dataclass(frozen=True, slots=True)
class Columns:
    """What was learnt of the columns of a table, as plain data that is stored with a run.

    Numbers stay what they are, booleans become 0 and 1, a date becomes a few numbers, a category
    one input for each of its words (1 where it stands) or, with many words, one code that an
    embedding reads (0: never seen). `imputes` says that missing numbers are filled in later, by the
    mean of the training rows; `decimal` and `groups` are the signs by which their file wrote
    numbers, "" where it does not show.

    Example:
        >>> import pandas
        >>> columns = Columns((Column("age"), Column("colour", "category", ("blue", "red"))))
        >>> columns.names
        ('age', 'colour=blue', 'colour=red')
        >>> columns.apply(pandas.DataFrame({"colour": ["red", "pink"], "age": [3, 4]})).tolist()
        [[3.0, 0.0, 1.0], [4.0, 0.0, 0.0]]
    """

    columns: tuple[Column, ...]
    imputes: bool = False
    decimal: str = ""
    groups: str = ""

    @classmethod
    def numbers(cls, names: Sequence[str]) -> Self:
        """Columns that hold numbers and become them as they are."""
        return cls(tuple(Column(str(name)) for name in names))

    @property
    def names(self) -> tuple[str, ...]:
        """What the inputs are called."""
        return tuple(name for column in self.columns for name in column.inputs)

    @property
    def raw_names(self) -> tuple[str, ...]:
        """The columns that a raw row must have."""
        return tuple(column.name for column in self.columns)

    @property
    def text_names(self) -> tuple[str, ...]:
        """The raw columns that a file must be read as texts for: `007` is no 7."""
        return tuple(c.name for c in self.columns if c.kind != "number" or c.decimal or c.form)

    @property
    def embedded(self) -> dict[int, int]:
        """The positions of inputs that are codes, and how many codes each has (0: never seen)."""
        found, position = {}, 0
        for column in self.columns:
            if column.embedded:
                found[position] = len(column.values) + 1
            position += len(column.inputs)
        return found

    def apply(self, frame: Any, *, unseen: Unseen = "other") -> Numbers:  # noqa: ANN401 - a pandas DataFrame
        """Make the inputs of a frame of raw rows, float32 (rows, inputs).

        NaN stands where a number is missing. A word that was never seen becomes zeros, or code 0.

        Args:
            frame: pandas DataFrame with at least the columns `raw_names`, in any order.
            unseen: whether a word never seen counts as another one, or is refused.

        Raises:
            InputError: a column is missing, or a cell is not of its column's kind or infinite.
        """
        check_present(self.raw_names, list(map(str, frame.columns)))
        return self.expand(self.encode(frame, unseen=unseen))

    def encode(
        self,
        frame: Any,  # noqa: ANN401
        *,
        unseen: Unseen = "other",
        wordless: bool = False,
    ) -> Numbers:
        """Make of each raw cell its numbers, with one code for a category: 0, or 1 + its place.

        Where `wordless`, NaN stands for a word that is missing, as for a number.
        """
        frame = _with_text_names(frame)

        def encode(column: Column, cells: Cells) -> list[Numbers]:
            if wordless and column.kind == "category":
                return missed(column, cells)
            return encoded(column, cells, unseen, self.decimal)

        found = encoded_rows(self.columns, frame, encode)
        check_finite(found, frame, self.columns)
        return found

    def expand(self, encoded: Numbers) -> Numbers:
        """Turn what `encode` made into inputs; with no categories it is returned as it is."""
        if not any(column.kind == "category" and not column.embedded for column in self.columns):
            return encoded
        found = np.zeros((len(encoded), len(self.names)), np.float32)
        source = target = 0
        for column in self.columns:
            width = len(column.inputs)
            if column.kind == "category" and not column.embedded:
                codes = encoded[:, source]
                for place in range(width):
                    found[:, target + place] = codes == place + 1
            else:
                found[:, target : target + width] = encoded[:, source : source + column.width]
            source, target = source + column.width, target + width
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the columns as primitives and lists, which any checkpoint can hold."""
        columns = [
            asdict(column) | {"values": list(column.values), "unlearnt": list(column.unlearnt)}
            for column in self.columns
        ]
        return {
            "kind": "columns",
            "columns": columns,
            "imputes": self.imputes,
            "decimal": self.decimal,
            "groups": self.groups,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Return the columns that `to_dict` stored."""
        columns = (
            Column(
                **(
                    dict(entry)
                    | {name: tuple(entry.get(name, ())) for name in ("values", "unlearnt")}
                )
            )
            for entry in stored["columns"]
        )
        signs = stored.get("decimal", ""), stored.get("groups", "")
        return cls(tuple(columns), bool(stored["imputes"]), *signs)


def _with_text_names(frame: Any) -> Any:  # noqa: ANN401
    """The frame with texts as the names of its columns, as files have them."""
    if all(isinstance(name, str) for name in frame.columns):
        return frame
    return frame.rename(columns=str)


def check_finite(found: Numbers, frame: Any, columns: Sequence[Column]) -> None:  # noqa: ANN401
    """Refuse infinite numbers among encoded rows, by the names of their columns.

    Raises:
        InputError: there is one, or one is too large for float32.
    """
    if all_finite(found) or not np.isinf(found).any():
        return
    position = 0
    for column in columns:
        wrong, cells = np.isinf(found[:, position]), frame[column.name]
        refuse_cells(
            column.name, cells, wrong, "finite numbers", "Correct them, or empty the cells."
        )
        position += column.width


def all_finite(found: Numbers) -> bool:
    """Whether no number is infinite or NaN; where it says no, look closer: a sum may overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(found.sum()))
