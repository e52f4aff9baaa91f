import numpy as np
import pytest
import torch

from brainnet.errors import InputError
from brainnet.observation.probe import check_sample, single_number


@pytest.mark.parametrize(
    "value", [0.5, np.float32(0.5), np.array([0.5]).item(), torch.tensor([[0.5]])]
)
def test_whatever_is_one_number_is_taken(value):
    number, trouble = single_number(value, "step()")
    assert (float(number), trouble) == (0.5, "")


@pytest.mark.parametrize("value", [torch.tensor(3), torch.tensor([True])])
def test_whole_numbers_become_such_as_have_a_mean(value):
    number, _ = single_number(value, "step()")
    assert number.mean() == float(value)


def test_nothing_is_no_number_and_no_trouble():
    assert single_number(None, "step()") == (None, "")


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("0.5", "the text '0.5'"),
        (torch.tensor(1j), "a tensor of torch.complex64"),
        (torch.zeros(0), "shape (0,)"),
        (1j, "of type complex"),
        (10**400, "of type int"),
    ],
)
def test_what_is_no_number_is_named(value, named):
    number, trouble = single_number(value, "step()")
    assert number is None
    assert trouble.startswith("step() needs a number or a tensor of one; got ")
    assert named in trouble


def test_a_sample_is_a_pair_of_tensors_or_none():
    check_sample(None)
    check_sample([torch.zeros(2), torch.zeros(2)])
    with pytest.raises(InputError, match="its targets are of type ndarray"):
        check_sample((torch.zeros(2), np.zeros(2)))
