"""Split: which rows teach, which choose the best moment, and which judge at the end."""

from dataclasses import dataclass

import torch
from torch import Tensor

from brainnet.data.dataset import Dataset
from brainnet.data.randomness import Stream, generator
from brainnet.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """The row numbers of each part, in random order; every row is in exactly one part."""

    train: Tensor
    validation: Tensor
    test: Tensor


def split(dataset: Dataset, *, validation: float, test: float, seed: int) -> Split:
    """Divide the rows at random, the same way for the same seed.

    Classes are divided one by one (stratified), so each part holds them in the proportions of the
    whole, to the nearest row, and no class is missing from any part. Fractions are of all rows.

    Raises:
        InputError: a fraction is out of range, or there are too few rows for three parts.

    Example:
        >>> rows = Dataset.from_arrays([[0.0]] * 20, [0, 1] * 10)
        >>> parts = split(rows, validation=0.2, test=0.2, seed=0)
        >>> len(parts.train), len(parts.validation), len(parts.test)
        (12, 4, 4)
    """
    check_fractions(validation, test)
    random = generator(seed, Stream.SPLIT)
    parts: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
    for label, members in _groups(dataset):
        sizes = _sizes(len(members), validation, test, label)
        for part, rows in zip(parts, torch.split(_mixed(members, random), sizes), strict=True):
            part.append(rows)
    return Split(*(_mixed(torch.cat(part), random) for part in parts))


def check_fractions(validation: float, test: float) -> None:
    """Raise an InputError unless both fractions are positive and leave rows to train on."""
    for name, fraction in (("validation", validation), ("test", test)):
        is_number = isinstance(fraction, int | float) and not isinstance(fraction, bool)
        if not is_number or not 0 < fraction < 1:
            raise InputError(
                f"{name} must be a fraction of the rows between 0 and 1, both excluded; "
                f"got {fraction!r}. Every run keeps rows it does not learn from, else nothing "
                "would show whether it learnt or memorised."
            )
    if validation + test >= 1:
        raise InputError(
            f"validation {validation:g} and test {test:g} leave no rows to train on: "
            "together they must be less than 1."
        )


def _groups(dataset: Dataset) -> list[tuple[str, Tensor]]:
    """Return what is divided on its own: each class that has rows, or all rows of a regression."""
    if dataset.task == "regression":
        return [("the data", torch.arange(len(dataset)))]
    members = [
        (dataset.targets == label).nonzero().flatten() for label in range(len(dataset.class_names))
    ]
    named = zip(dataset.class_names, members, strict=True)
    return [(f"class {name!r}", rows) for name, rows in named if len(rows)]


def _mixed(rows: Tensor, random: torch.Generator) -> Tensor:
    return rows[torch.randperm(len(rows), generator=random)]


def _sizes(rows: int, validation: float, test: float, label: str) -> list[int]:
    validation_rows = max(1, round(rows * validation))
    test_rows = max(1, round(rows * test))
    train_rows = rows - validation_rows - test_rows
    if train_rows < 1:
        raise InputError(
            f"{label} has {rows} {'row' if rows == 1 else 'rows'}: too few to train, validate "
            f"(fraction {validation:g}) and test (fraction {test:g}) on. It takes at least 3, one "
            "for each part: add rows, or make the fractions smaller."
        )
    return [train_rows, validation_rows, test_rows]
