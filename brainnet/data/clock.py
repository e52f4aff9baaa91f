"""Clock: times of day, as the hours since midnight."""

import re

import numpy as np

from brainnet.data.cells import MISSING_NUMBERS, Cells, Numbers, coded, is_typed, numbers

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
        return numbers(cells)
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
