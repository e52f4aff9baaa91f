"""Formatting of numbers, bars, curves and images as text."""

import math

import pytest

from brainnet.explanation.formatting import (
    clip_text,
    count_decimals,
    draw_bar,
    draw_sparkline,
    format_number,
    format_percent,
)


@pytest.mark.parametrize(
    ("value", "text"),
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
def test_format_number(value, text):
    assert format_number(value) == text


def test_format_number_with_sign():
    assert [format_number(value, 2, sign=True) for value in (1.0, -1.0, 0.0, -0.001)] == [
        "+1.00",
        "-1.00",
        "0.00",
        "0.00",
    ]
    assert format_number(0.0, sign=True) == "0"


def test_large_numbers_have_no_false_digits():
    assert format_number(1e30, 0, sign=True) == "+1e+30"
    assert format_number(-2.5e8, 2) == "-2.5e+08"


@pytest.mark.parametrize(
    ("share", "decimals", "text"),
    [
        (0.333, 1, "33.3%"),
        (math.inf, 1, "not finite"),
        (0.333333, None, "33.3%"),
        (1.5e-6, None, "0.00015%"),
        (math.nan, None, "not finite"),
    ],
)
def test_format_percent(share, decimals, text):
    assert format_percent(share, decimals) == text


@pytest.mark.parametrize(
    ("largest", "digits"),
    [(0.0, 2), (0.05, 3), (0.0005, 5), (0.5, 2), (50.0, 2), (500.0, 1), (5000.0, 0)],
)
def test_count_decimals(largest, digits):
    assert count_decimals([largest / 3, -largest, math.inf]) == digits


def test_reduced_sparkline_keeps_its_ends():
    rising = draw_sparkline(list(range(1000)), width=10)
    assert len(rising) == 10
    assert (rising[0], rising[-1]) == ("▁", "█")
    assert list(rising) == sorted(rising)
    assert draw_sparkline([math.nan, 1.0, 2.0]) == "▁█"


def test_clip_text():
    assert clip_text("abcdef", 4) == "abc…"
    assert clip_text("abcd", 4) == "abcd"


@pytest.mark.parametrize(
    ("share", "blocks"), [(0, 0), (1, 4), (0.5, 2), (7, 4), (-1, 0), (float("nan"), 0)]
)
def test_bar_is_limited_to_its_width(share, blocks):
    assert draw_bar(share, width=4) == "█" * blocks + "░" * (4 - blocks)
