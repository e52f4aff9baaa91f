"""Survey: what the columns of a table hold, found out while its rows are read once."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from brainnet.data.cells import Numbers, coded
from brainnet.data.column import Column, encoded, in_order
from brainnet.data.columns import Columns, check_finite
from brainnet.data.encoding import encoded_rows
from brainnet.data.kinds import counts_rows, is_empty, kind_of
from brainnet.data.notes import note
from brainnet.data.spread import Spread, extremes
from brainnet.data.wording import listed
from brainnet.errors import InputError
from brainnet.suggestion import override

_MOST_WORDS = 100_000
_FEW_WORDS = 32
_COUNTING = ("", "id", "index", "idx", "row", "rowid", "nr", "no", "number")


class Survey:
    """Turns raw rows into numbers as they come, and knows at the end what their columns hold.

    The kind of a column follows from the first rows; a later cell that contradicts it is refused.
    Which words a category has, and which columns tell nothing, is known once all rows were seen.

    Args:
        head: the first rows, a pandas DataFrame, read as texts where the file does not say more.
        names: of the columns that are inputs.
        categories: columns that are words, whatever they look like.
        chosen: whether somebody named the columns: then none is left out.
        imputes: whether missing numbers are filled in.
        wordless: whether a missing word is no word of its own, and told as NaN.
        signs: the decimal sign of texts and the one between thousands, "" where not known.
    """

    def __init__(
        self,
        head: Any,  # noqa: ANN401
        names: Sequence[str],
        *,
        categories: Collection[str] = (),
        chosen: bool = False,
        imputes: bool = False,
        wordless: bool = False,
        signs: tuple[str, str] = ("", ""),
    ) -> None:
        kept = set(categories) | (set(names) if chosen else set())
        empty = [name for name in names if name not in kept and is_empty(head[name])]
        if empty:
            note(
                f"in the first {len(head):,} rows nothing stands in {listed(empty, 6)}: left out, "
                "whatever follows. (data.columns keeps what it names.)"
            )
        self._columns = [
            Column(name, "category") if name in categories else kind_of(name, head[name], signs[0])
            for name in names
            if name not in empty
        ]
        self._chosen = chosen
        self._kept = kept
        self._imputes = imputes
        self._signs = signs
        self._wordless = wordless
        self._codes: dict[str, dict[str, int]] = {
            column.name: {} for column in self._columns if column.kind == "category"
        }
        self._constant: list[str] = []
        self._spreads = {c.name: Spread(c.name) for c in self._columns if c.kind == "number"}
        self._rows = 0
        # What each number was first, and whether it was ever another one; NaN is none.
        self._first = np.full(self.width, np.nan, np.float32)
        self._varied = np.zeros(self.width, dtype=bool)
        self._counting = {c.name for c in self._columns if counts_rows(c, head[c.name], signs[0])}

    @property
    def draft(self) -> Columns:
        """The columns as far as they are known; categories have no words yet."""
        return Columns(tuple(self._columns), self._imputes, *self._signs)

    @property
    def width(self) -> int:
        """How many numbers `encode` makes of a row."""
        return sum(column.width for column in self._columns)

    def encode(self, frame: Any) -> Numbers:  # noqa: ANN401
        """Make numbers of raw rows, float32 (rows, width): a category gets a code as words come.

        Raises:
            InputError: a cell contradicts the kind of its column, or is infinite.
        """
        found = encoded_rows(self._columns, frame, self._encoded, self._look)
        check_finite(found, frame, self._columns)
        return found

    def _look(self, columns: Sequence[Column], values: Numbers) -> None:
        """Take note of plain numbers (rows, columns)."""
        if not len(values) or values.dtype.itemsize < 8:
            return
        least, most = (found.astype(np.float64).tolist() for found in extremes(values))
        for place, column in enumerate(columns):
            self._spreads[column.name].widen(values[:, place], least[place], most[place])

    def _encoded(self, column: Column, cells: Any) -> list[Numbers]:  # noqa: ANN401
        if column.kind == "category":
            return [self._grown(self._codes[column.name], cells)]
        found = encoded(column, cells, decimal=self._signs[0])
        if column.kind == "number":
            self._spreads[column.name].add(found[0])
        return found

    @property
    def owners(self) -> tuple[str, ...]:
        """The raw column of each number that `encode` makes of a row."""
        return tuple(column.name for column in self._columns for _ in range(column.width))

    def _grown(self, codes: dict[str, int], cells: Any) -> Numbers:  # noqa: ANN401
        """The code of each word, from 1 as they first appear; 0 beyond the most."""
        found, uniques = coded(cells)
        for value in uniques:
            if value not in codes and len(codes) <= _MOST_WORDS and (value or not self._wordless):
                codes[value] = len(codes) + 1
        known = np.array([codes.get(value, 0) for value in uniques], dtype=np.float32)
        if self._wordless and "" in uniques:
            known[uniques.index("")] = np.nan
        grown: Numbers = known[found]
        return grown

    def count(self, found: Numbers) -> None:
        """Take note of rows that are kept, as `encode` made them."""
        self._rows += len(found)
        for position in np.flatnonzero(~self._varied):
            values = found[:, position]
            values = values[~np.isnan(values)]
            if len(values) and np.isnan(self._first[position]):
                self._first[position] = values[0]
            self._varied[position] = bool((values != self._first[position]).any())

    def finish(self) -> tuple[Columns, "Recoding"]:
        """Return what was learnt, and how to turn what `encode` made into its inputs' codes.

        Raises:
            InputError: no column is left to learn from.
        """
        kept: list[Column] = []
        positions: list[int] = []
        orders: dict[int, Numbers] = {}
        position = 0
        for column in self._columns:
            own = list(range(position, position + column.width))
            position += column.width
            if column.kind == "category":
                codes = self._codes[column.name]
                values = in_order(codes)
                column = Column(column.name, "category", tuple(values))
                places = {value: place for place, value in enumerate(values, 1)}
                orders[len(positions)] = np.array([0, *(places[value] for value in codes)])
            if self._tells(column, own):
                kept.append(column)
                positions += own
            else:
                orders.pop(len(positions), None)
        self._tell_constant()
        if not kept:
            raise InputError(
                "no column is left to learn from: each is the same in every row, or another word "
                "in each. data.columns=[NAME, ...] names those to learn from all the same."
            )
        columns = Columns(tuple(kept), self._imputes, *self._signs)
        return columns, Recoding(positions, orders, self.width)

    def _tells(self, column: Column, own: list[int]) -> bool:
        """Whether something can be learnt from a column; if not, or if in doubt, it is told."""
        named = column.name in self._kept
        outcome = "It is kept, as you named it." if named else "It is left out."
        merged = column.kind == "number" and self._spreads[column.name].is_merged
        if merged:
            self._spreads[column.name].tell()
            return named or bool(self._varied[own].any())
        if not self._varied[own].any():
            self._constant.append(column.name)
            return named
        if column.kind == "category":
            different = len(column.values)
            if different > _MOST_WORDS or different > max(_FEW_WORDS, self._rows / 2):
                hint = "" if named else f" ({override('data.categories', [column.name])} keeps it.)"
                note(
                    f"column {column.name!r} has {different:,} different words in "
                    f"{self._rows:,} rows: too many to learn each. {outcome}{hint}"
                )
                return named
        if column.name in self._counting and not named:
            return self._tells_of_count(column)
        return True

    def _tell_constant(self) -> None:
        """Name the columns that never change; a table of pixels has many."""
        for names, outcome in (
            ([name for name in self._constant if name not in self._kept], "left out"),
            ([name for name in self._constant if name in self._kept], "kept, as you named it"),
        ):
            if len(names) == 1:
                note(f"column {names[0]!r} is the same in every row. It is {outcome}.")
            elif names:
                note(
                    f"{len(names)} columns are the same in every row ({listed(names, 6)}). They "
                    f"are {outcome.replace('named it', 'named them')}."
                )

    def _tells_of_count(self, column: Column) -> bool:
        if _bare(column.name) in _COUNTING:
            note(
                f"column {column.name!r} counts the rows. It is left out. (data.columns keeps what "
                "it names.)"
            )
            return False
        note(
            f"column {column.name!r} rises by one from row to row: if it only counts them, "
            f"{override('data.drop', [column.name])} leaves it out."
        )
        return True


class Recoding:
    """How the numbers of a survey become those of its columns: some left out, codes in order."""

    def __init__(self, positions: list[int], orders: dict[int, Numbers], width: int) -> None:
        self._positions = positions
        self._orders = orders
        self._all = positions == list(range(width))

    def apply(self, found: Numbers) -> Numbers:
        """Return the encoded rows of the final columns; where nothing changes, the very same."""
        if self._all and not self._orders:
            return found
        kept = found[:, self._positions]
        for position, order in self._orders.items():
            kept[:, position] = order[kept[:, position].astype(np.int64)]
        return kept


def _bare(name: str) -> str:
    return name.split(":")[0].lower().replace("unnamed", "").strip("_# .")
