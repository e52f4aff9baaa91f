"""Checks: is a number or a name the user gave fit for use, and if not, the message that says so."""

import difflib
import math
from collections.abc import Iterable

from brainnet.errors import InputError

# scikit-learn's generators take 32-bit seeds, so the whole of brainnet's data does.
LARGEST_SEED = 2**32 - 1


def check_whole_number(name: str, value: object, *, least: int, most: int | None = None) -> int:
    """Return `value` if it is a whole number of at least `least` (and at most `most`).

    Raises:
        InputError: it is of another type (`True` counts as another) or out of range.
    """
    in_range = (
        isinstance(value, int)
        and not isinstance(value, bool)
        and value >= least
        and (most is None or value <= most)
    )
    if not in_range:
        bounds = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise InputError(f"{name} must be a whole number {bounds}; got {value!r}.")
    return int(value)  # type: ignore[call-overload, no-any-return]


def check_number(name: str, value: object, *, least: float) -> float:
    """Return `value` as a float if it is a finite number of at least `least`.

    Raises:
        InputError: it is of another type, not finite, or too small.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < least:  # type: ignore[arg-type, operator]
        raise InputError(f"{name} must be a finite number of {least:g} or more; got {value!r}.")
    return float(value)  # type: ignore[arg-type]


def check_seed(seed: object) -> int:
    """Return `seed` if every generator of random numbers here can take it."""
    return check_whole_number("seed", seed, least=0, most=LARGEST_SEED)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean ...?" with the nearest known name, or "" where none is near.

    Example:
        >>> did_you_mean("digit", ["digits", "iris"])
        ' Did you mean "digits"?'
    """
    near = difflib.get_close_matches(name, list(known), n=1)
    return f' Did you mean "{near[0]}"?' if near else ""
