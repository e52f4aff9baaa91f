"""Arrays: what somebody holds in Python, with its names, as tensors of a data set."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from brainnet.data.column import in_order
from brainnet.data.spread import spreads_of
from brainnet.errors import InputError

_CELLS_NAMED = 3

_AS_NUMBERS = {
    "inputs": "Turn words into numbers first: one column for each word, 1 where it stands.",
    "targets": "Leave out the task to tell words apart as classes.",
}


def inputs_of(values: Any) -> tuple[Tensor, tuple[str, ...]]:  # noqa: ANN401
    """Inputs (rows, inputs) as float32, and what they are called.

    Raises:
        InputError: they are no numbers, or no table.
    """
    given = values if isinstance(values, Tensor) else _numbers("inputs", values)
    table = tensor_of("inputs", given, torch.float32)
    columns = table.shape[-1] if table.ndim else 0
    names = names_of(values, columns) or tuple(f"input_{place}" for place in range(columns))
    if table.ndim == 2:
        tell_merged(given, names, "column")
    return table, names


def tell_merged(table: Any, names: Sequence[str], what: str) -> None:  # noqa: ANN401
    """Say which columns of a tensor or array (rows, columns) have numbers that float32 merges."""
    if isinstance(table, Tensor):
        if table.element_size() < 8:
            return
        table = table.detach().cpu().numpy()
    for spread in spreads_of(table, names):
        if spread.is_merged:
            spread.tell(what, "")


def tensor_of(name: str, values: Any, dtype: torch.dtype | None = None) -> Tensor:  # noqa: ANN401
    """Return a copy as a tensor: later changes of the caller's must not reach the data set.

    Raises:
        InputError: they are no numbers, or no table.
    """
    if isinstance(values, Tensor):
        if values.is_complex():
            raise InputError(f"{name} must be real numbers; got {values.dtype}.")
        return values.detach().to("cpu", dtype or values.dtype, copy=True)
    array = _numbers(name, values)
    wanted = np.float32 if dtype == torch.float32 else array.dtype.newbyteorder("=")
    with np.errstate(over="ignore"):  # an infinity is told of by its row and column
        return torch.from_numpy(array.astype(wanted, order="C"))


def names_of(values: Any, columns: int) -> tuple[str, ...]:  # noqa: ANN401
    """What the columns of a DataFrame or a Series are called; empty where they are but counted.

    Example:
        >>> import pandas
        >>> names_of(pandas.DataFrame({"a": [1], "b": [2]}), 2), names_of([[1, 2]], 2)
        (('a', 'b'), ())
    """
    names = getattr(values, "columns", None)
    if names is None:
        name = getattr(values, "name", None)  # of a Series; a tensor's is None
        names = [] if name is None else [name]
    if not all(isinstance(name, str | int) for name in names):
        return ()
    called = tuple(map(str, names))
    counted = called == tuple(map(str, range(columns)))
    return called if len(set(called)) == len(called) == columns and not counted else ()


def classes_of(values: Any) -> tuple[Tensor, tuple[str, ...]] | None:  # noqa: ANN401
    """The classes (rows,) that labels in words name, and these in order; None of other values.

    Raises:
        InputError: some are words and others are none, or all are the same.

    Example:
        >>> classes_of(["kiwi", "apple", "kiwi"])
        (tensor([1, 0, 1]), ('apple', 'kiwi'))
    """
    if isinstance(values, Tensor):
        return None
    array = _array("targets", values)
    if array.dtype.kind not in "OU" or array.ndim != 1:
        return None
    labels = array.tolist()
    strange = [place for place, label in enumerate(labels) if not isinstance(label, str)]
    if len(strange) == len(labels):
        return None
    if strange:
        raise InputError(
            f"targets must be all words or all numbers; row {strange[0]} is "
            f"{labels[strange[0]]!r}, and others are words, such as {_first(labels)!r}. Leave such "
            "rows out, or give them a word."
        )
    names = in_order(set(labels))
    if len(names) < 2:
        raise InputError(
            f"targets must name at least two classes; all {len(labels)} are {names[0]!r}."
        )
    places = {name: place for place, name in enumerate(names)}
    return torch.tensor([places[label] for label in labels]), tuple(names)


def _first(labels: Sequence[Any]) -> str:
    return next(label for label in labels if isinstance(label, str))


def _array(name: str, values: Any) -> np.ndarray[Any, Any]:  # noqa: ANN401
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InputError(f"{name} must be a table with rows of one length: {error}.") from error


def _numbers(name: str, values: Any) -> np.ndarray[Any, Any]:  # noqa: ANN401
    array = _array(name, values)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} must be numbers; got {_read(array)}. {_AS_NUMBERS[name]}")
    return array


def _read(array: np.ndarray[Any, Any]) -> str:
    """Say what was read in place of numbers, with one of them where they are words."""
    words = [cell for cell in array.ravel()[:_CELLS_NAMED] if isinstance(cell, str)]
    return f"words ({', '.join(map(repr, map(str, words)))} ...)" if words else f"{array.dtype}"
