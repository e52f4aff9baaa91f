"""What the kinds of keys accept."""

import pytest

from brainnet.config import schema as kinds

SOME = [0, 1, -1, 2, 0.5, 1.5, float("nan"), float("inf"), True, "a", "", None, [1], [], [0], {}]


@pytest.mark.parametrize(
    ("kind", "accepted"),
    [
        (kinds.whole(1), [1, 2]),
        (kinds.whole(1, special=-1), [1, -1, 2]),
        (kinds.whole(0, maximum=1), [0, 1]),
        (kinds.number(above=0), [1, 2, 0.5, 1.5]),
        (kinds.number(minimum=0, below=1), [0, 0.5]),
        (kinds.number(maximum=0), [0, -1]),
        (kinds.flag(), [True]),
        (kinds.text(), ["a"]),
        (kinds.build_name_kind(), ["a"]),
        (kinds.one_of("a", 2), [2, "a"]),
        (kinds.or_null(kinds.text()), ["a", None]),
        (kinds.either(kinds.text(), kinds.flag()), [True, "a"]),
        (kinds.list_of(kinds.whole(1)), [[1]]),
        (kinds.list_of(kinds.whole(1), empty=True), [[1], []]),
        (kinds.list_of(kinds.whole(0), length=1), [[1], [0]]),
    ],
    ids=lambda value: value.words if isinstance(value, kinds.Kind) else "",
)
def test_accepts_its_values_and_no_others(kind, accepted):
    assert [value for value in SOME if kind.accepts(value)] == accepted


@pytest.mark.parametrize(
    "name", ["../out", "a/b", "a\\b", ".", "..", " ", "-x", "a" * 101, "latest", "Latest"]
)
def test_a_name_stays_in_its_folder(name):
    assert not kinds.build_name_kind().accepts(name)


def test_words_tell_the_bounds():
    assert kinds.number(above=0, maximum=1).words == "a number above 0 and at most 1"
    assert kinds.list_of(kinds.whole(1)).words == "a list, each a whole number, 1 or more"


def test_an_empty_text_is_shown_as_one_types_it():
    assert kinds.either(kinds.text(), kinds.one_of("")).words == "a text or ''"
