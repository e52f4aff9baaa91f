"""Column types: what each column of a table contains, inferred from its first rows."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from brainnet.data.preprocessing import (
    ColumnEncoder,
    TableEncoder,
    add_labels,
    is_typed,
    parse_dates,
    parse_numbers,
    parse_texts,
    sort_labels,
    warn_merged_numbers,
)
from brainnet.data.table_files import MISSING_MARKERS, Frame
from brainnet.data.validation import Cells, Numbers, format_count, join_names, report_warning
from brainnet.errors import InputError, format_override

# A column with fewer strays than one in five is a column of numbers with mistakes in it.
_MIN_SHARE = 0.8
_MAX_CATEGORIES = 100_000
_CONSTANT_HEAD = 1000
_BOOLEAN_WORDS = (("false", "true"), ("no", "yes"), ("f", "t"), ("n", "y"), ("off", "on"))
_ROW_NUMBER_NAMES = frozenset({"id", "index", "row", "unnamed: 0"})

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
    """Return the encoder of a column, by its first cells. Categories have no values yet."""
    if is_typed(cells):
        if cells.dtype.name in ("bool", "boolean"):
            return ColumnEncoder(name, "boolean", _BOOLEAN_WORDS[0])
        return ColumnEncoder(name)
    texts = parse_texts(cells).dropna()
    texts = texts[texts != ""]
    words = set(texts.str.lower().unique()[:3])
    pair = next((pair for pair in _BOOLEAN_WORDS if words == set(pair)), None)
    # With a missing cell there are three values, which only a category can represent.
    if pair is not None and len(texts) == len(cells):
        return ColumnEncoder(name, "boolean", pair)
    if _are_codes(name, texts):
        return ColumnEncoder(name, "category")
    values, wrong = parse_numbers(texts, decimal)
    numbers = np.count_nonzero(~np.isnan(values))
    if numbers >= _MIN_SHARE * (numbers + wrong.sum()):
        return ColumnEncoder(name)
    date_format = infer_date_format(name, texts)
    if date_format:
        moments = parse_dates(texts, date_format)[0].dropna()
        has_time = bool((moments != moments.dt.normalize()).any())
        return ColumnEncoder(name, "date", format=date_format, has_time=has_time)
    return ColumnEncoder(name, "category")


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
    """Return the format of the dates in a column of texts; "" if most cells are no dates."""
    few = texts.iloc[[0, len(texts) // 2, -1]]  # most columns of texts fail here already
    if not few.str.contains(r"\d\D+\d").any():
        return ""
    failures = {
        date_format: int(parse_dates(texts, date_format)[1].sum())
        for date_format in _DATE_FORMATS
        if not parse_dates(few, date_format)[1].all()
    }
    best = min(failures, key=lambda date_format: failures[date_format], default="")
    if not best or failures[best] > (1 - _MIN_SHARE) * len(texts):
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


def _are_row_numbers(name: str, cells: Cells) -> bool:
    """Return whether a column is called like row numbers and rises by one from row to row."""
    if name.lower() not in _ROW_NUMBER_NAMES or len(cells) < 2:
        return False
    return bool((np.diff(parse_numbers(cells)[0]) == 1).all())


def infer_columns(
    head: Frame,
    names: Sequence[str],
    *,
    categories: Collection[str] = (),
    kept: Collection[str] = (),
    decimal: str = ".",
    ignored: Collection[str] = (),
) -> tuple[ColumnEncoder, ...]:
    """Return encoders of the columns that the first rows have; categories have their values.

    Columns in `kept` are never dropped. Texts in `ignored` are no categories.
    """
    optional = [name for name in names if name not in kept]
    empty = [name for name in optional if is_empty(head[name])]
    row_numbers = [name for name in optional if _are_row_numbers(name, head[name])]
    _warn_dropped(empty, f"without a value in the first {len(head):,} rows")
    _warn_dropped(row_numbers, "that count the rows")
    columns = []
    for name in names:
        if name in empty or name in row_numbers:
            continue
        cells = head[name]
        column = ColumnEncoder(name, "category")
        if name not in categories:
            column = infer_column(name, cells, decimal)
        if column.kind == "category":
            column = replace(column, values=tuple(sort_labels(add_labels((), cells, ignored))))
        elif column.kind == "number":
            warn_merged_numbers(parse_numbers(cells, decimal)[0][:, None], [name])
        columns.append(column)
    return tuple(columns)


def select_columns(
    draft: TableEncoder, rows: Numbers, kept: Collection[str]
) -> tuple[TableEncoder, list[int]]:
    """Return the encoder without uninformative columns, and the positions of its numbers in rows.

    `rows` are all rows of the training file as `draft` encodes them. Columns in `kept` stay.
    """
    constant = _find_constant_numbers(rows)
    columns: list[ColumnEncoder] = []
    positions: list[int] = []
    dropped: list[str] = []
    start = 0
    for column in draft.columns:
        span = range(start, start + column.width)
        start += column.width
        if column.name not in kept:
            if constant.issuperset(span):
                dropped.append(column.name)
                continue
            if _has_too_many_values(column, len(rows)):
                continue
        columns.append(column)
        positions += span
    _warn_dropped(dropped, "with the same value in every row")
    if not columns:
        raise InputError(
            "no column is left to learn from: each has the same value in every row, or a "
            "different text in each. data.columns=[NAME, ...] keeps the columns it names."
        )
    return replace(draft, columns=tuple(columns)), positions


def _find_constant_numbers(rows: Numbers) -> set[int]:
    """Return the positions of numbers that are the same in all rows; NaN is not compared."""
    head = rows[:_CONSTANT_HEAD]
    # Most columns vary in the first rows; only the others are compared in all rows.
    positions = np.flatnonzero(~(np.fmin.reduce(head) < np.fmax.reduce(head))).tolist()
    return {p for p in positions if not np.fmin.reduce(rows[:, p]) < np.fmax.reduce(rows[:, p])}


def _has_too_many_values(column: ColumnEncoder, rows: int) -> bool:
    """Return whether a column has a different text in most rows; report it if so."""
    if len(column.values) <= min(_MAX_CATEGORIES, max(32, rows / 2)):
        return False
    report_warning(
        f"column {column.name!r} has {len(column.values):,} different texts in {rows:,} rows, too "
        f"many to learn from. It is dropped. ({format_override('data.categories', [column.name])} "
        "keeps it.)"
    )
    return True


def _warn_dropped(names: Sequence[str], reason: str) -> None:
    if names:
        report_warning(
            f"dropped {format_count(len(names), 'column')} {reason} ({join_names(names, 6)}). "
            "data.columns keeps the columns it names."
        )
