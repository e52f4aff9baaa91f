"""What a key takes, said in words and checked by the same object."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A set of values: `words` tell it to a person, `accepts` decides."""

    words: str
    accepts: Callable[[object], bool]


def whole(minimum: int, *, maximum: int | None = None, special: int | None = None) -> Kind:
    """Whole numbers from `minimum` up to `maximum`, and one `special` number beside them."""

    def accepts(value: object) -> bool:
        if not isinstance(value, int) or isinstance(value, bool):
            return False
        return (value >= minimum and (maximum is None or value <= maximum)) or value == special

    bounds = f"{minimum} or more" if maximum is None else f"{minimum} to {maximum}"
    words = f"a whole number, {bounds}"
    return Kind(words if special is None else f"{words} (or {special})", accepts)


def number(
    *,
    above: float | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
) -> Kind:
    """Finite numbers within the given bounds; `above` and `below` exclude the bound itself."""

    def accepts(value: object) -> bool:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        return (
            math.isfinite(value)
            and (above is None or value > above)
            and (minimum is None or value >= minimum)
            and (maximum is None or value <= maximum)
            and (below is None or value < below)
        )

    bounds = [
        f"{word} {bound:g}"
        for word, bound in (
            ("above", above),
            ("at least", minimum),
            ("at most", maximum),
            ("below", below),
        )
        if bound is not None
    ]
    return Kind(" ".join(["a number", " and ".join(bounds)]).strip(), accepts)


def flag() -> Kind:
    """True or false."""
    return Kind("true or false", lambda value: isinstance(value, bool))


def text() -> Kind:
    """Any text that is not empty."""
    return Kind("a text", lambda value: isinstance(value, str) and value.strip() != "")


def name() -> Kind:
    """A text that can be the name of one folder, on any system, beside the file `latest`."""
    pattern = re.compile(r"(?!latest$)\w[\w .,=+-]{0,99}", re.IGNORECASE)
    return Kind(
        "letters, digits, - _ . and spaces, the first a letter or digit (not latest)",
        lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None,
    )


def one_of(*allowed: str | int) -> Kind:
    """One of a few words or numbers."""
    words = "|".join(str(word) or "''" for word in allowed)
    return Kind(words, lambda value: not isinstance(value, bool) and value in allowed)


def either(*kinds: Kind) -> Kind:
    """What any of several kinds accepts."""
    words = " or ".join(kind.words for kind in kinds)
    return Kind(words, lambda value: any(kind.accepts(value) for kind in kinds))


def or_null(kind: Kind, *, null: str = "null") -> Kind:
    """What the kind accepts, or null; `null` tells what that means."""
    return Kind(f"{kind.words}, or {null}", lambda value: value is None or kind.accepts(value))


def list_of(kind: Kind, *, length: int | None = None, empty: bool = False) -> Kind:
    """A list with something in it, unless it may be `empty`, every entry of one kind."""

    def accepts(value: object) -> bool:
        if not isinstance(value, list) or not (value or empty):
            return False
        return (length is None or len(value) == length) and all(map(kind.accepts, value))

    count = "a list" if length is None else f"a list of {length}"
    return Kind(f"{count}, each {kind.words}", accepts)
