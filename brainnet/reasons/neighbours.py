"""Neighbours: the training rows most like one row, as the network sees rows: scaled."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

NEAREST = 5
"""Neighbours that are told."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A training row near the row in question.

    Attributes:
        row: its number in the run's data, from 0.
        distance: the Euclidean distance between the scaled inputs; a code that differs counts 1.
        right: the right answer to it: its class, or its numbers.
    """

    row: int
    distance: float
    right: str


def nearest(
    row: Tensor,
    training: Iterable[tuple[Tensor, Tensor]],
    *,
    codes: Sequence[int] = (),
    without: int | None = None,
    count: int = NEAREST,
) -> list[tuple[int, float]]:
    """Find the training rows nearest to a row: their numbers and distances, the nearest first.

    Args:
        row: scaled, (inputs,).
        training: pieces of the training rows: their numbers, and their scaled inputs
            (rows, inputs), so that they need never lie in memory together.
        codes: columns that are codes: they differ or they do not.
        without: the number of the row itself, where it is among them.
        count: how many to find.

    Example:
        >>> rows = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
        >>> nearest(torch.zeros(2), [(torch.tensor([7, 8, 9]), rows)], without=7)
        [(9, 1.0), (8, 5.0)]
    """
    best: list[tuple[float, int]] = []
    for numbers, inputs in training:
        apart = inputs.double() - row.double()
        if codes:
            places = list(codes)
            apart[:, places] = (apart[:, places] != 0).double()
        distances = apart.square().sum(dim=1).sqrt()
        if without is not None:
            distances = distances.masked_fill(numbers == without, torch.inf)
        least = distances.topk(min(count, len(distances)), largest=False)
        found = zip(least.values.tolist(), numbers[least.indices].tolist(), strict=True)
        best = sorted([*best, *(each for each in found if each[0] < torch.inf)])[:count]
    return [(number, distance) for distance, number in best]
