"""Loader: batches cut from tensors that already lie on the training device."""

from collections.abc import Iterator

import torch
from torch import Tensor

from brainnet.data.checks import check_seed, check_whole_number
from brainnet.data.randomness import Stream, generator
from brainnet.errors import InputError

# Rows are gathered for this many batches at once: 3.3 us a batch of 32 x 64 on a CPU, against 7.5
# when each batch is gathered alone, and yet no second copy of a large data set.
_BATCHES_PER_GATHER = 64


class RowOrder:
    """The order in which one rank sees its rows: a pure function of seed and epoch.

    Every rank gets equally many rows, so that none waits for another. When shuffling, the few left
    over sit out this epoch; otherwise the shares are filled up with rows from the start, as
    `torch.utils.data.DistributedSampler` does, and no row is missed.
    """

    def __init__(self, rows: int, *, shuffle: bool, seed: int, rank: int, world_size: int) -> None:
        self.rows = rows
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls this before each, also after a resume."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return how many rows each rank sees in an epoch."""
        return self.rows // self.world_size if self.shuffle else -(-self.rows // self.world_size)

    def indices(self) -> Tensor:
        """Return this rank's row numbers for the chosen epoch, int64, on the CPU."""
        # Always drawn on the CPU: the order must not depend on the device.
        if self.shuffle:
            chosen = generator(self.seed, Stream.ORDER, self.epoch)
            order = torch.randperm(self.rows, generator=chosen)
        else:
            order = torch.arange(len(self) * self.world_size) % self.rows
        # Strided, so that the ranks' batches together are the batch a single rank would see.
        return order[: len(self) * self.world_size][self.rank :: self.world_size]


class InMemoryLoader:
    """Iterates over (inputs, targets) batches; the last may be shorter.

    Without `shuffle` the rows come as they are. With it, call `loader.sampler.set_epoch(epoch)`
    before each epoch (Lightning does) or every epoch has the order of the first. Batches are
    copies: changing one in place leaves the data alone.

    Shape:
        inputs: (rows, inputs)

    Raises:
        InputError: the tensors do not match, the batch size is not positive, or there are fewer
            rows than ranks.

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
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if len(inputs) != len(targets):
            raise InputError(
                f"each row of inputs needs one target; got {len(inputs)} and {len(targets)}."
            )
        if len(inputs) < world_size:
            raise InputError(
                f"{len(inputs)} rows cannot be shared out among {world_size} processes. "
                "Train on fewer devices or with more rows."
            )
        self.inputs = inputs
        self.targets = targets
        self.batch_size = check_whole_number("batch_size", batch_size, least=1)
        self.sampler = RowOrder(
            len(inputs), shuffle=shuffle, seed=check_seed(seed), rank=rank, world_size=world_size
        )

    def __len__(self) -> int:
        """Return how many batches this rank sees in an epoch."""
        return -(-len(self.sampler) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (inputs, targets) with at most `batch_size` rows, in this epoch's order."""
        order = self.sampler.indices().to(self.inputs.device)
        for rows in order.split(self.batch_size * _BATCHES_PER_GATHER):
            inputs = self.inputs.index_select(0, rows).split(self.batch_size)
            targets = self.targets.index_select(0, rows).split(self.batch_size)
            yield from zip(inputs, targets, strict=True)
