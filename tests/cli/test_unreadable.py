"""What cannot be read is told in plain words, none of them the parser's own."""

import pytest

from brainnet.cli.arguments import parse
from brainnet.cli.composition import Composer
from brainnet.cli.main import main
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
        ("name=a,", "something is missing at its end."),
        ("~name=a=b", "= is not expected there."),
        ("=3", "there is no key."),
    ],
)
def test_tells_where_it_goes_wrong(composer, word, reason):
    with pytest.raises(InputError) as refused:
        composer.parsed([word])
    assert str(refused.value).splitlines()[0] == f"cannot read {word!r}: {reason}"


def test_shows_the_quotes_that_would_help(capsys):
    assert main(["train", "name=日本語"]) == 2
    assert """'name="日本語"'""" in capsys.readouterr().err


def test_these_quotes_help():
    words = ["data=iris", "network.hidden=[2]", "trainer.max_epochs=1", "observe='off'"]
    assert main(["train", 'name="日本語"', *words]) == 0
