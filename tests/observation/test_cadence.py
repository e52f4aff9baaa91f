import pytest

from brainnet.errors import InputError
from brainnet.observation.cadence import check_stride, due, is_round


def test_looks_are_dense_at_first_then_at_each_stride():
    assert [step for step in range(201) if due(step, 50)] == [0, 1, 2, 5, 10, 20, 50, 100, 150, 200]


def test_a_stride_of_one_looks_at_every_step():
    assert all(due(step, 1) for step in range(100))


def test_round_counts_are_one_two_five_at_every_size():
    assert [n for n in range(2001) if is_round(n)] == [
        *(0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
    ]


@pytest.mark.parametrize("every", [0, -1, 2.5, True, "often"])
def test_a_stride_that_is_none_is_refused_with_the_key_to_set(every):
    with pytest.raises(InputError, match=r"observe\.every=50"):
        check_stride(every, "observe.every")
