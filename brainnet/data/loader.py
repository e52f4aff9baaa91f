"""Loader: batches gathered from tensors on the training device."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.data import SequentialSampler

from brainnet.data.split import RandomStream, create_generator
from brainnet.errors import InputError

# Rows of this many batches are gathered at once: 2.6 us per batch of 32 x 64 on a CPU, against
# 7.5 us one batch at a time, and still no second copy of a large data set.
_BATCHES_PER_GATHER = 64
_CELLS_PER_GATHER = 1 << 20


class RowSampler(SequentialSampler):
    """Order of the rows of one rank in an epoch; all ranks get equally many rows.

    A shuffled order is a pure function of seed and epoch; the few rows that remain after the
    division are not used in this epoch. In stored order no row is missing: shares are filled up
    with rows from the start, as in `torch.utils.data.DistributedSampler`.
    """

    def __init__(self, rows: int, *, shuffle: bool, seed: int, rank: int, world_size: int) -> None:
        # Lightning replaces the sampler with `overfit_batches`, except for a SequentialSampler.
        super().__init__(range(rows))
        self.rows = rows
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls this before each epoch and after a resume."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of rows of each rank in an epoch."""
        return self.rows // self.world_size if self.shuffle else -(-self.rows // self.world_size)

    @property
    def unique_rows(self) -> int:
        """Number of this rank's first rows that no other rank has."""
        return min(len(self), len(range(self.rank, self.rows, self.world_size)))

    def __iter__(self) -> Iterator[int]:
        """Yield this rank's row indices."""
        return iter(self.draw_order().tolist())

    def draw_order(self) -> Tensor:
        """Return this rank's row indices for the chosen epoch."""
        total = len(self) * self.world_size
        if self.shuffle:
            generator = create_generator(self.seed, RandomStream.ORDER, self.epoch)
            order = torch.randperm(self.rows, generator=generator)[:total]
        else:
            order = torch.arange(total) % self.rows
        # Strided, so that the batches of all ranks together are the batch of a single rank.
        return order[self.rank :: self.world_size]


class InMemoryLoader:
    """Iterates over batches (inputs, targets), copies of the rows; the last may be smaller.

    With `shuffle`, call `loader.sampler.set_epoch(epoch)` before each epoch, as Lightning does.
    `rows` are the indices of the rows to load, and `transform` converts the gathered rows of many
    batches, possibly in place. The process `rank` loads its share of `world_size` equal ones.

    Shape:
        inputs: (rows, inputs)

    Example:
        >>> loader = InMemoryLoader(torch.eye(5), torch.arange(5), batch_size=2)
        >>> [targets.tolist() for inputs, targets in loader]
        [[0, 1], [2, 3], [4]]
        >>> len(loader)
        3
    """

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        *,
        batch_size: int,
        rows: Tensor | None = None,
        transform: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        count = len(inputs if rows is None else rows)
        if count < world_size:
            raise InputError(
                f"{count} rows cannot be divided among {world_size} processes. "
                "Train on fewer devices or with more rows."
            )
        self.inputs = inputs
        self.targets = targets
        self.rows = rows
        self.transform = transform
        self.batch_size = batch_size
        self.sampler = RowSampler(
            count, shuffle=shuffle, seed=seed, rank=rank, world_size=world_size
        )
        # Lightning expects this attribute on every loader that has a sampler.
        self.batch_sampler = None

    def count_unique_rows(self, batch: int) -> int:
        """Return how many of the first rows of a batch, by index, no other rank has."""
        return max(0, min(self.batch_size, self.sampler.unique_rows - batch * self.batch_size))

    def __len__(self) -> int:
        """Return the number of batches of this rank in an epoch."""
        return -(-len(self.sampler) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (inputs, targets) with at most `batch_size` rows, in the order of this epoch."""
        order = self.sampler.draw_order().to(self.inputs.device)
        batch_cells = self.batch_size * self.inputs[0].numel()
        batches = max(1, min(_BATCHES_PER_GATHER, _CELLS_PER_GATHER // batch_cells))
        for positions in order.split(self.batch_size * batches):
            rows = positions if self.rows is None else self.rows.index_select(0, positions)
            inputs = self.inputs.index_select(0, rows)
            targets = self.targets.index_select(0, rows)
            if self.transform is not None:
                inputs, targets = self.transform(inputs, targets)
            # `unsafe_split` skips the bookkeeping of views, a tenth of the time; it is unsafe only
            # if gradients flow into the gathered rows.
            yield from zip(
                inputs.unsafe_split(self.batch_size),
                targets.unsafe_split(self.batch_size),
                strict=True,
            )
