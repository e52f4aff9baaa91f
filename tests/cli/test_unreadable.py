"""What cannot be read is told in plain words, none of them the parser's own."""

import shlex
from pathlib import Path

import pytest

from brainnet.cli.main import main
from brainnet.config.compose import Composer, parse, readable
from brainnet.errors import InputError


@pytest.fixture(scope="module")
def composer():
    return Composer.over(parse([]))


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("network.hidden=[8,,8]", "it goes wrong, or is not finished, at [8,,."),
        ("network.hidden=[8", "it goes wrong, or is not finished, at [8."),
        ("network.hidden=[8]]", "] is not expected there."),
        ("name=(x)", "( is not expected there."),
        ("name=日本語", "日 needs quotes."),
        ("name=a;b", "; needs quotes."),
        ("name='a", "a quote in 'a is not closed."),
        ("na me=a", "there is a space where none can be."),
        ("nothing", "= is missing at its end."),
        ("name=a,", "something is missing at its end."),
        ("~name=a=b", "= is not expected there."),
        ("=3", "there is no key."),
    ],
)
def test_tells_where_it_goes_wrong(composer, word, reason):
    with pytest.raises(InputError) as refused:
        composer.parsed([word])
    assert str(refused.value).splitlines()[0] == f"cannot read {word!r}: {reason}"


@pytest.mark.parametrize(
    "name",
    ["my file (1).csv", "a=b.csv", "it's (2).csv", 'say "hi" (1).csv', "ü (1).csv", "(x)\\"],
)
def test_a_file_of_an_odd_name_is_told_as_a_line_to_type(composer, name):
    with pytest.raises(InputError) as refused:
        composer.parsed([readable(f"data.path={name}")])
    line = str(refused.value).splitlines()[1].partition(": ")[2]
    (word,) = shlex.split(line)
    (override,) = composer.parsed([readable(word)])
    assert (override.key_or_group, override.value()) == ("data.path", name)


@pytest.mark.parametrize("word", ['name="日本語"', "name=日本語"])
def test_letters_of_any_language_need_no_quotes(word):
    words = ["data=iris", "network.hidden=[2]", "trainer.max_epochs=1", "observe='off'"]
    assert main(["train", word, *words]) == 0
    assert Path("runs/日本語").is_dir()
