"""Overrides are read with as few quotes as can be."""

import pytest

from brainnet.config.compose import Composer, parse, readable


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("data.drop=[größe,Nr]", ["größe", "Nr"]),
        ("data.drop=['größe',\"a,b\", Ü x ]", ["größe", "a,b", "Ü x"]),
        ("data.path=/a/Meine Daten ü/x.csv", "/a/Meine Daten ü/x.csv"),
        ("data.path=C:\\Büro\\x.csv", "C:\\Büro\\x.csv"),
        ("data.path=Küche & co.csv", "Küche & co.csv"),
        ("data.target=prix d'été", "prix d'été"),
        ("network={a: ü, b: 1}", {"a": "ü", "b": 1}),
        ("name='it\\'s ü'", "it's ü"),
        ("name=", ""),
        ("seed=1", 1),
    ],
)
def test_reads_what_was_meant(word, value):
    (override,) = Composer.over(parse([])).parsed([readable(word)])
    assert override.value() == value


@pytest.mark.parametrize("word", ["data.drop=[a,b]", "name=a\\,ü", "name=${ü}", 'name="ü', "RÜN"])
def test_leaves_alone_what_is_fine_or_another_matter(word):
    assert readable(word) == word
