"""Whether scaling is what it says, can be undone, and survives a checkpoint."""

import io

import pytest
import torch

from brainnet.data.scaling import Scaling
from brainnet.errors import InputError

COLUMNS = torch.tensor([[1.0, 5.0, -2.0], [3.0, 5.0, 2.0], [5.0, 5.0, 6.0]])


def test_standard_makes_mean_zero_and_deviation_one():
    scaling = Scaling.fit(COLUMNS, "standard")
    assert scaling.shift == (3, 5, 2)
    assert scaling.scale == pytest.approx(((8 / 3) ** 0.5, 1, (32 / 3) ** 0.5))
    scaled = scaling.apply(COLUMNS)
    torch.testing.assert_close(scaled.mean(dim=0), torch.zeros(3))
    torch.testing.assert_close(scaled.std(dim=0, correction=0), torch.tensor([1.0, 0.0, 1.0]))


def test_minmax_makes_zero_to_one():
    expected = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, 0.5], [1.0, 0.0, 1.0]])
    assert torch.equal(Scaling.fit(COLUMNS, "minmax").apply(COLUMNS), expected)


def test_none_changes_nothing():
    assert torch.equal(Scaling.fit(COLUMNS, "none").apply(COLUMNS), COLUMNS)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e30])
def test_a_column_that_never_changes_becomes_zero(value):
    column = torch.full((7, 1), value)
    for kind in ("standard", "minmax"):
        assert torch.equal(Scaling.fit(column, kind).apply(column), torch.zeros(7, 1))


def test_a_large_mean_does_not_drown_the_deviation():
    column = torch.tensor([[100000.0], [100001.0]])
    assert Scaling.fit(column, "standard").scale == (0.5,)


@pytest.mark.parametrize("kind", ["standard", "minmax", "none"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_undo_takes_apply_back(kind, dtype):
    scaling = Scaling.fit(COLUMNS, kind)
    other = torch.tensor([[7.0, 5.0, 0.25]], dtype=dtype)
    scaled = scaling.apply(other)
    assert scaled.dtype == dtype
    torch.testing.assert_close(scaling.undo(scaled), other)


def test_it_survives_a_checkpoint_of_primitives():
    scaling = Scaling.fit(torch.randn(9, 4, generator=torch.Generator().manual_seed(0)), "standard")
    file = io.BytesIO()
    torch.save(scaling.to_dict(), file)
    file.seek(0)
    assert Scaling.from_dict(torch.load(file, weights_only=True)) == scaling


def test_other_columns_are_refused():
    with pytest.raises(InputError, match=r"measured on 3 columns; got values of shape \(2, 4\)"):
        Scaling.fit(COLUMNS, "standard").apply(torch.zeros(2, 4))


def test_an_unknown_kind_gets_the_nearest():
    with pytest.raises(InputError, match=r"got \'standart\'\. Did you mean standard\?"):
        Scaling.fit(COLUMNS, "standart")
