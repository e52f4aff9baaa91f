"""Whether the streams of one seed are repeatable and apart."""

import pytest
import torch

from brainnet.data.split import RandomStream, create_generator, row_type
from brainnet.errors import InputError


def numbers(*key):
    return tuple(torch.rand(4, generator=create_generator(*key)).tolist())


def test_the_same_key_gives_the_same_numbers():
    assert numbers(7, RandomStream.ORDER, 2) == numbers(7, RandomStream.ORDER, 2)


def test_seeds_streams_and_epochs_do_not_meet():
    keys = [
        (seed, stream, epoch) for seed in range(4) for stream in RandomStream for epoch in range(4)
    ]
    assert len({numbers(*key) for key in keys}) == len(keys)


def test_a_negative_seed_is_refused():
    with pytest.raises(InputError, match="seed must be a whole number"):
        create_generator(-1, RandomStream.SPLIT)


def test_the_order_is_the_same_in_either_type_of_row_numbers():
    for rows in (10, 100_003):
        small, large = (
            torch.randperm(rows, generator=create_generator(1, RandomStream.ORDER), dtype=kind)
            for kind in (row_type(rows), torch.int64)
        )
        assert small.dtype == torch.int32
        assert torch.equal(small.long(), large)
    assert row_type(2**31) == torch.int64
