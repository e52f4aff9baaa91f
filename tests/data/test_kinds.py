"""What a column holds is seen in its first cells, a few slips among them or not."""

import pandas as pd
import pytest

from brainnet.data.cells import CLOCK
from brainnet.data.column_types import counts_rows, is_empty, kind_of
from brainnet.data.preprocessing import encoded
from brainnet.errors import InputError


@pytest.mark.parametrize(
    ("cells", "kind", "form"),
    [
        (["1.5", "2", "", "NA", "3"], "number", ""),
        (["1", "2", "3", "4", "x"], "number", ""),
        (["1", "2", "3", "x", "y"], "category", ""),
        (["yes", "no", "yes"], "boolean", ""),
        (["yes", "no", ""], "category", ""),
        (["2026-01-31", "2026-02-01"], "date", "ISO8601"),
        (["31.01.2026 14:30", "01.02.2026 9:05"], "date", "%d.%m.%Y %H:%M"),
        (["14:30", "9:05:10", "", "10:00"], "number", CLOCK),
        (["14:30", "9:05", "10:00", "11:00", "late"], "number", CLOCK),
        (["14:30", "late", "never"], "category", ""),
        (["", ""], "number", ""),
    ],
)
def test_texts_are_what_most_of_them_look_like(cells, kind, form):
    found = kind_of("x", pd.Series(cells, dtype=object))
    assert (found.name, found.kind, found.form) == ("x", kind, form)


def test_cells_with_a_type_say_themselves_what_they_are():
    assert kind_of("x", pd.Series([1, 2])).kind == "number"
    assert kind_of("x", pd.Series([True, False])).kind == "boolean"
    assert kind_of("x", pd.to_datetime(pd.Series(["2026-01-31 14:30"]))).hours


def test_a_decimal_comma_of_its_own_is_kept_with_the_column():
    cells = pd.Series(["1,5", "2,25", "3,75"], dtype=object)
    assert kind_of("x", cells, ".").decimal == ","
    assert kind_of("x", cells, ",").decimal == ""


def test_rows_are_counted_by_what_rises_by_one():
    up, cells = kind_of("x", pd.Series(range(5, 30))), pd.Series([str(n) for n in range(5, 30)])
    assert counts_rows(up, cells, "")
    assert not counts_rows(up, cells[:19], "")
    assert not counts_rows(up, pd.concat([cells, cells]), "")


def test_nothing_is_empty_and_a_word_is_not():
    assert is_empty(pd.Series(["", " ", None], dtype=object))
    assert not is_empty(pd.Series(["", "-"], dtype=object))


def dated(*texts):
    return pd.Series(texts * 8, dtype=object)


def test_dates_whose_day_could_be_the_month_are_told(caplog):
    assert kind_of("born", dated("03/04/2024", "05/12/2023")).form == "%m/%d/%Y"
    (said,) = [record.getMessage() for record in caplog.records]
    assert "the dates of column 'born', such as 03/04/2024, are read as month/day/year" in said
    assert "2024-03-25" in said
    for texts in (("03/25/2024", "03/04/2024"), ("25/03/2024",), ("03.04.2024",), ("2024-03-04",)):
        assert kind_of("born", dated(*texts)).kind == "date"
    assert len(caplog.records) == 1


def test_the_order_of_day_and_month_is_the_one_that_more_dates_have():
    texts = pd.Series(["03/04/2024"] * 9 + ["25/03/2024"], dtype=object)
    assert kind_of("born", texts).form == "%d/%m/%Y"


def test_later_dates_that_fit_the_other_way_round_are_told_of():
    column = kind_of("born", dated("03/04/2024"))
    with pytest.raises(InputError, match="taken for month/day, and as day/month all of these are"):
        encoded(column, dated("25/03/2024", "03/04/2024"))
    with pytest.raises(InputError, match="Correct it, empty the cell"):
        encoded(column, pd.Series(["25/03/2024", "03/25/2024"], dtype=object))


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["01234", "99999", "10115", ""], "category"),
        (["007", "NA", "008"], "category"),
        (["0", "1", "10"], "number"),
        (["0.5", "0", "00.5"], "number"),
        (["-05", "3", "12"], "number"),
        (["1.5", "2.5", "3.5", "4.5", "05"], "number"),
    ],
)
def test_digits_that_begin_with_a_zero_are_names(cells, kind, caplog):
    assert kind_of("zip", pd.Series(cells * 6, dtype=object)).kind == kind
    said = "column 'zip' has digits that begin with 0, such as 0"
    assert (said in caplog.text) == (kind == "category")
