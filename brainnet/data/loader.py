"""Loader: batches cut from tensors that already lie on the training device."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.data import SequentialSampler

from brainnet.data.split import RandomStream, create_generator, row_type
from brainnet.data.validation import check_seed, check_whole_number
from brainnet.errors import InputError

# Rows are gathered for this many batches at once: 2.6 us a batch of 32 x 64 on a CPU, against 7.5
# when each batch is gathered alone, and yet no second copy of a large data set.
_BATCHES_PER_GATHER = 64

_CELLS_PER_GATHER = 1 << 20  # 4 MB of float32


class ShuffledOrder:
    """Another random order each epoch: a pure function of seed and epoch.

    Every rank gets equally many rows, no two the same one; the few that are left over sit out this
    epoch. The order is drawn on the CPU, so that it is the same on every device.
    """

    def __init__(self, rows: int, *, seed: int, rank: int, world_size: int) -> None:
        self.rows = rows
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls this before each, also after a resume."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return how many rows each rank sees in an epoch."""
        return self.rows // self.world_size

    @property
    def own(self) -> int:
        """How many of this rank's rows no other rank has."""
        return len(self)

    def indices(self) -> Tensor:
        """Return this rank's row numbers for the chosen epoch, of the type of `row_type`."""
        chosen = create_generator(self.seed, RandomStream.ORDER, self.epoch)
        order = torch.randperm(self.rows, generator=chosen, dtype=row_type(self.rows))
        # Strided, so that the ranks' batches together are the batch a single rank would see.
        return order[: len(self) * self.world_size][self.rank :: self.world_size]


class PlainOrder(SequentialSampler):
    """The rows as they are, which Lightning knows by torch's class `SequentialSampler`.

    Every rank gets equally many; the shares are filled up with rows from the start, as
    `torch.utils.data.DistributedSampler` does, so no row is missed.
    """

    def __init__(self, rows: int, *, rank: int, world_size: int) -> None:
        super().__init__(range(rows))
        self.rows = rows
        self.rank = rank
        self.world_size = world_size

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: every epoch is the same."""

    def __len__(self) -> int:
        """Return how many rows each rank sees in an epoch."""
        return -(-self.rows // self.world_size)

    @property
    def own(self) -> int:
        """How many of this rank's rows, from its first on, no other rank has."""
        return len(range(self.rank, self.rows, self.world_size))

    def __iter__(self) -> Iterator[int]:
        """Yield this rank's row numbers."""
        return iter(self.indices().tolist())

    def indices(self) -> Tensor:
        """Return this rank's row numbers, of the type of `row_type`."""
        filled = len(self) * self.world_size
        return torch.arange(self.rank, filled, self.world_size, dtype=row_type(filled)) % self.rows


class InMemoryLoader:
    """Iterates over (inputs, targets) batches; the last may be shorter.

    Without `shuffle` the rows come as they are. With it, call `loader.sampler.set_epoch(epoch)`
    before each epoch (Lightning does) or every epoch has the order of the first. Batches are
    copies: changing one in place leaves the data alone.

    Args:
        inputs: the inputs of all rows, on the training device.
        targets: their targets, there too.
        part: the numbers of the rows to hand over, there too; all of them where None.
        ready: makes (inputs, targets) as they lie in memory, a fresh copy, into what is handed
            over; called for many batches at once.
        batch_size: rows per batch.
        shuffle: whether each epoch has another order.
        seed: what the order follows from.
        rank: of this process.
        world_size: how many processes share the rows.

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
        part: Tensor | None = None,
        ready: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if len(inputs) != len(targets):
            raise InputError(
                f"each row of inputs needs one target; got {len(inputs)} and {len(targets)}."
            )
        rows, seed = len(inputs if part is None else part), check_seed(seed)
        if rows < world_size:
            raise InputError(
                f"{rows} rows cannot be shared out among {world_size} processes. "
                "Train on fewer devices or with more rows."
            )
        self.inputs = inputs
        self.targets = targets
        self.part = part
        self.ready = ready
        self.batch_size = check_whole_number("batch_size", batch_size, least=1)
        self.sampler = (
            ShuffledOrder(rows, seed=seed, rank=rank, world_size=world_size)
            if shuffle
            else PlainOrder(rows, rank=rank, world_size=world_size)
        )
        # Lightning asks whatever has a sampler for a batch sampler too.
        self.batch_sampler = None

    def own_rows(self, batch: int) -> int:
        """Return how many rows of that batch, from its first on, no other rank has.

        Args:
            batch: its place in the epoch, from 0.
        """
        before = batch * self.batch_size
        return max(0, min(self.batch_size, self.sampler.own - before))

    def __len__(self) -> int:
        """Return how many batches this rank sees in an epoch."""
        return -(-len(self.sampler) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (inputs, targets) with at most `batch_size` rows, in this epoch's order."""
        order = self.sampler.indices().to(self.inputs.device)
        cells = self.batch_size * self.inputs[0].numel()
        most = max(1, min(_BATCHES_PER_GATHER, _CELLS_PER_GATHER // cells))
        for rows in order.split(self.batch_size * most):
            chosen = rows if self.part is None else self.part.index_select(0, rows)
            inputs = self.inputs.index_select(0, chosen)
            targets = self.targets.index_select(0, chosen)
            if self.ready is not None:
                inputs, targets = self.ready(inputs, targets)
            # "Unsafe" only where gradients flow into the whole: it spares each batch the notes of a
            # view, a tenth of the time.
            yield from zip(
                inputs.unsafe_split(self.batch_size),
                targets.unsafe_split(self.batch_size),
                strict=True,
            )
