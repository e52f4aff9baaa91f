"""Errors: the two failures that are not bugs, and did-you-mean suggestions."""

import difflib
import re
import shlex
from collections.abc import Iterable, Sequence


class InputError(ValueError):
    """What the user gave is wrong; the message says what was needed, what came and what to do."""


class TrainingFailure(RuntimeError):
    """The training itself failed: the loss stopped being finite."""


_PLAIN_VALUE = re.compile(r"[\w./+-](?:[\w ./+-]*[\w./+-])?")

_PLAIN_WORD = re.compile(r"[\w./+=,\[\]-]+")


def find_nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that comes closest, if one comes close.

    Example:
        >>> nearest("wieghts", ["weights", "biases"])
        'weights'
    """
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.7)), None)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question to append to an error, or nothing when no known word comes close.

    A key is also looked for by its last part, so that `lr` finds `optimizer.lr`.

    Example:
        >>> did_you_mean("optimizer.lrr", ["optimizer.lr", "seed"])
        ' Did you mean optimizer.lr?'
        >>> did_you_mean("lr", ["optimizer.lr", "seed"])
        ' Did you mean optimizer.lr?'
        >>> did_you_mean("zebra", ["optimizer.lr", "seed"])
        ''
    """
    near = find_intended(word, known)
    return f" Did you mean {' or '.join(near)}?" if near else ""


def find_intended(word: str, known: Iterable[str]) -> list[str]:
    """The known words that come closest, where any comes close; see `did_you_mean`.

    Example:
        >>> meant("lr", ["optimizer.lr", "seed"])
        ['optimizer.lr']
    """
    words = sorted(set(known))
    closest = find_nearest(word, words)
    if closest is not None:
        return [closest]
    tails = [known_word for known_word in words if known_word.endswith(f".{word}")]
    if tails:
        return tails[:3]
    last = word.rpartition(".")[2]
    endings = {known_word.rpartition(".")[2]: known_word for known_word in reversed(words)}
    return [endings[end] for end in difflib.get_close_matches(last, endings, n=1, cutoff=0.75)]


def format_override(key: str, value: str | Sequence[str]) -> str:
    """What to type for a key, as a shell takes it: quoted where it must be.

    Args:
        key: dotted.
        value: a text, or several for a list.

    Example:
        >>> print(override("data.drop", ["Größe", "Nr"]))
        data.drop=[Größe,Nr]
        >>> print(override("data.drop", ["size, in m"]))
        'data.drop=["size, in m"]'
    """
    texts = [_in_quotes(text) for text in ([value] if isinstance(value, str) else value)]
    joined = ",".join(texts)
    word = f"{key}={joined}" if isinstance(value, str) else f"{key}=[{joined}]"
    return word if _PLAIN_WORD.fullmatch(word) else shlex.quote(word)


def _in_quotes(value: str) -> str:
    escaped = value.replace('"', '\\"')
    return value if _PLAIN_VALUE.fullmatch(value) else f'"{escaped}"'
