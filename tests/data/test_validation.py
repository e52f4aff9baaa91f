"""Tests of checks of options."""

import math

import numpy as np
import pytest
import torch

from brainnet.data.validation import (
    check_number,
    check_whole_number,
    report_warning,
    suppress_warnings,
)
from brainnet.errors import InputError


def test_valid_numbers_are_returned():
    assert check_whole_number("rows", 3, least=3) == 3
    value = check_number("noise", 2, least=0)
    assert value == 2.0
    assert isinstance(value, float)


@pytest.mark.parametrize("value", [np.int64(4), np.uint8(4), np.array(4), torch.tensor(4)])
def test_whole_numbers_of_other_types_become_int(value):
    found = check_whole_number("rows", value, least=3)
    assert (type(found), found) == (int, 4)


@pytest.mark.parametrize("value", [np.float32(0.5), np.float64(0.5), np.int64(1)])
def test_numbers_of_other_types_become_float(value):
    found = check_number("noise", value, least=0)
    assert (type(found), found) == (float, float(value))


@pytest.mark.parametrize(
    "value", [2, 6, 3.0, True, "3", None, np.float32(4), np.True_, torch.tensor(4.0), torch.ones(2)]
)
def test_whole_numbers_out_of_range_are_rejected(value):
    with pytest.raises(InputError, match="rows must be a whole number from 3 to 5; got "):
        check_whole_number("rows", value, least=3, most=5)


@pytest.mark.parametrize("value", [-1, math.inf, math.nan, True, "3", None])
def test_invalid_numbers_are_rejected(value):
    with pytest.raises(InputError, match="noise must be a finite number of 0 or more; got "):
        check_number("noise", value, least=0)


def test_warnings_can_be_suppressed(caplog):
    report_warning("once")
    with suppress_warnings():
        report_warning("never")
    report_warning("twice")
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["brainnet: warning: once", "brainnet: warning: twice"]
