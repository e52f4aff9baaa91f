"""Preprocessing: how the columns of a table become the inputs of a network."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np

from brainnet.data.cells import (
    CLOCK,
    Cells,
    Numbers,
    booleans,
    coded,
    date_numbers,
    day_order,
    hours,
    is_typed,
    parse_dates,
    parse_numbers,
    parse_texts,
)
from brainnet.data.validation import (
    check_columns_exist,
    format_row_number,
    join_names,
    reject_cells,
    report_warning,
)
from brainnet.errors import InputError, format_override

ColumnKind = Literal["number", "boolean", "category", "date"]

UnseenCategories = Literal["other", "refuse"]

# With more words than this a category becomes one code, which an embedding turns into a vector:
# one input for each of 5,000 towns would be nearly all zeros.
MOST_INPUTS_OF_A_CATEGORY = 32

_CORRECT = "Correct them, or leave these rows out."

_UNSEEN = (
    "Leave these rows out; or take such a word for none of those: --unseen other (in Python: "
    'unseen="other").'
)


@dataclass(frozen=True, slots=True)
class ColumnEncoder:
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


def encoded(
    column: ColumnEncoder, cells: Cells, unseen: UnseenCategories | None = None, decimal: str = ""
) -> list[Numbers]:
    """The numbers of one raw column, one array (rows,) for each of its `width`.

    `unseen` is None while it is still learnt what the column holds; `decimal` is the decimal sign
    of texts in all columns that have none of their own.
    """
    hint = None if unseen is None else _CORRECT
    if column.kind == "category":
        return [_codes(column, cells, unseen)]
    if column.kind == "date":
        moments, wrong = parse_dates(cells, column.form)
        reject_cells(column.name, cells, wrong, "dates", _other_order(column, cells, wrong) or hint)
        return date_numbers(moments, hours=column.hours)
    if column.kind == "boolean":
        values, wrong = booleans(cells, (column.values[0], column.values[1]))
        reject_cells(column.name, cells, wrong, " and ".join(column.values), hint)
        return [values]
    if column.form == CLOCK:
        values, wrong = hours(cells)
        reject_cells(column.name, cells, wrong, "times of day", hint)
        return [values]
    values, wrong = parse_numbers(cells, column.decimal or decimal)
    reject_cells(column.name, cells, wrong, "numbers", hint)
    return [values]


def _other_order(column: ColumnEncoder, cells: Cells, wrong: Numbers) -> str | None:
    """What to do where all dates are such with day and month the other way round."""
    order = day_order(column.form) if wrong.any() else None
    if order is None or parse_dates(cells, order[0])[1].any():
        return None
    other = "/".join(reversed(order[1].split("/")))
    return (
        f"The first rows were taken for {order[1]}, and as {other} all of these are dates: write "
        "them as 2024-03-25, which can be read in one way only."
    )


def missed(column: ColumnEncoder, cells: Cells) -> list[Numbers]:
    """The codes of a category, NaN where nothing stands."""
    (codes,) = encoded(column, cells, "other")
    there = parse_texts(cells).fillna("") != ""
    return [np.where(there.to_numpy(), codes, np.nan)]


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


def _codes(column: ColumnEncoder, cells: Cells, unseen: UnseenCategories | None) -> Numbers:
    found, uniques = coded(cells)
    codes = {value: place + 1 for place, value in enumerate(column.values)}
    codes |= dict.fromkeys(column.unlearnt, 0)
    if is_typed(cells) and not all(value in codes for value in uniques):
        codes = _sizes_among(codes) | codes
        uniques = [value if value in codes else _as_size(value) for value in uniques]
    known = np.array([codes.get(value, 0) for value in uniques], dtype=np.int64)
    if unseen == "refuse":
        reject_cells(column.name, cells, known[found] == 0, "words seen in training", _UNSEEN)
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


# Of so many columns a copy is small, and to ask pandas for each of them costs more than the copy.
_COLUMNS_AT_ONCE = 256

_FEW = 8


def encoded_rows(
    columns: Sequence[ColumnEncoder],
    frame: Any,
    encode: Callable[[ColumnEncoder, Cells], list[Numbers]],
    look: Callable[[Sequence[ColumnEncoder], Numbers], None] | None = None,
) -> Numbers:
    """Make numbers of raw rows, float32 (rows, width of all columns); too large becomes infinite.

    Args:
        columns: of the rows.
        frame: with these, by name.
        encode: makes the numbers of one of them.
        look: is shown columns that hold plain numbers, and these (rows, columns) as they were.
    """
    starts = [0, *accumulate(column.width for column in columns)]
    found = np.empty((len(frame), starts[-1]), np.float32)
    left = dict.fromkeys(range(len(columns)))
    with np.errstate(over="ignore"):
        for places, values in _blocks(columns, frame):
            found[:, _chosen([starts[place] for place in places])] = values
            if look is not None:
                look([columns[place] for place in places], values)
            for place in places:
                del left[place]
        for place in left:
            column = columns[place]
            for offset, numbers in enumerate(encode(column, frame[column.name])):
                found[:, starts[place] + offset] = numbers
    return found


def _blocks(columns: Sequence[ColumnEncoder], frame: Any) -> Iterator[tuple[list[int], Numbers]]:
    """Yield the places of columns that hold numbers of one type, and these (rows, places)."""
    alike: dict[Any, list[int]] = {}
    kinds = dict(zip(frame.columns, frame.dtypes, strict=True))
    for place, column in enumerate(columns):
        kind = kinds[column.name]
        if column.kind == "number" and isinstance(kind, np.dtype) and kind.kind in "iuf":
            alike.setdefault(kind, []).append(place)
    for places in alike.values():
        for start in range(0, len(places) if len(places) > _FEW else 0, _COLUMNS_AT_ONCE):
            some = places[start : start + _COLUMNS_AT_ONCE]
            yield some, frame[[columns[place].name for place in some]].to_numpy()


def _chosen(places: list[int]) -> slice | list[int]:
    """The same places as a slice where they follow one another, which is filled sooner."""
    first, last = places[0], places[-1] + 1
    return slice(first, last) if places == list(range(first, last)) else places


@dataclass(frozen=True, slots=True)
class TableEncoder:
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

    columns: tuple[ColumnEncoder, ...]
    imputes: bool = False
    decimal: str = ""
    groups: str = ""

    @classmethod
    def numbers(cls, names: Sequence[str]) -> Self:
        """Columns that hold numbers and become them as they are."""
        return cls(tuple(ColumnEncoder(str(name)) for name in names))

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

    def apply(self, frame: Any, *, unseen: UnseenCategories = "other") -> Numbers:
        """Make the inputs of a frame of raw rows, float32 (rows, inputs).

        NaN stands where a number is missing. A word that was never seen becomes zeros, or code 0.

        Args:
            frame: pandas DataFrame with at least the columns `raw_names`, in any order.
            unseen: whether a word never seen counts as another one, or is refused.

        Raises:
            InputError: a column is missing, or a cell is not of its column's kind or infinite.
        """
        check_columns_exist(self.raw_names, list(map(str, frame.columns)))
        return self.expand(self.encode(frame, unseen=unseen))

    def encode(
        self,
        frame: Any,
        *,
        unseen: UnseenCategories = "other",
        wordless: bool = False,
    ) -> Numbers:
        """Make of each raw cell its numbers, with one code for a category: 0, or 1 + its place.

        Where `wordless`, NaN stands for a word that is missing, as for a number.
        """
        frame = _with_text_names(frame)

        def encode(column: ColumnEncoder, cells: Cells) -> list[Numbers]:
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
            ColumnEncoder(
                **(
                    dict(entry)
                    | {name: tuple(entry.get(name, ())) for name in ("values", "unlearnt")}
                )
            )
            for entry in stored["columns"]
        )
        signs = stored.get("decimal", ""), stored.get("groups", "")
        return cls(tuple(columns), bool(stored["imputes"]), *signs)


def _with_text_names(frame: Any) -> Any:
    """The frame with texts as the names of its columns, as files have them."""
    if all(isinstance(name, str) for name in frame.columns):
        return frame
    return frame.rename(columns=str)


def check_finite(found: Numbers, frame: Any, columns: Sequence[ColumnEncoder]) -> None:
    """Refuse infinite numbers among encoded rows, by the names of their columns.

    Raises:
        InputError: there is one, or one is too large for float32.
    """
    if all_finite(found) or not np.isinf(found).any():
        return
    position = 0
    for column in columns:
        wrong, cells = np.isinf(found[:, position]), frame[column.name]
        reject_cells(
            column.name, cells, wrong, "finite numbers", "Correct them, or empty the cells."
        )
        position += column.width


def all_finite(found: Numbers) -> bool:
    """Whether no number is infinite or NaN; where it says no, look closer: a sum may overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(found.sum()))


MissingPolicy = Literal["refuse", "drop", "impute"]

MISSING: tuple[MissingPolicy, ...] = get_args(MissingPolicy)

_ROWS_NAMED = 3


def select_complete_rows(
    index: Any,
    inputs: tuple[Numbers, Sequence[str]],
    targets: tuple[Numbers, Sequence[str]],
    missing: MissingPolicy,
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


def _refusal(index: Any, lacking: Numbers, names: Sequence[str], what: str, path: Path) -> str:
    place = int(lacking.any(axis=0).argmax())
    rows = np.flatnonzero(lacking[:, place])
    named = ", ".join(f"{format_row_number(index, row)}" for row in rows[:_ROWS_NAMED])
    more = ", ..." if len(rows) > _ROWS_NAMED else ""
    others = [n for n in dict.fromkeys(np.array(names)[lacking.any(axis=0)]) if n != names[place]]
    also = f" (and so have {join_names(others, 5)})" if others else ""
    hint = (
        "data.missing=drop leaves such rows out."
        if what == "target"
        else "data.missing=impute fills in the mean of the training rows, data.missing=drop leaves "
        f"such rows out, {format_override('data.drop', [names[place]])} the column."
    )
    return (
        f"{path}: the {what} {names[place]!r} has empty cells{also}: row{'s' * (len(rows) > 1)} "
        f"{named}{more} (counted from 1 below the names). {hint}"
    )


# Numbers that take up fewer steps of float32 than this have lost what told them apart.
_STEPS = 1024

_LARGEST = float(np.finfo(np.float32).max)


class Spread:
    """How far apart the numbers of a column are, from all its rows.

    Args:
        name: of the column.

    Example:
        >>> seconds = Spread("seconds")
        >>> seconds.add(1_700_000_000.0 + np.arange(50))
        >>> seconds.is_merged
        True
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._least, self._most = np.inf, -np.inf
        self._inexact = False

    def add(self, values: Numbers) -> None:
        """Take note of numbers (rows,), NaN among them where one is missing."""
        if not len(values) or values.dtype.itemsize < 8:
            return
        self.widen(values, float(np.fmin.reduce(values)), float(np.fmax.reduce(values)))

    def widen(self, values: Numbers, least: float, most: float) -> None:
        """Take note of numbers (rows,) of 64 bits, the least and the most of which are known."""
        self._least, self._most = min(self._least, least), max(self._most, most)
        if self._is_narrow and not self._inexact:
            there = values[~np.isnan(values)]
            self._inexact = bool((there.astype(np.float32) != there).any())

    @property
    def _is_narrow(self) -> bool:
        size = max(abs(self._least), abs(self._most))
        if not np.isfinite(size) or size > _LARGEST:
            return False
        step = float(np.spacing(np.float32(size)))
        return 0 < self._most - self._least < _STEPS * step

    @property
    def is_merged(self) -> bool:
        """Whether different numbers become one and the same."""
        return self._inexact and self._is_narrow

    @property
    def told(self) -> str:
        """From where to where they go, and what 32 bits make of it."""
        return (
            f"goes from {self._least:.15g} to {self._most:.15g}, so close together that numbers of "
            "32 bits cannot tell all of them apart"
        )

    @property
    def advice(self) -> str:
        """What helps."""
        return f"Subtract {self._least:.15g} from it"

    def tell(self, what: str = "column", where: str = " in the file") -> None:
        """Say so, and what helps.

        Args:
            what: the numbers are.
            where: they can be made others.
        """
        report_warning(
            f"{what} {self.name!r} {self.told}. {self.advice}{where} to learn from the differences."
        )


def extremes(table: Numbers) -> tuple[Numbers, Numbers]:
    """The least and the most of each column of an array (rows, columns), whatever is missing."""
    return np.fmin.reduce(table), np.fmax.reduce(table)


def spreads_of(table: Numbers, names: Sequence[str]) -> Iterator[Spread]:
    """Yield the spreads of those columns of an array (rows, columns) that may be merged."""
    if table.dtype.itemsize < 8 or not len(table):
        return
    least, most = (found.astype(np.float64) for found in extremes(table))
    with np.errstate(over="ignore", invalid="ignore"):
        step = np.spacing(np.maximum(abs(least), abs(most)).astype(np.float32))
        narrow = most - least < 2 * _STEPS * step
    for place in np.flatnonzero(narrow).tolist():
        spread = Spread(names[place])
        spread.add(table[:, place])
        yield spread
