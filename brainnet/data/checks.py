"""Checks: is a number the user gave fit for use, and if not, the message that says so."""

import math
import operator
from collections.abc import Sequence
from contextlib import suppress
from numbers import Real
from typing import SupportsIndex

from brainnet.errors import InputError
from brainnet.suggestion import did_you_mean

# scikit-learn's generators take 32-bit seeds, so the whole of brainnet's data does.
LARGEST_SEED = 2**32 - 1


def check_whole_number(name: str, value: object, *, least: int, most: int | None = None) -> int:
    """Return `value` as an int if it is a whole number of at least `least` (and at most `most`).

    NumPy's and torch's whole numbers are whole numbers; `True` is none, and neither is `3.0`.

    Raises:
        InputError: it is of another type or out of range.
    """
    number = None
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        with suppress(TypeError):  # of a tensor of fractions
            number = operator.index(value)
    if number is None or number < least or (most is not None and number > most):
        bounds = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise InputError(f"{name} must be a whole number {bounds}; got {value!r}.")
    return number


def check_number(name: str, value: object, *, least: float) -> float:
    """Return `value` as a float if it is a finite number of at least `least`.

    Raises:
        InputError: it is of another type, not finite, or too small.
    """
    # Real: NumPy's numbers of any width count.
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if not math.isfinite(number) or number < least:
        raise InputError(f"{name} must be a finite number of {least:g} or more; got {value!r}.")
    return number


def check_seed(seed: object) -> int:
    """Return `seed` if every generator of random numbers here can take it."""
    return check_whole_number("seed", seed, least=0, most=LARGEST_SEED)


def check_one_of(name: str, value: object, known: Sequence[str]) -> None:
    """Raise an InputError that names the known values unless `value` is one of them."""
    if value not in known:
        hint = did_you_mean(str(value), known)
        raise InputError(f"{name} must be one of {', '.join(known)}; got {value!r}.{hint}")
