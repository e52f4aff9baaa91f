"""Loading: whatever data are given as, a name, a class, arrays, becomes one data set."""

from typing import Any

from brainnet.data.builtin import Source, find_source
from brainnet.data.dataset import Dataset
from brainnet.data.sources import SOURCES
from brainnet.errors import InputError


def is_own(source: object) -> bool:
    """Whether loading makes rows that nobody else holds; a source of the user's may keep them."""
    return isinstance(source, str | tuple | list) or type(source) in SOURCES.values()


def loaded(source: Source | Dataset | str | tuple[Any, Any], seed: int) -> Dataset:
    """Return the rows of a source; a Dataset is returned as it is.

    Raises:
        InputError: it is no data, or its rows cannot be read.

    Example:
        >>> len(loaded("iris", seed=0))
        150
    """
    if isinstance(source, Dataset):
        return source
    if isinstance(source, str):
        return find_source(source)().load(seed)
    if isinstance(source, tuple | list) and len(source) == 2:
        return Dataset.from_arrays(*source)
    if hasattr(source, "columns") and hasattr(source, "to_numpy"):
        raise InputError(
            "a DataFrame alone does not say which column is to be predicted: give "
            "(frame[INPUTS], frame[TARGET]), where INPUTS are the names of columns of numbers; or, "
            "with columns of words or dates, write it to a file: "
            "brainnet.data.table.Table(FILE, TARGET)."
        )
    if hasattr(source, "load"):
        return source.load(seed)
    raise InputError(
        "data must be a built-in data set or its name, a Table or Images of your files, a Dataset, "
        f"or a pair (inputs, targets); got {type(source).__name__}."
    )
