"""Split: training, validation and test rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from brainnet.data.dataset import Dataset
from brainnet.data.validation import check_seed, format_count, join_names, report_warning
from brainnet.errors import InputError

_MAX_LISTED_GROUPS = 5

# With fewer test rows, a single prediction changes the accuracy by a quarter or more.
_MIN_TEST_ROWS = 5


class RandomStream(IntEnum):
    """Purposes of random numbers; a new purpose must not change the numbers of the others."""

    SPLIT = 0
    ORDER = 1


def create_generator(seed: int, stream: RandomStream, epoch: int = 0) -> torch.Generator:
    """Return a CPU generator that depends only on these three values."""
    # Hashed: with `seed + epoch`, epoch 1 of seed 0 would equal epoch 0 of seed 1.
    sequence = np.random.SeedSequence(check_seed(seed), spawn_key=(int(stream), epoch))
    return torch.Generator().manual_seed(int(sequence.generate_state(1)[0]))


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Row indices of each part, in random order; each row is in exactly one part."""

    train: Tensor
    validation: Tensor
    test: Tensor


def split_dataset(dataset: Dataset, *, validation: float, test: float, seed: int) -> Split:
    """Divide the rows at random; the same seed gives the same split.

    The split is stratified: each part contains the classes in the proportions of all rows, to the
    nearest row, and at least one row of each class. Parts that were given separately
    (`Dataset.part_sizes`) keep their order, and the others are drawn from the training rows.

    Example:
        >>> rows = Dataset.from_arrays([[0.0]] * 20, [0, 1] * 10)
        >>> parts = split_dataset(rows, validation=0.2, test=0.2, seed=0)
        >>> len(parts.train), len(parts.validation), len(parts.test)
        (12, 4, 4)
    """
    check_fractions(validation, test)
    generator = create_generator(seed, RandomStream.SPLIT)
    rows, validation_rows, test_rows = dataset.part_sizes or (len(dataset), 0, 0)
    # A fraction of 0 means that the part was given.
    fractions = (0.0 if validation_rows else validation, 0.0 if test_rows else test)
    groups = _group_rows(dataset, rows)
    _check_group_sizes(groups, *fractions)
    chunks: list[tuple[Tensor, ...]] = [
        _shuffle(members, generator).split(_compute_sizes(len(members), *fractions))
        for _, members in groups
    ]
    # The chunks are ordered by class; training must see the classes mixed.
    train, *drawn = (_shuffle(torch.cat(part), generator) for part in zip(*chunks, strict=True))
    given = torch.arange(rows, len(dataset)).split([validation_rows, test_rows])
    validation_part, test_part = (
        rows if len(rows) else drawn_rows for rows, drawn_rows in zip(given, drawn, strict=True)
    )
    parts = Split(train, validation_part, test_part)
    if len(parts.test) < _MIN_TEST_ROWS:
        report_warning(
            f"the test has only {format_count(len(parts.test), 'row')}, of {len(dataset):,} in "
            f"{dataset.name}: its result depends on chance. Add rows."
        )
    return parts


def check_fractions(validation: float, test: float) -> None:
    """Raise an InputError unless both fractions are positive and leave training rows."""
    for name, fraction in (("validation", validation), ("test", test)):
        # Whole numbers, and `True`, are outside of this range.
        if not isinstance(fraction, int | float) or not 0 < fraction < 1:
            raise InputError(
                f"{name} must be a fraction of the rows between 0 and 1, both excluded; got "
                f"{fraction!r}."
            )
    if validation + test >= 1:
        raise InputError(
            f"validation {validation:g} and test {test:g} leave no training rows: "
            "their sum must be less than 1."
        )


def _group_rows(dataset: Dataset, rows: int) -> list[tuple[str, Tensor]]:
    """Return the groups that are divided separately: each class, or all rows of a regression."""
    if dataset.task == "regression":
        return [("the data", torch.arange(rows))]
    labels, classes = dataset.targets[:rows].numpy(), len(dataset.class_names)
    # NumPy sorts 16-bit numbers by radix sort, in linear time.
    labels = labels.astype(np.uint16 if classes <= 1 << 16 else np.int64)
    order = torch.from_numpy(labels.argsort(kind="stable"))
    counts = np.bincount(labels, minlength=classes).tolist()
    groups = zip(dataset.class_names, order.split(counts), strict=True)
    return [(f"class {name!r}", members) for name, members in groups if len(members)]


def _shuffle(rows: Tensor, generator: torch.Generator) -> Tensor:
    return rows[torch.randperm(len(rows), generator=generator)]


def _compute_sizes(rows: int, *fractions: float) -> list[int]:
    """Return the numbers of training, validation and test rows; none for a fraction of 0."""
    # At least one row of each class, or its accuracy could not be measured.
    sizes = [max(1, round(rows * fraction)) if fraction else 0 for fraction in fractions]
    return [rows - sum(sizes), *sizes]


def _check_group_sizes(
    groups: Sequence[tuple[str, Tensor]], validation: float, test: float
) -> None:
    """Raise an InputError that lists the groups with too few rows for all parts."""
    small = [
        f"{name} ({format_count(len(rows), 'row')})"
        for name, rows in groups
        if _compute_sizes(len(rows), validation, test)[0] < 1
    ]
    if small:
        raise InputError(
            "too few rows for one in each part (training, validation and test): "
            f"{join_names(small, _MAX_LISTED_GROUPS)}, with the fractions {validation:g} for "
            f"validation and {test:g} for test. Add rows, leave the class out, use smaller "
            "fractions, or pass validation and test rows separately (data.validation_path and "
            "data.test_path)."
        )
