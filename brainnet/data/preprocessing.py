"""Preprocessing: how the columns of a table become the inputs of a network."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from typing import Any, Literal, Self, get_args

import numpy as np

from brainnet.data.table_files import MISSING_MARKERS, NUMBERS, THOUSANDS, Frame
from brainnet.data.validation import (
    Cells,
    Numbers,
    check_columns_exist,
    reject_cells,
    report_warning,
)

# pandas is imported inside the functions: it costs 0.2 s, and most commands read no table.

ColumnKind = Literal["number", "boolean", "category", "date"]
UnknownCategories = Literal["ignore", "error"]
MissingPolicy = Literal["error", "drop", "impute"]
MISSING_POLICIES: tuple[MissingPolicy, ...] = get_args(MissingPolicy)
MAX_HEAD_ROWS = 10_000
"""Rows from which the types of the columns are inferred."""

# A category with more values becomes one code, which an embedding turns into a vector: one input
# for each of 5,000 towns would be nearly all zeros.
MAX_ONE_HOT_VALUES = 32
_WHOLE = re.compile(r"^([-+]?\d+)\.0+$")

# Currency, percent, and the blanks or apostrophes between groups of three digits.
_DECORATION = re.compile(r"[$€£¥%]|(?<=\d)['\u2019\u00a0\u202f ](?=\d{3}(?!\d))")
_ISO_DATE = r"\d{4}-\d\d(-\d\d([ T]\d\d:\d\d.*)?)?"


def is_typed(cells: Cells) -> bool:
    """Return whether the cells are stored as numbers or booleans rather than as text."""
    from pandas.api.types import is_numeric_dtype

    return bool(is_numeric_dtype(cells.dtype))


def parse_texts(cells: Cells) -> Cells:
    """Return the cells as texts without surrounding blanks; NaN where a cell is missing."""
    import pandas

    if isinstance(cells.dtype, pandas.StringDtype):
        return cells.str.strip()
    return cells.astype(object).map(_format_cell, na_action="ignore")


def _format_cell(cell: Any) -> str:
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()


def factorize_texts(cells: Cells) -> tuple[Numbers, list[str]]:
    """Return the code of each cell (rows,) and the texts the codes stand for; "" is missing."""
    import pandas

    codes, texts = pandas.factorize(parse_texts(cells).fillna(""))
    whole = np.array([_WHOLE.sub(r"\1", str(text)) for text in texts], dtype=object)
    # A column with gaps may be written as floats: 1.0 and 1 are one category.
    merged, labels = pandas.factorize(whole)
    return merged[codes], labels.tolist()


def add_labels(labels: Sequence[str], cells: Cells, ignored: Collection[str]) -> tuple[str, ...]:
    """Return the labels, and then the other texts of the cells in the order of their appearance."""
    known = {*labels, *ignored}
    return (*labels, *(text for text in factorize_texts(cells)[1] if text not in known))


def _mask_missing(cells: Cells) -> Cells:
    texts = parse_texts(cells)
    return texts.mask(texts.isin(MISSING_MARKERS))


def parse_numbers(cells: Cells, decimal: str = ".") -> tuple[Numbers, Numbers]:
    """Return the cells as numbers (rows,), NaN where missing, and which are no numbers (rows,)."""
    import pandas

    if is_typed(cells):
        if isinstance(cells.dtype, np.dtype):  # not copied
            return cells.to_numpy(), np.zeros(len(cells), dtype=bool)
        return cells.to_numpy(np.float64, na_value=np.nan), np.zeros(len(cells), dtype=bool)
    texts = _mask_missing(cells)
    plain = texts
    if decimal == ",":  # 1.234 is more than a thousand then
        plain = texts.mask(texts.str.contains(".", regex=False).astype(bool)).str.replace(",", ".")
    values = pandas.to_numeric(plain, errors="coerce").to_numpy(np.float64, copy=True)
    rest = np.flatnonzero(np.isnan(values) & texts.notna().to_numpy())
    values[rest] = [_parse_number(text, decimal) for text in texts.iloc[rest]]
    wrong = np.zeros(len(values), dtype=bool)
    wrong[rest] = np.isnan(values[rest])
    return values, wrong


def _parse_number(text: str, decimal: str) -> float:
    """Return the number in a text such as $1,200.50 or 12 %; NaN if there is none."""
    plain = _DECORATION.sub("", text.replace("\u2212", "-")).strip()  # typographic minus
    if not NUMBERS[decimal].fullmatch(plain):
        return np.nan
    return float(plain.replace(THOUSANDS[decimal], "").replace(decimal, "."))


def parse_booleans(cells: Cells, words: tuple[str, ...]) -> tuple[Numbers, Numbers]:
    """Return the cells as 0 and 1 (rows,), NaN where missing, and which are neither word."""
    if is_typed(cells):
        values = parse_numbers(cells)[0].astype(np.float64)
        return values, ~(np.isnan(values) | (values == 0) | (values == 1))
    cells = cells.map(lambda cell: words[int(cell)] if isinstance(cell, bool) else cell)
    texts = parse_texts(cells).str.lower()
    values = texts.map({word: float(code) for code, word in enumerate(words)}).to_numpy(np.float64)
    return values, np.isnan(values) & (texts.fillna("") != "").to_numpy(bool)


def parse_dates(cells: Cells, date_format: str) -> tuple[Cells, Numbers]:
    """Return the cells as timestamps (a Series, NaT where missing), and which are no dates."""
    import pandas
    from pandas.api.types import is_datetime64_any_dtype

    if is_datetime64_any_dtype(cells.dtype):
        return pandas.to_datetime(cells, utc=True), np.zeros(len(cells), dtype=bool)
    texts = _mask_missing(cells)
    dates = texts
    if date_format == "ISO8601":  # pandas accepts a plain 2024, too
        dates = texts.where(texts.str.fullmatch(_ISO_DATE, na=False))
    moments = pandas.to_datetime(dates, format=date_format, errors="coerce", utc=True)
    return moments, (moments.isna() & texts.notna()).to_numpy(bool)


def compute_date_parts(moments: Cells, *, has_time: bool) -> list[Numbers]:
    """Return the year with its fraction, the day of the year, the weekday (Monday 0), the hour."""
    date = moments.dt
    hour = date.hour + date.minute / 60 + date.second / 3600
    days = np.where(date.is_leap_year, 366, 365)
    year = date.year + (date.day_of_year - 1 + hour / 24) / days
    parts = [year, date.day_of_year, date.day_of_week, *([hour] if has_time else [])]
    return [part.to_numpy(dtype=np.float64, na_value=np.nan) for part in parts]


@dataclass(frozen=True, slots=True)
class ColumnEncoder:
    """One column of raw rows, and how its cells become numbers."""

    name: str
    kind: ColumnKind = "number"
    # The categories in order ("" is a missing cell), or the words for 0 and 1 of a boolean.
    values: tuple[str, ...] = ()
    # Of dates, as in `strptime`, or ISO8601.
    format: str = ""
    has_time: bool = False
    # Categories of the file that no training row has: they are encoded as unknown.
    unseen: tuple[str, ...] = ()

    @property
    def is_embedded(self) -> bool:
        """Whether the column becomes one code for an embedding instead of one-hot inputs."""
        return self.kind == "category" and len(self.values) > MAX_ONE_HOT_VALUES

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the network inputs that the column becomes."""
        if self.kind == "date":
            parts = ("year", "day of the year", "weekday", *(("hour",) if self.has_time else ()))
            return tuple(f"{self.name} ({part})" for part in parts)
        if self.kind == "category" and not self.is_embedded:
            return tuple(f"{self.name}={value or '(missing)'}" for value in self.values)
        return (self.name,)

    @property
    def width(self) -> int:
        """Number of values that `encode` computes per cell."""
        return len(self.inputs) if self.kind == "date" else 1

    def encode(
        self, cells: Cells, unknown: UnknownCategories | None = "ignore", decimal: str = "."
    ) -> list[Numbers]:
        """Return the `width` arrays of numbers (rows,) of the cells, NaN where one is missing.

        A category becomes its position in `values`, from 1; 0 if it is unknown. `unknown` is None
        for the rows of the training file, for which messages give other advice.
        """
        hint = None if unknown is None else "Correct them, or leave these rows out."
        if self.kind == "category":
            return [self._encode_categories(cells, unknown)]
        if self.kind == "date":
            moments, wrong = parse_dates(cells, self.format)
            reject_cells(self.name, cells, wrong, f"dates ({self.format})", hint)
            return compute_date_parts(moments, has_time=self.has_time)
        if self.kind == "boolean":
            values, wrong = parse_booleans(cells, self.values)
            wanted = " and ".join(self.values)
        else:
            values, wrong = parse_numbers(cells, decimal)
            wanted = "numbers"
        reject_cells(self.name, cells, wrong, wanted, hint)
        return [values]

    def _encode_categories(self, cells: Cells, unknown: UnknownCategories | None) -> Numbers:
        positions, texts = factorize_texts(cells)
        codes = {value: code for code, value in enumerate(self.values, 1)}
        codes |= dict.fromkeys(self.unseen, 0)
        encoded = np.array([codes.get(text, 0) for text in texts], np.float64)[positions]
        if unknown == "error":
            hint = (
                "Leave these rows out, or encode them as unknown: --unknown ignore (in Python: "
                'unknown="ignore").'
            )
            reject_cells(self.name, cells, encoded == 0, "categories seen in training", hint)
        return encoded


@dataclass(frozen=True, slots=True)
class TableEncoder:
    """The columns of a table as the training rows defined them: plain data, stored with a run.

    A number stays a number, a boolean becomes 0 or 1, a date three or four numbers, a category
    one-hot inputs or, with more than `MAX_ONE_HOT_VALUES` values, one code for an embedding.

    Example:
        >>> import pandas
        >>> color = ColumnEncoder("color", "category", ("blue", "red"))
        >>> encoder = TableEncoder((ColumnEncoder("age"), color))
        >>> encoder.names
        ('age', 'color=blue', 'color=red')
        >>> encoder.transform(pandas.DataFrame({"color": ["red", "pink"], "age": [3, 4]})).tolist()
        [[3.0, 0.0, 1.0], [4.0, 0.0, 0.0]]
    """

    columns: tuple[ColumnEncoder, ...]
    # Whether missing numbers are accepted: the scaling replaces them with the mean.
    imputes: bool = False
    # The separators of numbers in the training file.
    decimal: str = "."
    thousands: str | None = None

    @classmethod
    def from_names(cls, names: Iterable[object]) -> Self:
        """Return an encoder of columns of numbers."""
        return cls(tuple(ColumnEncoder(str(name)) for name in names))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(name for column in self.columns for name in column.inputs)

    @property
    def raw_names(self) -> tuple[str, ...]:
        """Names of the columns that raw rows must have."""
        return tuple(column.name for column in self.columns)

    @property
    def text_names(self) -> tuple[str, ...]:
        """Columns whose cells must be read as written."""
        return tuple(column.name for column in self.columns if column.kind != "number")

    @property
    def encoded_names(self) -> tuple[str, ...]:
        """The column of each number that `encode` computes."""
        return tuple(column.name for column in self.columns for _ in range(column.width))

    @property
    def embeddings(self) -> dict[int, int]:
        """Number of codes (with 0, unknown) of each input that an embedding reads, by position."""
        starts = accumulate((len(column.inputs) for column in self.columns), initial=0)
        return {
            start: len(column.values) + 1
            for start, column in zip(starts, self.columns, strict=False)
            if column.is_embedded
        }

    def transform(self, frame: Frame, *, unknown: UnknownCategories = "ignore") -> Numbers:
        """Return the inputs of raw rows, float32 (rows, inputs); NaN where a number is missing.

        Raises:
            InputError: a column is missing, or a cell is infinite or not of its column's kind.
        """
        return self.expand(self.encode(frame, unknown=unknown))

    def encode(
        self,
        frame: Frame,
        *,
        unknown: UnknownCategories | None = "ignore",
        missing_as_nan: bool = False,
    ) -> Numbers:
        """Return the numbers of raw rows before categories are one-hot encoded, float32.

        With `missing_as_nan`, an empty cell of a category is NaN rather than a category.
        """
        if not all(isinstance(name, str) for name in frame.columns):
            frame = frame.rename(columns=str)
        check_columns_exist(self.raw_names, list(frame.columns))
        starts = [0, *accumulate(column.width for column in self.columns)]
        encoded = np.empty((len(frame), starts[-1]), np.float32)
        plain = self._find_plain_columns(frame)
        with np.errstate(over="ignore"):
            if plain:  # all at once, because asking pandas for each of many columns is slow
                names = [self.columns[position].name for position in plain]
                numbers = frame[names].to_numpy(np.float32)
                if len(plain) == len(self.columns):
                    encoded = numbers
                else:
                    encoded[:, [starts[position] for position in plain]] = numbers
            for position in sorted(set(range(len(self.columns))) - set(plain)):
                column, cells = self.columns[position], frame[self.columns[position].name]
                parts = column.encode(cells, unknown, self.decimal)
                if missing_as_nan and column.kind == "category":
                    parts[0][(parse_texts(cells).fillna("") == "").to_numpy(bool)] = np.nan
                for offset, part in enumerate(parts):
                    encoded[:, starts[position] + offset] = part
        if not is_all_finite(encoded):
            for position, column in enumerate(self.columns):
                infinite = np.isinf(encoded[:, starts[position]])
                hint = "Correct them, or empty the cells."
                reject_cells(column.name, frame[column.name], infinite, "finite numbers", hint)
        return encoded

    def learn_categories(self, frame: Frame, ignored: Collection[str] = ()) -> Self:
        """Return an encoder that knows the categories in these raw rows, too."""
        columns = [
            replace(column, values=add_labels(column.values, frame[column.name], ignored))
            if column.kind == "category"
            else column
            for column in self.columns
        ]
        return replace(self, columns=tuple(columns))

    def _find_plain_columns(self, frame: Frame) -> list[int]:
        """Return the positions of the columns that are stored as NumPy numbers."""
        dtypes = dict(zip(frame.columns, frame.dtypes, strict=True))
        return [
            position
            for position, column in enumerate(self.columns)
            if column.kind == "number"
            and isinstance(dtypes[column.name], np.dtype)
            and dtypes[column.name].kind in "iuf"
        ]

    def expand(self, encoded: Numbers) -> Numbers:
        """Return the inputs (rows, inputs) for the result of `encode`: codes become one-hot."""
        if not any(column.kind == "category" and not column.is_embedded for column in self.columns):
            return encoded
        inputs = np.zeros((len(encoded), len(self.names)), np.float32)
        source = target = 0
        for column in self.columns:
            width = len(column.inputs)
            if column.kind == "category" and not column.is_embedded:
                one_hot = encoded[:, source, None] == np.arange(1, width + 1)
                inputs[:, target : target + width] = one_hot
            else:
                inputs[:, target : target + width] = encoded[:, source : source + column.width]
            source, target = source + column.width, target + width
        return inputs

    def to_dict(self) -> dict[str, Any]:
        """Return the encoder as primitives, tuples and dictionaries."""
        return {"kind": "columns"} | asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Return the encoder that `to_dict` stored."""
        columns = []
        for entry in stored["columns"]:
            # JSON has lists instead of tuples.
            tuples = {key: tuple(entry[key]) for key in ("values", "unseen")}
            columns.append(ColumnEncoder(**entry | tuples))
        return cls(tuple(columns), stored["imputes"], stored["decimal"], stored["thousands"])


def sort_labels(labels: Iterable[str]) -> list[str]:
    """Return labels in order: the empty one, numbers by size, then texts."""

    def to_size(label: str) -> float:
        try:
            size = float(label)
        except ValueError:
            return np.inf
        return np.inf if np.isnan(size) else size

    return sorted(labels, key=lambda label: (label != "", to_size(label), label))


def is_all_finite(values: Numbers) -> bool:
    """Return True if no value is NaN or infinite. False is not certain: the sum may overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum()))


def warn_merged_numbers(
    values: Numbers, names: Sequence[str], what: str = "column", where: str = " in the file"
) -> None:
    """Report columns of `values` that float32 rounds to few numbers, such as times in seconds."""
    if values.dtype.itemsize < 8:
        return
    for name, numbers in zip(names, values[:MAX_HEAD_ROWS].T, strict=True):
        distinct = np.unique(numbers[np.isfinite(numbers)])
        # Some of many random numbers are always equal as float32; a tenth of them is not chance.
        with np.errstate(over="ignore"):
            if len(np.unique(distinct.astype(np.float32))) < 0.9 * len(distinct):
                report_warning(
                    f"{what} {name!r} ranges from {distinct[0]:.15g} to {distinct[-1]:.15g}, too "
                    "narrow for 32-bit numbers to tell all of them apart. Subtract "
                    f"{distinct[0]:.15g} from it{where} to learn from the differences."
                )
