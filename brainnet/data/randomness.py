"""Randomness: one seed, and a stream of random numbers of its own for every purpose."""

from enum import IntEnum

import numpy as np
import torch

from brainnet.data.checks import check_seed


class Stream(IntEnum):
    """What random numbers are drawn for; a new purpose must not disturb the others."""

    SPLIT = 0
    ORDER = 1


def generator(seed: int, stream: Stream, epoch: int = 0) -> torch.Generator:
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
