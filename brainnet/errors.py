"""Errors: the two failures that are not bugs, and did-you-mean suggestions."""

import difflib
import re
import shlex
from collections.abc import Iterable, Sequence


class InputError(ValueError):
    """Invalid input; the message says what was needed, what was received and what to do."""


class TrainingFailure(RuntimeError):
    """Training failed: the loss is no longer finite."""


# Hydra accepts these characters without quotes; of the letters, only those of ASCII.
_BARE_VALUE = re.compile(r"[\w./+-](?:[\w ./+-]*[\w./+-])?", re.ASCII)
_BARE_WORD = re.compile(r"[\w./+=,\[\]-]+")


def find_nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the most similar known word, or None."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.7)), None)


def find_intended(word: str, known: Iterable[str]) -> list[str]:
    """Return the known words that were probably intended; see `did_you_mean`."""
    words = sorted(set(known))
    same_ending = [candidate for candidate in words if candidate.endswith(f".{word}")]
    if same_ending:
        return same_ending[:3]
    nearest = find_nearest(word, words)
    if nearest is not None:
        return [nearest]
    endings = {candidate.rpartition(".")[2]: candidate for candidate in reversed(words)}
    similar = difflib.get_close_matches(word.rpartition(".")[2], endings, n=1, cutoff=0.75)
    return [endings[ending] for ending in similar]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a question to append to an error message, or "" without a similar word.

    Dotted keys are also compared by their last part, so that `lr` finds `optimizer.lr`.

    Example:
        >>> did_you_mean("optimizer.lrr", ["optimizer.lr", "seed"])
        ' Did you mean optimizer.lr?'
        >>> did_you_mean("zebra", ["optimizer.lr", "seed"])
        ''
    """
    intended = find_intended(word, known)
    return f" Did you mean {' or '.join(intended)}?" if intended else ""


def format_override(key: str, value: str | Sequence[str]) -> str:
    """Return an override, of one text or of a list, as it must be typed in a shell.

    Example:
        >>> print(format_override("data.drop", ["Größe", "Nr"]))
        'data.drop=["Größe",Nr]'
        >>> print(format_override("data.drop", ["size, in m"]))
        'data.drop=["size, in m"]'
    """
    values = [value] if isinstance(value, str) else value
    joined = ",".join(text if _BARE_VALUE.fullmatch(text) else quote_value(text) for text in values)
    word = f"{key}={joined}" if isinstance(value, str) else f"{key}=[{joined}]"
    # Quotes of the shell around quotes of Hydra.
    return word if _BARE_WORD.fullmatch(word) else shlex.quote(word)


def quote_value(text: str) -> str:
    """Return a text in the quotes of Hydra's grammar, which reads it back unchanged."""
    # A backslash only escapes before a quote.
    escaped = re.sub(r'(\\+)("|$)', r"\1\1\2", text).replace('"', '\\"')
    return f'"{escaped}"'
