"""Figures: short numbers, curves and pictures say what they are made of."""

import math

import pytest

from brainnet.explanation.formatting import (
    clip_text,
    count_decimals,
    draw_image,
    draw_signed_bar,
    draw_sparkline,
    format_number,
    format_percent,
    join_side_by_side,
)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0.0, "0"),
        (-0.5, "-0.5"),
        (3.14159, "3.142"),
        (999.96, "1000"),
        (12345.678, "12,346"),
        (-12345.678, "-12,346"),
        (9_999_999.0, "9,999,999"),
        (12_345_678.0, "1.235e+07"),
        (-1e30, "-1e+30"),
        (math.nan, "not finite"),
        (math.inf, "not finite"),
        ("red", "red"),
        (None, "missing"),
    ],
)
def test_a_number_is_as_short_as_its_size_allows(value, told):
    assert format_number(value) == told


def test_signs_are_shown_where_asked_for_and_zero_has_none():
    assert [format_number(each, 2, sign=True) for each in (1.0, -1.0, 0.0, -0.001)] == [
        "+1.00",
        "-1.00",
        "0.00",
        "0.00",
    ]
    assert format_number(0.0, sign=True) == "0"


def test_no_false_digits_are_written_with_so_many_after_the_point_either():
    assert format_number(1e30, 0, sign=True) == "+1e+30"
    assert format_number(-2.5e8, 2) == "-2.5e+08"


@pytest.mark.parametrize(
    ("share", "told"), [(0.333, "33.3%"), (3e6, "3e+08%"), (math.inf, "not finite")]
)
def test_a_share_is_told_in_percent_or_as_what_it_is(share, told):
    assert format_percent(share, 1) == told


@pytest.mark.parametrize(
    ("largest", "digits"),
    [(0.0, 2), (0.05, 3), (0.0005, 5), (0.5, 2), (50.0, 2), (500.0, 1), (5000.0, 0)],
)
def test_a_column_has_digits_by_its_largest_number(largest, digits):
    assert count_decimals([largest / 3, -largest, math.inf]) == digits


def test_a_curve_keeps_its_ends_when_it_is_thinned():
    rising = draw_sparkline(list(range(1000)), width=10)
    assert len(rising) == 10
    assert (rising[0], rising[-1]) == ("▁", "█")
    assert list(rising) == sorted(rising)
    assert draw_sparkline([math.nan, 1.0, 2.0]) == "▁█"


def test_a_bar_is_never_longer_than_its_room():
    assert draw_signed_bar(10.0, 1.0, 4) == "████"
    assert draw_signed_bar(-1.0, 2.0, 4) == "░░  "


def test_a_large_picture_is_made_smaller_and_keeps_its_place():
    pixels = [1.0 if x >= 32 and y < 32 else 0.0 for y in range(64) for x in range(64)]
    lines = draw_image(pixels, (64, 64))
    assert {len(line) for line in lines} == {32}
    assert len(lines) == 16
    assert lines[0] == " " * 16 + "█" * 16
    assert lines[-1] == " " * 32


def test_the_channels_of_a_coloured_picture_become_their_mean():
    assert draw_image([1, 0, 0, 0, 1, 0, 0, 0], (2, 2, 2)) == ["██  ", "    "]
    assert draw_image([0, 0, 0, 0], (2, 2)) == ["    ", "    "]


def test_pictures_that_do_not_fit_stand_below_each_other():
    drawn = [("a", ["####"]), ("b", ["...."]), ("c", ["++++"])]
    assert join_side_by_side(drawn, 10) == ["a     b", "####  ....", "c", "++++"]
    assert join_side_by_side(drawn, 3) == ["a", "####", "b", "....", "c", "++++"]


def test_a_long_name_is_cut_with_a_mark():
    assert clip_text("abcdef", 4) == "abc…"
    assert clip_text("abcd", 4) == "abcd"
