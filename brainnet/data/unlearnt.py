"""Unlearnt: words of categories that no training row has count as never seen.

Which words there are is known from all rows, and so is the number of inputs. Which of them can be
learnt anything of follows from the split: the weights of all others stay as they were drawn.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from brainnet.data.column import Column
from brainnet.data.columns import Columns
from brainnet.data.dataset import Dataset

_ROWS_AT_ONCE = 65536


def without_unlearnt(dataset: Dataset, train: Tensor, *, own: bool) -> Dataset:
    """Return the data with such words as zeros, or as code 0, in all rows and in new ones.

    Args:
        dataset: the rows, as measured.
        train: the numbers of those to train on.
        own: whether the inputs may be changed where they lie; else they are copied first, where
            anything changes.
    """
    columns = dataset.preparation
    if not isinstance(columns, Columns):
        return dataset
    places = list(_categories(columns))
    if not places:
        return dataset
    seen = _seen(dataset.inputs, train, places)
    if all(bool(each.all()) for each in seen.values()):
        return dataset
    inputs = dataset.inputs if own else dataset.inputs.clone()
    told = {}
    for place, column in places:
        cells = zip(column.values, seen[place].tolist(), strict=True)
        told[column.name] = replace(column, unlearnt=tuple(word for word, has in cells if not has))
        _forget(inputs, place, column, seen[place])
    known = tuple(told.get(column.name, column) for column in columns.columns)
    return replace(dataset, inputs=inputs, preparation=replace(columns, columns=known))


def _categories(columns: Columns) -> Iterator[tuple[int, Column]]:
    """Yield the columns of words, each after the position of its first input."""
    place = 0
    for column in columns.columns:
        if column.kind == "category":
            yield place, column
        place += len(column.inputs)


def _seen(inputs: Tensor, train: Tensor, places: list[tuple[int, Column]]) -> dict[int, Tensor]:
    """Which words the training rows have, (words,) by position; once all were seen, no further."""
    seen = {place: torch.zeros(len(column.values), dtype=torch.bool) for place, column in places}
    for numbers in train.split(_ROWS_AT_ONCE):
        open_still = [(place, column) for place, column in places if not seen[place].all()]
        if not open_still:
            break
        rows = inputs.index_select(0, numbers)
        for place, column in open_still:
            if column.embedded:
                codes = rows[:, place].long().unique()
                seen[place][codes[codes > 0] - 1] = True
            else:
                seen[place] |= (rows[:, place : place + len(column.values)] > 0).any(dim=0)
    return seen


def _forget(inputs: Tensor, place: int, column: Column, seen: Tensor) -> None:
    """Make zeros of the words that no training row has."""
    if not column.embedded:
        inputs[:, place : place + len(seen)] *= seen
        return
    kept = torch.cat([torch.tensor([False]), seen])
    codes = inputs[:, place]
    codes *= kept[codes.long()]
