"""Slips of the keys."""

import pytest

from brainnet.suggestion import did_you_mean

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
