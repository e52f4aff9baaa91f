"""Cells: what the cells of a raw column say, as numbers, as words, as dates."""

import re
from typing import Any

import numpy as np

# pandas is imported inside the functions: it costs half a second, and a configuration is checked
# long before any cell is read.

Cells = Any  # a pandas Series

Numbers = np.ndarray[Any, np.dtype[Any]]

# What people and programs write where a number is not known; in a column of words only an empty
# cell is missing, since "None" may well be an answer.
MISSING_NUMBERS = frozenset(
    {"", "-", "?", ".", "NA", "N/A", "n/a", "na", "#N/A", "#NA", "<NA>", "NaN", "nan", "-NaN"}
    | {"-nan", "NULL", "null", "None", "none", "#DIV/0!", "#VALUE!"}
)

YES_AND_NO = (("false", "true"), ("no", "yes"), ("f", "t"), ("n", "y"), ("off", "on"))

_CURRENCY = "$€£¥"

_MARKED = re.compile(rf"([-+]?)[{_CURRENCY}]?([-+]?[\d.,'\u2019\u00a0\u202f ]+)[{_CURRENCY}%]?")
# Blanks and apostrophes stand between thousands, or it is a telephone number.
_IN_GROUPS = re.compile(
    r"[^'\u2019\u00a0\u202f ]+|[-+]?\d{1,3}(['\u2019\u00a0\u202f ]\d{3})+([.,]\d*)?"
)

_TELEPHONE = re.compile(r"\+\d+[\u00a0\u202f ]")

_GROUPS_BY_COMMA = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")

_GROUPS_BY_POINT = re.compile(r"[-+]?[1-9]\d{0,2}(\.\d{3})+(,\d*)?")

_WHOLE = re.compile(r"^([-+]?\d+)\.0+$")

_DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+")

_DAYS = (
    "%Y-%m-%d",
    "%d.%m.%Y",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%Y/%m/%d",
    "%d-%m-%Y",
    "%d.%m.%y",
    "%m/%d/%y",
)

_NAMED_DAYS = ("%d-%b-%Y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d-%b-%y")

_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")

ISO = "ISO8601"

DATE_FORMATS = (ISO, *(day + time for day in _DAYS + _NAMED_DAYS for time in _TIMES))

_LIKE_A_DATE = re.compile(r"\d\D+\d")

_ISO_DATE = re.compile(
    r"\d{4}-\d\d(-\d\d([ T]\d\d:\d\d(:\d\d([.,]\d+)?)?\s?(Z|[-+]\d\d:?\d\d)?)?)?"
)


def is_typed(cells: Cells) -> bool:
    """Whether the cells are numbers or booleans already, and no texts."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    return bool(is_numeric_dtype(cells.dtype) or is_bool_dtype(cells.dtype))


def parse_texts(cells: Cells) -> Cells:
    """The cells as texts without blanks around them; NaN where nothing stands.

    A whole number is told without a decimal point, however it was stored.

    Example:
        >>> import pandas
        >>> words(pandas.Series([7.0, None])).tolist()
        ['7', nan]
    """
    import pandas

    if isinstance(cells.dtype, pandas.CategoricalDtype):
        cells = cells.astype(cells.cat.categories.dtype)
    if is_typed(cells):
        told = np.full(len(cells), np.nan, dtype=object)
        there = cells.notna().to_numpy()
        told[there] = [_told(value) for value in cells[there]]
        return pandas.Series(told, index=cells.index, name=cells.name, dtype=object)
    if isinstance(cells.dtype, pandas.StringDtype):
        return cells.str.strip()
    texts = cells.astype(object)
    return texts.map(_word, na_action="ignore")


def _word(cell: Any) -> str:
    if isinstance(cell, bytes):
        return cell.decode(errors="replace").strip()
    return cell.strip() if isinstance(cell, str) else str(cell)


def coded(cells: Cells, *, written: bool = False) -> tuple[Numbers, list[str]]:
    """Which of its words each cell holds (rows,), and the words as they first appear; `""` is none.

    A word such as `1.0` is the word `1`, as which a number is told; if `written`, it is not.

    Example:
        >>> import pandas
        >>> codes, found = coded(pandas.Series(["b", None, "1.0", "b", "1"]))
        >>> codes.tolist(), found
        ([0, 1, 2, 0, 2], ['b', '', '1'])
    """
    import pandas

    codes, found = pandas.factorize(parse_texts(cells).fillna(""))
    texts = [str(word) for word in found]
    if written or not any(map(_WHOLE.fullmatch, texts)):
        return codes, texts
    plain = [_WHOLE.sub(r"\1", text) for text in texts]
    places = {text: place for place, text in enumerate(dict.fromkeys(plain))}
    return np.array([places[text] for text in plain])[codes], list(places)


def _told(value: Any) -> str:
    if isinstance(value, bool | np.bool_ | int | np.integer):
        return str(value)
    return str(int(value)) if float(value).is_integer() else str(value)


def parse_numbers(cells: Cells, decimal: str = "") -> tuple[Numbers, Numbers]:
    """The cells as numbers (rows,), NaN where nothing stands, and where there is no number (rows,).

    Signs of currency and percent are taken off, digits in groups are read as one number.

    Args:
        cells: of one column.
        decimal: the decimal sign of texts; where it is not known, "", each cell is judged alone.

    Example:
        >>> import pandas
        >>> values, wrong = numbers(pandas.Series(["1.5", "", "$1,200", "tall"]))
        >>> values.tolist(), wrong.tolist()
        ([1.5, nan, 1200.0, nan], [False, False, False, True])
    """
    import pandas

    if is_typed(cells):
        plain = isinstance(cells.dtype, np.dtype)  # then there is nothing to look for and copy
        values = cells.to_numpy() if plain else cells.to_numpy(np.float64, na_value=np.nan)
        if values.dtype.kind == "c":  # an imaginary part can go nowhere
            return values.real, values.imag != 0
        return values, np.zeros(len(values), dtype=bool)
    texts = parse_texts(cells)
    texts = texts.where(~texts.isin(MISSING_NUMBERS))
    plain = texts
    if decimal == ",":  # a point is no decimal sign then: 1.234 is more than a thousand
        plain = texts.map(
            lambda text: None if "." in text else text.replace(",", "."), na_action="ignore"
        )
    found = pandas.to_numeric(plain, errors="coerce").to_numpy(dtype=np.float64, copy=True)
    left = np.flatnonzero(np.isnan(found) & texts.notna().to_numpy())
    found[left] = [_unmarked(text, decimal) for text in texts.iloc[left]]
    wrong = np.zeros(len(found), dtype=bool)
    wrong[left] = np.isnan(found[left])
    return found, wrong


def _unmarked(text: str, decimal: str) -> float:
    """The number in a text such as `$1,200.50`, `1.200,50`, `1 200` or `12 %`; NaN for others."""
    marked = _MARKED.fullmatch(text.replace("\u2212", "-"))  # the minus sign of typesetters
    if marked is None or not _IN_GROUPS.fullmatch(marked[2].strip()):
        return np.nan
    if _TELEPHONE.match(text):
        return np.nan
    bare = marked[1] + re.sub(r"['\u2019\u00a0\u202f ]", "", marked[2])
    if decimal != "," and _GROUPS_BY_COMMA.fullmatch(bare):
        bare = bare.replace(",", "")
    elif decimal != "." and (_GROUPS_BY_POINT.fullmatch(bare) or _DECIMAL_COMMA.fullmatch(bare)):
        bare = bare.replace(".", "").replace(",", ".")
    elif decimal == "," and "." in bare:
        return np.nan
    try:
        return float(bare)
    except ValueError:
        return np.nan


def booleans(cells: Cells, pair: tuple[str, str]) -> tuple[Numbers, Numbers]:
    """The cells as 0 and 1 (rows,), NaN where nothing stands, and where neither word stands."""
    if is_typed(cells):
        values, _ = parse_numbers(cells)
        return values, ~(np.isnan(values) | (values == 0) | (values == 1))
    if cells.dtype == object:  # True and False among cells where nothing stands
        cells = cells.map(
            lambda cell: pair[int(cell)] if isinstance(cell, bool | np.bool_) else cell
        )
    texts = parse_texts(cells).map(str.lower, na_action="ignore")
    found = texts.map({word: float(code) for code, word in enumerate(pair)})
    values = found.to_numpy(dtype=np.float64)
    return values, (texts.notna() & (texts != "") & found.isna()).to_numpy(dtype=bool)


def is_date(cells: Cells) -> bool:
    """Whether the cells are moments already, and no texts."""
    from pandas.api.types import is_datetime64_any_dtype

    return bool(is_datetime64_any_dtype(cells.dtype))


def date_format(cells: Cells, share: float = 1.0) -> str | None:
    """The way in which at least this share of texts writes dates; None where they are no dates.

    Where day and month could be either, the month comes first between strokes: 12/24/2025.

    Example:
        >>> import pandas
        >>> date_format(pandas.Series(["24.12.2025", "01.02.2026"]))
        '%d.%m.%Y'
    """
    # A few cells first: most columns of words are no dates in any way.
    few = parse_texts(cells.iloc[[0, len(cells) // 2, -1]])
    if not few.map(lambda text: bool(_LIKE_A_DATE.search(str(text)))).any():
        return None
    most = (1 - share) * len(cells)
    for form in DATE_FORMATS:
        if not parse_dates(few, form)[1].all() and parse_dates(cells, form)[1].sum() <= most:
            return form
    return None


def day_order(form: str) -> tuple[str, str] | None:
    """The same form with day and month the other way round, and the order of the form in words.

    None where nobody writes it the other way round: only strokes leave it open.

    Example:
        >>> day_order("%m/%d/%Y"), day_order("%d.%m.%Y")
        (('%d/%m/%Y', 'month/day'), None)
    """
    if "%m/%d" in form:
        return form.replace("%m/%d", "%d/%m"), "month/day"
    if "%d/%m" in form:
        return form.replace("%d/%m", "%m/%d"), "day/month"
    return None


def parse_dates(cells: Cells, form: str) -> tuple[Cells, Numbers]:
    """The cells as moments (a pandas Series, NaT where nothing stands), and which are no dates."""
    import pandas

    if is_date(cells):
        return pandas.to_datetime(cells, utc=True), np.zeros(len(cells), dtype=bool)
    texts = parse_texts(cells)
    texts = texts.where(~texts.isin(MISSING_NUMBERS))
    if form == ISO:  # pandas takes "2024" for a date too
        texts_of_dates = texts.where(texts.map(lambda text: bool(_ISO_DATE.fullmatch(str(text)))))
    else:
        texts_of_dates = texts
    moments = pandas.to_datetime(texts_of_dates, format=form, errors="coerce", utc=True)
    return moments, (moments.isna() & texts.notna()).to_numpy(dtype=bool)


def date_numbers(moments: Cells, *, hours: bool) -> list[Numbers]:
    """Year with its fraction, day of the year, weekday (Monday 0) and, asked for, the hour."""
    day = moments.dt
    hour = day.hour + day.minute / 60 + day.second / 3600
    length = np.where(day.is_leap_year, 366, 365)
    year = day.year + (day.day_of_year - 1 + hour / 24) / length
    found = [year, day.day_of_year, day.day_of_week] + ([hour] if hours else [])
    return [part.to_numpy(dtype=np.float64, na_value=np.nan) for part in found]


CLOCK = "%H:%M"

"""The form of a column of numbers that are written as times of day, with seconds or without."""

_TIME = re.compile(r"(\d{1,2}):([0-5]\d)(?::([0-5]\d(?:\.\d+)?))?(?:\s?([AaPp])[Mm])?")

_HALF_A_DAY = 12


def hours(cells: Cells) -> tuple[Numbers, Numbers]:
    """The cells as hours since midnight (rows,), NaN where nothing stands, and which are no times.

    Example:
        >>> import pandas
        >>> values, wrong = hours(pandas.Series(["14:30", "9:15:36", "2:30 pm", "", "24:10"]))
        >>> values.tolist(), wrong.tolist()
        ([14.5, 9.26, 14.5, nan, nan], [False, False, False, False, True])
    """
    if is_typed(cells):  # hours already
        return parse_numbers(cells)
    codes, found = coded(cells, written=True)
    times = np.array([_hour(word) for word in found], dtype=np.float64)
    strange = np.isnan(times) & np.array([word not in MISSING_NUMBERS for word in found], bool)
    return times[codes], strange[codes]


def _hour(word: str) -> float:
    told = _TIME.fullmatch(word)
    if told is None:
        return np.nan
    hour = int(told[1])
    if told[4]:
        late = _HALF_A_DAY if told[4] in "Pp" else 0
        hour = hour % _HALF_A_DAY + late if 1 <= hour <= _HALF_A_DAY else 24
    return hour + int(told[2]) / 60 + float(told[3] or 0) / 3600 if hour < 24 else np.nan
