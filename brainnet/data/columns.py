"""Columns: how the raw columns of a table become the numbers that a network reads."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np

from brainnet.data.cells import (
    Cells,
    Numbers,
    booleans,
    coded,
    date_numbers,
    dates,
    is_typed,
    numbers,
    words,
)
from brainnet.data.clock import CLOCK, hours
from brainnet.data.wording import check_present, refuse_cells

ColumnKind = Literal["number", "boolean", "category", "date"]
Unseen = Literal["other", "refuse"]

# With more words than this a category becomes one code, which an embedding turns into a vector:
# one input for each of 5,000 towns would be nearly all zeros.
MOST_INPUTS_OF_A_CATEGORY = 32
_CORRECT = "Correct them, or leave these rows out."
_UNSEEN = (
    "Leave these rows out; or take such a word for none of those: --unseen other (in Python: "
    'unseen="other").'
)


@dataclass(frozen=True, slots=True)
class Column:
    """One raw column and what its cells mean.

    `values` are the words of a category in their order (the empty one stands for cells where
    nothing is written), or the words for 0 and 1 of a boolean. `form` is how a date is written, or
    a number that is a time of day: hours. `decimal` is the decimal sign of its texts where it is
    not that of the other columns. `unlearnt` are those of the words that no training row has: they
    count as never seen.
    """

    name: str
    kind: ColumnKind = "number"
    values: tuple[str, ...] = ()
    form: str = ""
    hours: bool = False
    decimal: str = ""
    unlearnt: tuple[str, ...] = ()

    @property
    def embedded(self) -> bool:
        """Whether the column becomes one code instead of an input for each of its words."""
        return self.kind == "category" and len(self.values) > MOST_INPUTS_OF_A_CATEGORY

    @property
    def inputs(self) -> tuple[str, ...]:
        """What the inputs that the column becomes are called."""
        if self.kind == "date":
            parts = ("year", "day of the year", "weekday") + (("hour",) if self.hours else ())
            return tuple(f"{self.name} ({part})" for part in parts)
        if self.kind == "category" and not self.embedded:
            return tuple(f"{self.name}={value or '(missing)'}" for value in self.values)
        return (self.name,)

    @property
    def width(self) -> int:
        """How many numbers `encode` makes of a cell."""
        return len(self.inputs) if self.kind == "date" else 1


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
        found = np.empty((len(frame), sum(column.width for column in self.columns)), np.float32)
        parts = (
            _missed(column, frame[column.name])
            if wordless and column.kind == "category"
            else encoded(column, frame[column.name], unseen, self.decimal)
            for column in self.columns
        )
        fill(found, (values for part in parts for values in part))
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


def encoded(
    column: Column, cells: Cells, unseen: Unseen | None = None, decimal: str = ""
) -> list[Numbers]:
    """The numbers of one raw column, one array (rows,) for each of its `width`.

    `unseen` is None while it is still learnt what the column holds; `decimal` is the decimal sign
    of texts in all columns that have none of their own.
    """
    hint = None if unseen is None else _CORRECT
    if column.kind == "category":
        return [_codes(column, cells, unseen)]
    if column.kind == "date":
        moments, wrong = dates(cells, column.form)
        refuse_cells(column.name, cells, wrong, "dates", hint)
        return date_numbers(moments, hours=column.hours)
    if column.kind == "boolean":
        values, wrong = booleans(cells, (column.values[0], column.values[1]))
        refuse_cells(column.name, cells, wrong, " and ".join(column.values), hint)
        return [values]
    if column.form == CLOCK:
        values, wrong = hours(cells)
        refuse_cells(column.name, cells, wrong, "times of day", hint)
        return [values]
    values, wrong = numbers(cells, column.decimal or decimal)
    refuse_cells(column.name, cells, wrong, "numbers", hint)
    return [values]


def fill(found: Numbers, columns: Iterable[Numbers]) -> None:
    """Put columns (rows,) into a table (rows, columns); too large for it becomes infinite."""
    with np.errstate(over="ignore"):
        for place, values in enumerate(columns):
            found[:, place] = values


def check_finite(found: Numbers, frame: Any, columns: Sequence[Column]) -> None:  # noqa: ANN401
    """Refuse infinite numbers among encoded rows, by the names of their columns.

    Raises:
        InputError: there is one, or one is too large for float32.
    """
    if all_finite(found):
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


def in_order(values: Iterable[str]) -> list[str]:
    """Words in the order of their letters, numbers among them in the order of their size.

    Example:
        >>> in_order(["10", "9", "", "b"])
        ['', '9', '10', 'b']
    """
    return sorted(values, key=lambda value: (value != "", _size(value), value))


def _size(value: str) -> float:
    try:
        size = float(value)
    except ValueError:
        return np.inf
    return np.inf if np.isnan(size) else size


def _codes(column: Column, cells: Cells, unseen: Unseen | None) -> Numbers:
    found, uniques = coded(cells)
    codes = {value: place + 1 for place, value in enumerate(column.values)}
    codes |= dict.fromkeys(column.unlearnt, 0)
    if is_typed(cells) and not all(value in codes for value in uniques):
        codes = _sizes_among(codes) | codes
        uniques = [value if value in codes else _as_size(value) for value in uniques]
    known = np.array([codes.get(value, 0) for value in uniques], dtype=np.int64)
    if unseen == "refuse":
        refuse_cells(column.name, cells, known[found] == 0, "words seen in training", _UNSEEN)
    return known[found] if len(uniques) else np.zeros(0)


def _as_size(value: str) -> str:
    """A word that all words for the same number share."""
    size = _size(value)
    return value if np.isinf(size) else f"{size:.17g}\0"


def _sizes_among(codes: Mapping[str, int]) -> dict[str, int]:
    """The codes of words that are numbers, by their size: 007 for a 7; the first of several."""
    found: dict[str, int] = {}
    for value, code in codes.items():
        if code:
            found.setdefault(_as_size(value), code)
    return found


def _missed(column: Column, cells: Cells) -> list[Numbers]:
    """The codes of a category, NaN where nothing stands."""
    (codes,) = encoded(column, cells, "other")
    there = words(cells).fillna("") != ""
    return [np.where(there.to_numpy(), codes, np.nan)]
