"""Suggestions for misspelled words, and overrides to type."""

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from brainnet.errors import did_you_mean, format_override, quote_value

KNOWN = ["optimizer", "optimizer.lr", "optimizer.eps", "seed", "data.batch_size"]


@pytest.mark.parametrize(
    ("word", "intended"),
    [
        ("optimizer.lrr", "optimizer.lr"),
        ("optimiser", "optimizer"),
        ("lr", "optimizer.lr"),
        ("batch_size", "data.batch_size"),
        ("batchsize", "data.batch_size"),
        ("sed", "seed"),
    ],
)
def test_similar_words_are_suggested(word, intended):
    assert did_you_mean(word, KNOWN) == f" Did you mean {intended}?"


def test_equal_endings_are_all_suggested():
    known = ["a.width", "b.width", "c.height"]
    assert did_you_mean("width", known) == " Did you mean a.width or b.width?"


def test_nothing_is_suggested_without_a_similar_word():
    assert did_you_mean("zebra", KNOWN) == ""


@pytest.mark.parametrize(
    "names",
    [["Größe", "Nr"], ["Größe (cm)"], ["a, b"], ['a "b"', "it's"], ["a=b"], ["x: y"], ["a;b", "&"]],
)
def test_overrides_can_be_typed_as_printed(names):
    (word,) = shlex.split(format_override("data.drop", names))
    assert OverridesParser.create().parse_override(word).value() == names


@pytest.mark.parametrize("text", ["", "a b", 'say "a"', "C:\\new\\", '\\"', "${seed}", "[1]"])
def test_quoted_values_are_read_back_unchanged(text):
    override = OverridesParser.create().parse_override(f"key={quote_value(text)}")
    assert override.value() == text
