"""Kinds: what the columns of a table hold, as their first cells show."""

from typing import Any

import numpy as np

from brainnet.data.cells import (
    ISO,
    MISSING_NUMBERS,
    YES_AND_NO,
    Numbers,
    date_format,
    dates,
    day_order,
    is_date,
    is_typed,
    numbers,
    words,
)
from brainnet.data.clock import CLOCK, hours
from brainnet.data.column import Column
from brainnet.data.notes import note

# A column with fewer strays than one in five is a column of numbers with slips in it.
_SHARE_OF_A_KIND = 0.8
_ROWS_TO_COUNT = 20


def kind_of(name: str, cells: Any, decimal: str = "") -> Column:  # noqa: ANN401
    """What a column holds by its first cells; `decimal` is the decimal sign of its file's texts."""
    if is_date(cells):
        return Column(name, "date", form=ISO, hours=_has_hours(dates(cells, ISO)[0]))
    if is_typed(cells):
        yes_or_no = cells.dtype.name in ("bool", "boolean")
        return Column(name, "boolean", YES_AND_NO[0]) if yes_or_no else Column(name)
    there = words(cells).dropna()
    there = there[there != ""]
    if set(there.str.lower().unique()[:3]) in [set(pair) for pair in YES_AND_NO] and len(
        there
    ) == len(cells):
        pair = next(pair for pair in YES_AND_NO if there.iloc[0].lower() in pair)
        return Column(name, "boolean", pair)
    if _are_codes(name, there):
        return Column(name, "category")
    if not len(there) or _are_mostly_numbers(there, decimal):
        return Column(name)
    other = {",": ".", ".": ","}.get(decimal)
    if other and _are_mostly_numbers(there, other):
        return Column(name, decimal=other)
    if _share(hours(there)) >= _SHARE_OF_A_KIND:
        return Column(name, form=CLOCK)
    form = date_format(there, _SHARE_OF_A_KIND)
    if form is not None:
        form = _ordered(name, there, form)
        return Column(name, "date", form=form, hours=_has_hours(dates(there, form)[0]))
    return Column(name, "category")


def _are_codes(name: str, texts: Any) -> bool:  # noqa: ANN401
    """Whether digits are the name of something: 01234 is no amount. Told, if they are."""
    texts = texts[~texts.isin(MISSING_NUMBERS)]
    codes = texts[texts.str.fullmatch(r"0\d+").astype(bool)]
    if not len(codes) or texts.str.fullmatch(r"\d+").mean() < _SHARE_OF_A_KIND:
        return False
    note(
        f"column {name!r} has digits that begin with 0, such as {codes.iloc[0]}: taken as words, "
        "each as it is written. If they are amounts, write them without it."
    )
    return True


def _ordered(name: str, texts: Any, form: str) -> str:  # noqa: ANN401
    """The form of dates with day and month in the order that more of them have; told if both do."""
    order = day_order(form)
    if order is None:
        return form
    wrong, other_wrong = (int(dates(texts, each)[1].sum()) for each in (form, order[0]))
    if other_wrong < wrong:
        return order[0]
    if not other_wrong:
        first = texts.iloc[0]
        note(
            f"the dates of column {name!r}, such as {first}, are read as {order[1]}/year; the "
            f"first {len(texts):,} are dates the other way round as well. Written as 2024-03-25 "
            "they can be read in one way only."
        )
    return form


def _are_mostly_numbers(texts: Any, decimal: str) -> bool:  # noqa: ANN401
    return _share(numbers(texts, decimal)) >= _SHARE_OF_A_KIND


def _share(read: tuple[Numbers, Numbers]) -> float:
    """How many of the cells in which something stands were read as what is looked for."""
    values, wrong = read
    there = ~np.isnan(values)
    return float(there.sum() / max(1, (there | wrong).sum()))


def _has_hours(moments: Any) -> bool:  # noqa: ANN401
    there = moments.dropna()
    return bool((there != there.dt.normalize()).any())


def is_empty(cells: Any) -> bool:  # noqa: ANN401
    """Whether nothing stands in the first cells of a column."""
    if is_typed(cells):
        return bool(np.isnan(numbers(cells)[0]).all())
    return bool((words(cells).fillna("") == "").all())


def counts_rows(column: Column, cells: Any, decimal: str) -> bool:  # noqa: ANN401
    """Whether a column goes up by one from row to row."""
    if column.kind != "number" or len(cells) < _ROWS_TO_COUNT:
        return False
    for part in (cells.iloc[:_ROWS_TO_COUNT], cells):  # most fail among the first already
        values = numbers(part, column.decimal or decimal)[0]
        with np.errstate(invalid="ignore"):  # infinite ones are told of where rows are read
            if values[0] % 1 or not (np.diff(values) == 1).all():
                return False
    return True
