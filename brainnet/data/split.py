"""Split: training, validation and test rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from brainnet.data.dataset import Dataset
from brainnet.data.validation import check_seed, report_warning
from brainnet.errors import InputError


class RandomStream(IntEnum):
    """What random numbers are drawn for; a new purpose must not disturb the others."""

    SPLIT = 0
    ORDER = 1


def create_generator(seed: int, stream: RandomStream, epoch: int = 0) -> torch.Generator:
    """Return a CPU generator whose numbers depend on these three values alone.

    The three are hashed by NumPy's `SeedSequence`, not added: with `seed + epoch`, the second
    epoch of seed 0 would repeat the first epoch of seed 1.

    Raises:
        InputError: the seed is not a whole number from 0 to 2**32 - 1.

    Example:
        >>> first = torch.randperm(5, generator=generator(0, Stream.ORDER, epoch=3))
        >>> torch.equal(first, torch.randperm(5, generator=generator(0, Stream.ORDER, epoch=3)))
        True
    """
    mixed = np.random.SeedSequence(check_seed(seed), spawn_key=(int(stream), epoch))
    return torch.Generator().manual_seed(int(mixed.generate_state(1)[0]))


def row_type(rows: int) -> torch.dtype:
    """Return the smallest type of whole numbers for the numbers of so many rows.

    `randperm` draws the same order in either.
    """
    return torch.int32 if rows <= torch.iinfo(torch.int32).max else torch.int64


_ROWS_AT_ONCE = 65536

_ALL = "the data"

_GROUPS_NAMED = 5
# Of fewer, a single answer moves the share of right ones by a quarter or more.
_FEW_ROWS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """The row numbers of each part, in random order; every row is in exactly one part.

    They are of the type that `row_type` gives. A part that came apart keeps its own order.
    """

    train: Tensor
    validation: Tensor
    test: Tensor


def split(dataset: Dataset, *, validation: float, test: float, seed: int) -> Split:
    """Divide the rows at random, the same way for the same seed.

    Classes are divided one by one (stratified), so each part holds them in the proportions of the
    whole, to the nearest row, and no class is missing from any part. Fractions are of all rows.
    Parts that came apart (`Dataset.parts`) stay as they are, and the others are taken from the
    rows to train on.

    Raises:
        InputError: a fraction is out of range, or there are too few rows for three parts.

    Example:
        >>> rows = Dataset.from_arrays([[0.0]] * 20, [0, 1] * 10)
        >>> parts = split(rows, validation=0.2, test=0.2, seed=0)
        >>> len(parts.train), len(parts.validation), len(parts.test)
        (12, 4, 4)
    """
    check_fractions(validation, test)
    random = create_generator(seed, RandomStream.SPLIT)
    rows, *given = dataset.parts or (len(dataset), 0, 0)
    wanted = (0.0 if given[0] else validation, 0.0 if given[1] else test)
    divided = _divided(dataset, rows, wanted, random)
    train, *others = (_mixed(part, random) for part in divided)
    ends = (rows + given[0], len(dataset))
    apart = (
        torch.arange(end - there, end, dtype=row_type(len(dataset)))
        for there, end in zip(given, ends, strict=True)
    )
    parts = Split(
        train,
        *(own if there else taken for own, there, taken in zip(apart, given, others, strict=True)),
    )
    _tell_few(dataset, len(parts.test))
    return parts


def _tell_few(dataset: Dataset, rows: int) -> None:
    """Say that so few rows judge nothing."""
    if rows < _FEW_ROWS:
        there = "row is" if rows == 1 else "rows are"
        report_warning(
            f"only {rows} {there} kept for the test, of {len(dataset):,} in {dataset.name}: what "
            "the test says of so few is chance. Add rows."
        )


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


def _divided(
    dataset: Dataset, rows: int, wanted: tuple[float, float], random: torch.Generator
) -> list[Tensor]:
    """Return the rows to train, validate and test on, group after group."""
    parts: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
    groups = list(_groups(dataset, rows))
    _check_groups([(label, len(members)) for label, members in groups], *wanted)
    for _, members in groups:
        sizes = _sizes(len(members), *wanted)
        for part, chosen in zip(parts, torch.split(_mixed(members, random), sizes), strict=True):
            part.append(chosen)
    return [torch.cat(part) for part in parts]


def _groups(dataset: Dataset, rows: int) -> Iterator[tuple[str, Tensor]]:
    """Yield what is divided on its own: each class that has rows, or all rows of a regression."""
    if dataset.task == "regression":
        yield _ALL, torch.arange(rows, dtype=row_type(len(dataset)))
        return
    labels, classes = dataset.targets[:rows].numpy(), len(dataset.class_names)
    counts = np.bincount(labels, minlength=classes)
    order = _sorted_by_class(labels, counts).split(counts.tolist())
    for name, members in zip(dataset.class_names, order, strict=True):
        if len(members):
            yield f"class {name!r}", members


def _sorted_by_class(labels: NDArray[np.int64], counts: NDArray[np.intp]) -> Tensor:
    """Return the numbers of all rows, those of the first class first, each class in its order.

    By parts, so that it takes hardly more memory than what it returns.
    """
    order = np.empty(len(labels), np.int32 if row_type(len(labels)) == torch.int32 else np.int64)
    free = np.concatenate([[0], counts.cumsum()[:-1]])
    for start in range(0, len(labels), _ROWS_AT_ONCE):
        part = labels[start : start + _ROWS_AT_ONCE]
        # NumPy sorts 16 bits in a single sweep.
        narrow = part.astype(np.uint16) if len(counts) <= 1 << 16 else part
        found = np.bincount(part, minlength=len(counts))
        before = found.cumsum() - found
        places = np.repeat(free - before, found) + np.arange(len(part))
        order[places] = narrow.argsort(kind="stable") + start
        free += found
    return torch.from_numpy(order)


def _mixed(rows: Tensor, random: torch.Generator) -> Tensor:
    order = torch.randperm(len(rows), generator=random, dtype=rows.dtype)
    for part in order.split(_ROWS_AT_ONCE):
        part.copy_(rows.index_select(0, part))
    return order


def _sizes(rows: int, validation: float, test: float) -> list[int]:
    """Divide the rows of a group; a fraction of 0 is of a part that came apart."""
    validation_rows = max(1, round(rows * validation)) if validation else 0
    test_rows = max(1, round(rows * test)) if test else 0
    return [rows - validation_rows - test_rows, validation_rows, test_rows]


def _check_groups(groups: Sequence[tuple[str, int]], validation: float, test: float) -> None:
    """Raise an InputError where a group has too few rows for every part to have one of them."""
    small = [group for group in groups if _sizes(group[1], validation, test)[0] < 1]
    if not small:
        return
    jobs = ["train"]
    jobs += [f"validate (fraction {validation:g})"] * bool(validation)
    jobs += [f"test (fraction {test:g})"] * bool(test)
    (label, rows), *others = small
    more = f", ... ({len(others)} in all)" if len(others) > _GROUPS_NAMED else ""
    named = ", ".join(f"{name} ({_counted(count)})" for name, count in others[:_GROUPS_NAMED])
    advice = "add rows, or make the fractions smaller"
    if rows < len(jobs):
        advice = "add rows" if label == _ALL else "add rows of it, or leave these out"
        advice += ", or give rows to validate and test on apart (data.validation_path and "
        advice += "data.test_path)"
    raise InputError(
        f"{label} has {_counted(rows)}: too few to {', '.join(jobs[:-1])} and {jobs[-1]} on. It "
        f"takes at least {len(jobs)}, one for each part: {advice}."
        + (f" The same goes for {named}{more}." if others else "")
    )


def _counted(rows: int) -> str:
    return f"{rows:,} {'row' if rows == 1 else 'rows'}"
