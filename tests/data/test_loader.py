"""Tests of the in-memory loader."""

import pytest
import torch

from brainnet.data.loader import InMemoryLoader
from brainnet.errors import InputError


def loader(count=10, **options):
    inputs = torch.arange(count).float().unsqueeze(1)
    return InMemoryLoader(inputs, torch.arange(count), **{"batch_size": 3, **options})


def load_targets(loader_):
    return torch.cat([targets for _, targets in loader_]).tolist()


def test_rows_are_in_order_without_shuffle():
    assert [targets.tolist() for _, targets in loader()] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]


@pytest.mark.parametrize("rows", [1, 3, 10, 1000])
@pytest.mark.parametrize("batch_size", [1, 3, 5000])
def test_each_row_occurs_once_per_epoch_with_its_target(rows, batch_size):
    shuffled = loader(rows, batch_size=batch_size, shuffle=True)
    batches = list(shuffled)
    assert len(batches) == len(shuffled)
    assert sorted(load_targets(shuffled)) == list(range(rows))
    for inputs, targets in batches:
        assert inputs.flatten().tolist() == targets.tolist()


def test_order_depends_only_on_seed_and_epoch():
    def order(seed, epoch):
        shuffled = loader(50, shuffle=True, seed=seed)
        shuffled.sampler.set_epoch(epoch)
        return load_targets(shuffled)

    orders = {(seed, epoch): order(seed, epoch) for seed in range(3) for epoch in range(3)}
    assert len({tuple(rows) for rows in orders.values()}) == 9

    walked = loader(50, shuffle=True, seed=1)
    for epoch in (0, 2, 1, 2):
        walked.sampler.set_epoch(epoch)
        assert load_targets(walked) == orders[1, epoch]


def test_order_does_not_use_the_global_generator():
    before = torch.get_rng_state()
    list(loader(shuffle=True))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("world_size", [2, 3])
def test_shuffled_ranks_are_equal_and_disjoint(world_size):
    ranks = [loader(20, shuffle=True, rank=r, world_size=world_size) for r in range(world_size)]
    shares = [load_targets(rank) for rank in ranks]
    rows = [row for share in shares for row in share]
    assert {len(share) for share in shares} == {20 // world_size}
    assert len({len(rank) for rank in ranks}) == 1
    assert len(set(rows)) == len(rows)


def test_unused_rows_change_with_the_epoch():
    missed = set()
    for epoch in range(20):
        rows = set()
        for rank in range(3):
            share = loader(5, shuffle=True, rank=rank, world_size=3)
            share.sampler.set_epoch(epoch)
            rows.update(load_targets(share))
        missed.add(frozenset(range(5)) - rows)
    assert len(missed) > 5


def test_ordered_ranks_repeat_the_first_rows():
    assert [load_targets(loader(7, rank=rank, world_size=3)) for rank in range(3)] == [
        [0, 3, 6],
        [1, 4, 0],
        [2, 5, 1],
    ]


def test_batches_of_all_ranks_equal_the_batch_of_one_rank():
    alone = [set(targets.tolist()) for _, targets in loader(12, batch_size=4, shuffle=True)]
    ranks = [loader(12, batch_size=2, shuffle=True, rank=r, world_size=2) for r in range(2)]
    together = [
        {*first.tolist(), *second.tolist()} for (_, first), (_, second) in zip(*ranks, strict=True)
    ]
    assert together == alone


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("rows", "world_size"), [(7, 1), (7, 2), (8, 2), (9, 4), (10, 4), (4, 4)])
def test_each_row_is_unique_to_one_rank(rows, world_size, shuffle):
    options = {"batch_size": 2, "shuffle": shuffle, "world_size": world_size}
    unique = [
        row
        for rank in range(world_size)
        for batches in [loader(rows, rank=rank, **options)]
        for number, (_, targets) in enumerate(batches)
        for row in targets[: batches.count_unique_rows(number)].tolist()
    ]
    assert len(unique) == (rows // world_size * world_size if shuffle else rows)
    assert len(set(unique)) == len(unique)


def test_batches_are_copies():
    batches = loader()
    for inputs, targets in batches:
        inputs.zero_()
        targets.zero_()
    assert load_targets(batches) == list(range(10))


def test_too_few_rows_are_rejected():
    with pytest.raises(InputError, match="2 rows cannot be divided among 4 processes"):
        loader(2, world_size=4)


def test_a_part_is_loaded_by_row_indices():
    part = torch.tensor([8, 2, 5, 3], dtype=torch.int64)
    assert load_targets(loader(rows=part)) == [8, 2, 5, 3]
    shuffled = loader(rows=part, shuffle=True)
    assert sorted(load_targets(shuffled)) == [2, 3, 5, 8]
    assert len(shuffled) == 2
    with pytest.raises(InputError, match="4 rows cannot be divided among 5 processes"):
        loader(rows=part, world_size=5)


def test_transform_is_called_for_many_batches():
    calls = []

    def double(inputs, targets):
        calls.append(len(inputs))
        return inputs.mul_(2), targets

    batches = loader(400, transform=double)
    for inputs, targets in batches:
        assert inputs.flatten().tolist() == [2 * target for target in targets.tolist()]
    assert calls == [192, 192, 16]
    assert batches.inputs[1].item() == 1


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_batches_on_the_gpu_have_the_order_of_the_cpu():
    inputs, targets = torch.arange(100.0).unsqueeze(1).cuda(), torch.arange(100).cuda()
    batches = list(InMemoryLoader(inputs, targets, batch_size=8, shuffle=True))
    assert all(part.is_cuda for batch in batches for part in batch)
    assert torch.cat([targets for _, targets in batches]).tolist() == load_targets(
        loader(100, batch_size=8, shuffle=True)
    )
