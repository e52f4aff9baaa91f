"""Column types: what each column of a table contains."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from brainnet.data.cells import (
    CLOCK,
    ISO,
    MISSING_NUMBERS,
    YES_AND_NO,
    Numbers,
    coded,
    date_format,
    day_order,
    hours,
    is_date,
    is_typed,
    parse_dates,
    parse_numbers,
    parse_texts,
)
from brainnet.data.preprocessing import (
    ColumnEncoder,
    Spread,
    TableEncoder,
    check_finite,
    encoded,
    encoded_rows,
    extremes,
    in_order,
)
from brainnet.data.table_files import TableFile, TextFile, Writing, doubtful
from brainnet.data.validation import join_names, report_warning
from brainnet.errors import InputError, format_override

# A column with fewer strays than one in five is a column of numbers with slips in it.
_SHARE_OF_A_KIND = 0.8

_ROWS_TO_COUNT = 20


def kind_of(name: str, cells: Any, decimal: str = "") -> ColumnEncoder:
    """What a column holds by its first cells; `decimal` is the decimal sign of its file's texts."""
    if is_date(cells):
        return ColumnEncoder(name, "date", form=ISO, hours=_has_hours(parse_dates(cells, ISO)[0]))
    if is_typed(cells):
        yes_or_no = cells.dtype.name in ("bool", "boolean")
        return ColumnEncoder(name, "boolean", YES_AND_NO[0]) if yes_or_no else ColumnEncoder(name)
    there = parse_texts(cells).dropna()
    there = there[there != ""]
    if set(there.str.lower().unique()[:3]) in [set(pair) for pair in YES_AND_NO] and len(
        there
    ) == len(cells):
        pair = next(pair for pair in YES_AND_NO if there.iloc[0].lower() in pair)
        return ColumnEncoder(name, "boolean", pair)
    if _are_codes(name, there):
        return ColumnEncoder(name, "category")
    if not len(there) or _are_mostly_numbers(there, decimal):
        return ColumnEncoder(name)
    other = {",": ".", ".": ","}.get(decimal)
    if other and _are_mostly_numbers(there, other):
        return ColumnEncoder(name, decimal=other)
    if _share(hours(there)) >= _SHARE_OF_A_KIND:
        return ColumnEncoder(name, form=CLOCK)
    form = date_format(there, _SHARE_OF_A_KIND)
    if form is not None:
        form = _ordered(name, there, form)
        return ColumnEncoder(name, "date", form=form, hours=_has_hours(parse_dates(there, form)[0]))
    return ColumnEncoder(name, "category")


def _are_codes(name: str, texts: Any) -> bool:
    """Whether digits are the name of something: 01234 is no amount. Told, if they are."""
    texts = texts[~texts.isin(MISSING_NUMBERS)]
    codes = texts[texts.str.fullmatch(r"0\d+").astype(bool)]
    if not len(codes) or texts.str.fullmatch(r"\d+").mean() < _SHARE_OF_A_KIND:
        return False
    report_warning(
        f"column {name!r} has digits that begin with 0, such as {codes.iloc[0]}: taken as words, "
        "each as it is written. If they are amounts, write them without it."
    )
    return True


def _ordered(name: str, texts: Any, form: str) -> str:
    """The form of dates with day and month in the order that more of them have; told if both do."""
    order = day_order(form)
    if order is None:
        return form
    wrong, other_wrong = (int(parse_dates(texts, each)[1].sum()) for each in (form, order[0]))
    if other_wrong < wrong:
        return order[0]
    if not other_wrong:
        first = texts.iloc[0]
        report_warning(
            f"the dates of column {name!r}, such as {first}, are read as {order[1]}/year; the "
            f"first {len(texts):,} are dates the other way round as well. Written as 2024-03-25 "
            "they can be read in one way only."
        )
    return form


def _are_mostly_numbers(texts: Any, decimal: str) -> bool:
    return _share(parse_numbers(texts, decimal)) >= _SHARE_OF_A_KIND


def _share(read: tuple[Numbers, Numbers]) -> float:
    """How many of the cells in which something stands were read as what is looked for."""
    values, wrong = read
    there = ~np.isnan(values)
    return float(there.sum() / max(1, (there | wrong).sum()))


def _has_hours(moments: Any) -> bool:
    there = moments.dropna()
    return bool((there != there.dt.normalize()).any())


def is_empty(cells: Any) -> bool:
    """Whether nothing stands in the first cells of a column."""
    if is_typed(cells):
        return bool(np.isnan(parse_numbers(cells)[0]).all())
    return bool((parse_texts(cells).fillna("") == "").all())


def counts_rows(column: ColumnEncoder, cells: Any, decimal: str) -> bool:
    """Whether a column goes up by one from row to row."""
    if column.kind != "number" or len(cells) < _ROWS_TO_COUNT:
        return False
    for part in (cells.iloc[:_ROWS_TO_COUNT], cells):  # most fail among the first already
        values = parse_numbers(part, column.decimal or decimal)[0]
        with np.errstate(invalid="ignore"):  # infinite ones are told of where rows are read
            if values[0] % 1 or not (np.diff(values) == 1).all():
                return False
    return True


_CALLED = {".": "a point", ",": "a comma"}


def signs_of(file: TableFile) -> tuple[str, str]:
    """The decimal sign and the one between thousands; "" where the file does not show them."""
    if not isinstance(file, TextFile):
        return "", ""
    return file.writing.known, file.writing.groups or ""


def tell_doubt(file: TableFile, head: Any, names: Iterable[str]) -> None:
    """Say so where every number with a decimal sign could be one of thousands as well: `1.234`.

    Args:
        file: of the rows.
        head: its first rows, a pandas DataFrame of texts.
        names: of the columns that are read as numbers.
    """
    if not isinstance(file, TextFile) or file.writing.shown or not file.writing.known:
        return
    decimal = file.writing.known
    cell = doubtful((text for name in names for text in head[name].dropna().unique()), decimal)
    if cell is not None:
        as_read, without = cell.replace(decimal, "."), cell.replace(decimal, "")
        report_warning(
            f"numbers such as {cell} in {file.path} can be read in two ways, and no cell shows in "
            f"which: they are read as {as_read}, with a decimal sign, not as {without}. If it "
            f"stands between thousands, write {without} in the file."
        )


def to_typed(columns: TableEncoder, frame: Any) -> Any:
    """A frame whose columns of numbers hold numbers, where every cell is one."""
    found = frame
    for column in columns.columns:
        cells = frame[column.name]
        if column.kind == "number" and not is_typed(cells):
            values, wrong = parse_numbers(cells, column.decimal or columns.decimal)
            if not wrong.any():  # else it is refused, with its row, where rows are encoded
                found = found.assign(**{column.name: values})
    return found


def check_number_format(columns: TableEncoder, file: TableFile) -> tuple[TableEncoder, TableFile]:
    """Columns and another file of rows that mean the same by a point and by a comma.

    `1.234` alone is one number or another; the file that was learnt from says which. A file that
    is written the other way is read its own way, which is noted: cells show it beyond doubt, or
    commas stand in lines that are not divided by commas.
    """
    if not isinstance(file, TextFile):
        return columns, file
    writing = file.writing
    if not columns.decimal:
        return replace(columns, decimal=writing.known, groups=writing.groups or ""), file
    shown = writing.shown or _comma_by_separator(columns, writing)
    if shown and shown != columns.decimal:
        report_warning(
            f"{file.path} writes decimals with {_CALLED[shown]}, the rows that were learnt "
            f"from with {_CALLED[columns.decimal]}. Its numbers are read as it writes them."
        )
        own = replace(writing, decimal=shown)
        if writing.decimal != shown:
            own = replace(own, groups=None)
        return (
            replace(columns, decimal=own.decimal, groups=own.groups or ""),
            replace(file, writing=own),
        )
    groups = columns.groups or None
    if groups is None and writing.decimal == columns.decimal:
        groups = writing.groups
    return columns, replace(file, writing=replace(writing, decimal=columns.decimal, groups=groups))


def _comma_by_separator(columns: TableEncoder, writing: Writing) -> str:
    """The decimal comma of lines of semicolons, "" unless it is there: `256,400;9,554`.

    Every number may have three decimals, so that none shows it. Where commas stood between the
    thousands that were learnt from, they still do.
    """
    divided = writing.separator == "," or columns.groups == ","
    return "," if writing.decimal == "," and not divided else ""


_MOST_WORDS = 100_000

_FEW_WORDS = 32

_COUNTING = ("", "id", "index", "idx", "row", "rowid", "nr", "no", "number")


class ColumnInference:
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
        head: Any,
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
            report_warning(
                f"in the first {len(head):,} rows nothing stands in {join_names(empty, 6)}: left out, "
                "whatever follows. (data.columns keeps what it names.)"
            )
        self._columns = [
            ColumnEncoder(name, "category")
            if name in categories
            else kind_of(name, head[name], signs[0])
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
    def draft(self) -> TableEncoder:
        """The columns as far as they are known; categories have no words yet."""
        return TableEncoder(tuple(self._columns), self._imputes, *self._signs)

    @property
    def width(self) -> int:
        """How many numbers `encode` makes of a row."""
        return sum(column.width for column in self._columns)

    def encode(self, frame: Any) -> Numbers:
        """Make numbers of raw rows, float32 (rows, width): a category gets a code as words come.

        Raises:
            InputError: a cell contradicts the kind of its column, or is infinite.
        """
        found = encoded_rows(self._columns, frame, self._encoded, self._look)
        check_finite(found, frame, self._columns)
        return found

    def _look(self, columns: Sequence[ColumnEncoder], values: Numbers) -> None:
        """Take note of plain numbers (rows, columns)."""
        if not len(values) or values.dtype.itemsize < 8:
            return
        least, most = (found.astype(np.float64).tolist() for found in extremes(values))
        for place, column in enumerate(columns):
            self._spreads[column.name].widen(values[:, place], least[place], most[place])

    def _encoded(self, column: ColumnEncoder, cells: Any) -> list[Numbers]:
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

    def _grown(self, codes: dict[str, int], cells: Any) -> Numbers:
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

    def finish(self) -> tuple[TableEncoder, "Recoding"]:
        """Return what was learnt, and how to turn what `encode` made into its inputs' codes.

        Raises:
            InputError: no column is left to learn from.
        """
        kept: list[ColumnEncoder] = []
        positions: list[int] = []
        orders: dict[int, Numbers] = {}
        position = 0
        for column in self._columns:
            own = list(range(position, position + column.width))
            position += column.width
            if column.kind == "category":
                codes = self._codes[column.name]
                values = in_order(codes)
                column = ColumnEncoder(column.name, "category", tuple(values))
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
        columns = TableEncoder(tuple(kept), self._imputes, *self._signs)
        return columns, Recoding(positions, orders, self.width)

    def _tells(self, column: ColumnEncoder, own: list[int]) -> bool:
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
                hint = (
                    ""
                    if named
                    else f" ({format_override('data.categories', [column.name])} keeps it.)"
                )
                report_warning(
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
                report_warning(f"column {names[0]!r} is the same in every row. It is {outcome}.")
            elif names:
                report_warning(
                    f"{len(names)} columns are the same in every row ({join_names(names, 6)}). They "
                    f"are {outcome.replace('named it', 'named them')}."
                )

    def _tells_of_count(self, column: ColumnEncoder) -> bool:
        if _bare(column.name) in _COUNTING:
            report_warning(
                f"column {column.name!r} counts the rows. It is left out. (data.columns keeps what "
                "it names.)"
            )
            return False
        report_warning(
            f"column {column.name!r} rises by one from row to row: if it only counts them, "
            f"{format_override('data.drop', [column.name])} leaves it out."
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
