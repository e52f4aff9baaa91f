"""Column types: what each column of a table contains, inferred from its first rows."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from brainnet.data.preprocessing import (
    TIME_FORMAT,
    ColumnEncoder,
    TableEncoder,
    encode_columns,
    factorize_texts,
    is_typed,
    parse_dates,
    parse_numbers,
    parse_texts,
    parse_times,
    sort_labels,
    warn_merged_numbers,
)
from brainnet.data.table_files import MISSING_MARKERS, Frame
from brainnet.data.validation import (
    Cells,
    Numbers,
    format_count,
    join_names,
    report_warning,
)
from brainnet.errors import InputError, format_override

# A column with fewer strays than one in five is a column of numbers with mistakes in it.
_MIN_SHARE = 0.8
_MAX_CATEGORIES = 100_000
_BOOLEAN_WORDS = (("false", "true"), ("no", "yes"), ("f", "t"), ("n", "y"), ("off", "on"))

# Where day and month could be either, the month comes first between slashes, as in 12/24/2025.
_DATE_FORMATS = (
    "ISO8601",
    *(
        day + time
        for day in (
            "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%d-%m-%Y", "%d.%m.%y", "%m/%d/%y",
            "%d/%m/%y", "%d-%b-%Y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y",
        )
        for time in ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
    ),
)  # fmt: skip


def infer_column(name: str, cells: Cells, decimal: str = ".") -> ColumnEncoder:
    """Return the encoder of a column, by its first cells. Categories have no values yet.

    Args:
        name: of the column.
        cells: its first cells.
        decimal: decimal sign of numbers that are stored as text.
    """
    if is_typed(cells):
        if cells.dtype.name in ("bool", "boolean"):
            return ColumnEncoder(name, "boolean", _BOOLEAN_WORDS[0])
        return ColumnEncoder(name)
    texts = parse_texts(cells).dropna()
    texts = texts[texts != ""]
    words = set(texts.str.lower().unique()[:3])
    pair = next((pair for pair in _BOOLEAN_WORDS if words == set(pair)), None)
    if pair is not None and len(texts) == len(cells):
        return ColumnEncoder(name, "boolean", pair)
    if _are_codes(name, texts):
        return ColumnEncoder(name, "category")
    if not len(texts) or _compute_share(parse_numbers(texts, decimal)) >= _MIN_SHARE:
        return ColumnEncoder(name)
    if _compute_share(parse_times(texts)) >= _MIN_SHARE:
        return ColumnEncoder(name, format=TIME_FORMAT)
    date_format = infer_date_format(name, texts)
    if date_format:
        moments = parse_dates(texts, date_format)[0].dropna()
        has_time = bool((moments != moments.dt.normalize()).any())
        return ColumnEncoder(name, "date", format=date_format, has_time=has_time)
    return ColumnEncoder(name, "category")


def _compute_share(parsed: tuple[Numbers, Numbers]) -> float:
    """Return the share of the cells that could be parsed."""
    values, wrong = parsed
    present = ~np.isnan(values)
    return float(present.sum() / max(1, (present | wrong).sum()))


def _are_codes(name: str, texts: Cells) -> bool:
    """Return whether digits are names: 01234 is no amount."""
    texts = texts[~texts.isin(MISSING_MARKERS)]
    codes = texts[texts.str.fullmatch(r"0\d+").astype(bool)]
    if not len(codes) or texts.str.fullmatch(r"\d+").mean() < _MIN_SHARE:
        return False
    report_warning(
        f"column {name!r} has digits that begin with 0, such as {codes.iloc[0]}; it is read as a "
        "category. If it contains amounts, write them without leading zeros."
    )
    return True


def infer_date_format(name: str, texts: Cells) -> str:
    """Return the format of the dates in a column of texts; "" if most cells are no dates.

    Example:
        >>> import pandas
        >>> infer_date_format("day", pandas.Series(["24.12.2025", "01.02.2026"]))
        '%d.%m.%Y'
    """
    few = texts.iloc[[0, len(texts) // 2, -1]]  # most columns of texts fail here already
    if not few.str.contains(r"\d\D+\d").any():
        return ""
    limit = (1 - _MIN_SHARE) * len(texts)
    failures = {
        date_format: int(parse_dates(texts, date_format)[1].sum())
        for date_format in _DATE_FORMATS
        if not parse_dates(few, date_format)[1].all()
    }
    best = min(failures, key=lambda date_format: failures[date_format], default="")
    if not best or failures[best] > limit:
        return ""
    swapped = best.replace("%m/%d", "%d/%m")
    if swapped != best and failures.get(swapped) == failures[best]:
        report_warning(
            f"the dates of column {name!r}, such as {texts.iloc[0]}, are read as month/day/year, "
            "but may be day/month/year. Write them as 2024-03-25."
        )
    return best


def is_empty(cells: Cells) -> bool:
    """Return whether all cells are missing."""
    return bool(cells.isna().all()) or bool((parse_texts(cells).fillna("") == "").all())


def _is_row_count(column: ColumnEncoder, cells: Cells, decimal: str) -> bool:
    """Return whether a column rises by one from row to row."""
    if column.kind != "number" or column.format or len(cells) < 20:
        return False
    # Most columns fail among the first cells already.
    return all(
        values[0] % 1 == 0 and bool((np.diff(values) == 1).all())
        for part in (cells.iloc[:20], cells)
        for values in [parse_numbers(part, decimal)[0]]
    )


class CategoryIndex:
    """Codes of texts, from 1: those of the first rows in order, then others as they appear.

    Args:
        cells: the first rows.
        missing: texts that stand for a missing value.

    Example:
        >>> import pandas
        >>> index = CategoryIndex(pandas.Series(["b", "a"]))
        >>> index.encode(pandas.Series(["b", "a", "c"])).tolist(), list(index.codes)
        ([2.0, 1.0, 3.0], ['a', 'b', 'c'])
    """

    def __init__(self, cells: Cells, missing: Collection[str] = ()) -> None:
        self._missing = frozenset(missing)
        texts = set(factorize_texts(cells)[1]) - self._missing
        self.codes = {text: code for code, text in enumerate(sort_labels(texts), 1)}

    def encode(self, cells: Cells) -> Numbers:
        """Return the codes (rows,), with new ones for new texts; NaN for missing values."""
        positions, texts = factorize_texts(cells)
        for text in texts:
            if text not in self._missing:
                self.codes.setdefault(text, len(self.codes) + 1)
        codes = np.array([self.codes.get(text, np.nan) for text in texts], np.float64)
        return np.asarray(codes[positions])


class ColumnInference:
    """Encodes the rows of the training file while it learns what their columns contain.

    The kinds of columns follow from the first rows; a later cell that contradicts them is an
    error. The values of categories, and which columns are constant, are known after all rows.

    Args:
        head: DataFrame of the first rows, with text columns as written.
        names: of the input columns.
        categories: columns that are categories even if they look like numbers.
        keeps_all: whether the user chose the columns, so that none is dropped.
        imputes: whether missing numbers are imputed.
        missing_as_nan: whether an empty cell of a category is a missing value, not a category.
        decimal: decimal sign of numbers stored as text.
        thousands: sign between groups of three digits.
    """

    def __init__(
        self,
        head: Frame,
        names: Sequence[str],
        *,
        categories: Collection[str] = (),
        keeps_all: bool = False,
        imputes: bool = False,
        missing_as_nan: bool = False,
        decimal: str = ".",
        thousands: str | None = None,
    ) -> None:
        self._kept = {*categories, *(names if keeps_all else ())}
        empty = [name for name in names if name not in self._kept and is_empty(head[name])]
        if empty:
            report_warning(
                f"dropped columns without a value in the first {len(head):,} rows: "
                f"{join_names(empty, 6)}. (data.columns keeps the columns it names.)"
            )
        columns = (
            ColumnEncoder(name, "category")
            if name in categories
            else infer_column(name, head[name], decimal)
            for name in names
            if name not in empty
        )
        self.draft = TableEncoder(tuple(columns), imputes, decimal, thousands)
        self._indexes = {
            column.name: CategoryIndex(head[column.name], [""] if missing_as_nan else ())
            for column in self.draft.columns
            if column.kind == "category"
        }
        self._rows = 0
        self._first = np.full(len(self.draft.encoded_names), np.nan, np.float32)
        self._varies = np.zeros(len(self._first), dtype=bool)
        self._row_counts: list[str] = []
        self._merged: list[str] = []
        for column in self.draft.columns:
            if column.kind == "number" and not column.format:
                values = parse_numbers(head[column.name], decimal)[0]
                self._merged += warn_merged_numbers(values[:, None], [column.name])
                if _is_row_count(column, head[column.name], decimal):
                    self._row_counts.append(column.name)

    def encode(self, frame: Frame) -> Numbers:
        """Return the numbers of raw rows, float32 (rows, `draft.encoded_names`).

        Raises:
            InputError: a cell contradicts the kind of its column, or is infinite.
        """

        def encode_column(column: ColumnEncoder, cells: Cells) -> list[Numbers]:
            if column.kind == "category":
                return [self._indexes[column.name].encode(cells)]
            return column.encode(cells, None, self.draft.decimal)

        return encode_columns(self.draft.columns, frame, encode_column)

    def update(self, encoded: Numbers) -> None:
        """Count encoded rows that are used."""
        self._rows += len(encoded)
        for position in np.flatnonzero(~self._varies):
            values = encoded[:, position]
            values = values[~np.isnan(values)]
            if len(values) and np.isnan(self._first[position]):
                self._first[position] = values[0]
            self._varies[position] = bool((values != self._first[position]).any())

    def finish(self) -> tuple[TableEncoder, list[int]]:
        """Return the encoder, and the positions of its numbers among the encoded ones.

        Raises:
            InputError: no column is left.
        """
        columns: list[ColumnEncoder] = []
        positions: list[int] = []
        constant: list[str] = []
        start = 0
        for column in self.draft.columns:
            span = range(start, start + column.width)
            start += column.width
            if column.kind == "category":
                column = replace(column, values=tuple(self._indexes[column.name].codes))
            varies = bool(self._varies[span].any())
            # A column that is constant as float32 only is reported already.
            if not varies and column.name not in self._merged:
                constant.append(column.name)
            is_informative = varies and self._is_informative(column)
            if is_informative or column.name in self._kept:
                columns.append(column)
                positions += span
        self._warn_constant(constant)
        if not columns:
            raise InputError(
                "no column is left to learn from: each has the same value in every row, or a "
                "different text in each. data.columns=[NAME, ...] keeps the columns it names."
            )
        return replace(self.draft, columns=tuple(columns)), positions

    def _is_informative(self, column: ColumnEncoder) -> bool:
        """Return False, with a warning, for names of rows: texts all different, or a row count."""
        outcome = "It is kept" if column.name in self._kept else "It is dropped"
        if len(column.values) > min(_MAX_CATEGORIES, max(32, self._rows / 2)):
            report_warning(
                f"column {column.name!r} has {len(column.values):,} different texts in "
                f"{self._rows:,} rows, too many to learn from. {outcome}. "
                f"({format_override('data.categories', [column.name])} keeps it.)"
            )
            return False
        if column.name not in self._row_counts or column.name in self._kept:
            return True
        plain = column.name.split(":")[0].lower().replace("unnamed", "").strip("_# .")
        if plain in ("", "id", "index", "idx", "row", "rowid", "nr", "no", "number"):
            report_warning(f"column {column.name!r} counts the rows. {outcome}.")
            return False
        report_warning(
            f"column {column.name!r} rises by one from row to row. If it only counts the rows, "
            f"{format_override('data.drop', [column.name])} drops it."
        )
        return True

    def _warn_constant(self, names: Sequence[str]) -> None:
        for outcome, is_kept in (("dropped", False), ("kept, because you named it", True)):
            group = [name for name in names if (name in self._kept) == is_kept]
            if group:
                report_warning(
                    f"{outcome}: {format_count(len(group), 'column')} with the same value in every "
                    f"row ({join_names(group, 6)})."
                )
