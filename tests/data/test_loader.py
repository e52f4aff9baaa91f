"""Whether the loader hands over each row once, in the promised order, fairly among ranks."""

import pytest
import torch

from brainnet.data.loader import InMemoryLoader
from brainnet.errors import InputError


def loader(rows=10, **options):
    inputs = torch.arange(rows).float().unsqueeze(1)
    return InMemoryLoader(inputs, torch.arange(rows), **{"batch_size": 3, **options})


def seen(loader_):
    return torch.cat([targets for _, targets in loader_]).tolist()


def test_without_shuffle_rows_come_as_they_are():
    assert [targets.tolist() for _, targets in loader()] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]


@pytest.mark.parametrize("rows", [1, 3, 10, 1000])
@pytest.mark.parametrize("batch_size", [1, 3, 5000])
def test_each_row_comes_once_an_epoch_with_its_own_target(rows, batch_size):
    shuffled = loader(rows, batch_size=batch_size, shuffle=True)
    batches = list(shuffled)
    assert len(batches) == len(shuffled)
    assert sorted(seen(shuffled)) == list(range(rows))
    for inputs, targets in batches:
        assert inputs.flatten().tolist() == targets.tolist()


def test_the_order_is_a_function_of_seed_and_epoch_alone():
    def order(seed, epoch):
        shuffled = loader(50, shuffle=True, seed=seed)
        shuffled.sampler.set_epoch(epoch)
        return seen(shuffled)

    orders = {(seed, epoch): order(seed, epoch) for seed in range(3) for epoch in range(3)}
    assert len({tuple(rows) for rows in orders.values()}) == 9

    walked = loader(50, shuffle=True, seed=1)
    for epoch in (0, 2, 1, 2):
        walked.sampler.set_epoch(epoch)
        assert seen(walked) == orders[1, epoch]


def test_the_order_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    list(loader(shuffle=True))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("world_size", [2, 3])
def test_shuffled_shares_are_equal_and_disjoint(world_size):
    ranks = [loader(20, shuffle=True, rank=r, world_size=world_size) for r in range(world_size)]
    shares = [seen(rank) for rank in ranks]
    rows = [row for share in shares for row in share]
    assert {len(share) for share in shares} == {20 // world_size}
    assert len({len(rank) for rank in ranks}) == 1
    assert len(set(rows)) == len(rows)


def test_the_rows_left_over_change_from_epoch_to_epoch():
    missed = set()
    for epoch in range(20):
        rows = set()
        for rank in range(3):
            share = loader(5, shuffle=True, rank=rank, world_size=3)
            share.sampler.set_epoch(epoch)
            rows.update(seen(share))
        missed.add(frozenset(range(5)) - rows)
    assert len(missed) > 5


def test_shares_in_order_miss_no_row_and_repeat_the_first():
    assert [seen(loader(7, rank=rank, world_size=3)) for rank in range(3)] == [
        [0, 3, 6],
        [1, 4, 0],
        [2, 5, 1],
    ]


def test_the_ranks_batches_together_are_the_batch_of_one_rank():
    alone = [set(targets.tolist()) for _, targets in loader(12, batch_size=4, shuffle=True)]
    ranks = [loader(12, batch_size=2, shuffle=True, rank=r, world_size=2) for r in range(2)]
    together = [
        {*first.tolist(), *second.tolist()} for (_, first), (_, second) in zip(*ranks, strict=True)
    ]
    assert together == alone


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("rows", "world_size"), [(7, 1), (7, 2), (8, 2), (9, 4), (10, 4), (4, 4)])
def test_each_row_is_the_own_of_one_rank(rows, world_size, shuffle):
    options = {"batch_size": 2, "shuffle": shuffle, "world_size": world_size}
    found = [
        row
        for rank in range(world_size)
        for batches in [loader(rows, rank=rank, **options)]
        for number, (_, targets) in enumerate(batches)
        for row in targets[: batches.own_rows(number)].tolist()
    ]
    assert len(found) == (rows // world_size * world_size if shuffle else rows)
    assert len(set(found)) == len(found)


def test_changing_a_batch_leaves_the_data_alone():
    batches = loader()
    for inputs, targets in batches:
        inputs.zero_()
        targets.zero_()
    assert seen(batches) == list(range(10))


def test_bad_options_are_refused():
    for batch_size in (0, -1, 2.0, True, None):
        with pytest.raises(InputError, match="batch_size must be a whole number of 1 or more"):
            loader(batch_size=batch_size)
    with pytest.raises(InputError, match="one target; got 3 and 2"):
        InMemoryLoader(torch.zeros(3, 1), torch.zeros(2), batch_size=1)
    with pytest.raises(InputError, match="2 rows cannot be shared out among 4 processes"):
        loader(2, world_size=4)


def test_a_part_is_gathered_from_the_rows_of_all():
    part = torch.tensor([8, 2, 5, 3], dtype=torch.int32)
    assert seen(loader(part=part)) == [8, 2, 5, 3]
    shuffled = loader(part=part, shuffle=True)
    assert sorted(seen(shuffled)) == [2, 3, 5, 8]
    assert len(shuffled) == 2
    with pytest.raises(InputError, match="4 rows cannot be shared out among 5 processes"):
        loader(part=part, world_size=5)


def test_rows_are_made_ready_many_at_once():
    calls = []

    def ready(inputs, targets):
        calls.append(len(inputs))
        return inputs.mul_(2), targets

    batches = loader(400, ready=ready)
    for inputs, targets in batches:
        assert inputs.flatten().tolist() == [2 * target for target in targets.tolist()]
    assert calls == [192, 192, 16]
    assert batches.inputs[1].item() == 1


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_batches_lie_on_the_gpu_in_the_order_of_the_cpu():
    inputs, targets = torch.arange(100.0).unsqueeze(1).cuda(), torch.arange(100).cuda()
    batches = list(InMemoryLoader(inputs, targets, batch_size=8, shuffle=True))
    assert all(part.is_cuda for batch in batches for part in batch)
    assert torch.cat([targets for _, targets in batches]).tolist() == seen(
        loader(100, batch_size=8, shuffle=True)
    )
