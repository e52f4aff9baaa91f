"""Slips of the keys, and what to type instead."""

import shlex

import pytest

from brainnet.config.compose import Composer, parse
from brainnet.errors import did_you_mean, format_override

KNOWN = ["optimizer", "optimizer.lr", "optimizer.eps", "seed", "data.batch_size"]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("optimizer.lrr", "optimizer.lr"),
        ("optimiser", "optimizer"),
        ("lr", "optimizer.lr"),
        ("batch_size", "data.batch_size"),
        ("batchsize", "data.batch_size"),
        ("sed", "seed"),
    ],
)
def test_finds_what_was_meant(word, meant):
    assert did_you_mean(word, KNOWN) == f" Did you mean {meant}?"


def test_says_nothing_where_nothing_comes_close():
    assert did_you_mean("zebra", KNOWN) == ""


@pytest.mark.parametrize(
    "names",
    [["Größe", "Nr"], ["Größe (cm)"], ["a, b"], ['a "b"', "it's"], ["a=b"], ["x: y"], ["a;b", "&"]],
)
def test_what_is_suggested_can_be_typed_as_it_is_printed(names):
    (word,) = shlex.split(format_override("data.drop", names))
    typed = parse([word]).overrides
    (read,) = Composer.over(parse([])).parsed(typed)
    assert read.value() == names
