"""Tests of scaling."""

import io

import pytest
import torch

from brainnet.data.scaling import Scaling, scale_in_place
from brainnet.errors import InputError

COLUMNS = torch.tensor([[1.0, 5.0, -2.0], [3.0, 5.0, 2.0], [5.0, 5.0, 6.0]])


def test_standard_scaling_gives_mean_zero_and_deviation_one():
    scaling = Scaling.fit(COLUMNS, "standard")
    assert scaling.shift == (3, 5, 2)
    assert scaling.scale == pytest.approx(((8 / 3) ** 0.5, 1, (32 / 3) ** 0.5))
    scaled = scaling.apply(COLUMNS)
    torch.testing.assert_close(scaled.mean(dim=0), torch.zeros(3))
    torch.testing.assert_close(scaled.std(dim=0, correction=0), torch.tensor([1.0, 0.0, 1.0]))


def test_minmax_scaling_gives_zero_to_one():
    expected = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, 0.5], [1.0, 0.0, 1.0]])
    assert torch.equal(Scaling.fit(COLUMNS, "minmax").apply(COLUMNS), expected)


def test_none_changes_nothing():
    assert torch.equal(Scaling.fit(COLUMNS, "none").apply(COLUMNS), COLUMNS)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e30])
def test_constant_column_becomes_zero(value):
    column = torch.full((7, 1), value)
    for kind in ("standard", "minmax"):
        assert torch.equal(Scaling.fit(column, kind).apply(column), torch.zeros(7, 1))


def test_small_deviation_around_a_large_mean_is_exact():
    column = torch.tensor([[100000.0], [100001.0]])
    assert Scaling.fit(column, "standard").scale == (0.5,)


@pytest.mark.parametrize("kind", ["standard", "minmax", "none"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_undo_reverses_apply(kind, dtype):
    scaling = Scaling.fit(COLUMNS, kind)
    other = torch.tensor([[7.0, 5.0, 0.25]], dtype=dtype)
    scaled = scaling.apply(other)
    assert scaled.dtype == dtype
    torch.testing.assert_close(scaling.undo(scaled), other)


def test_scaling_is_restored_from_a_checkpoint():
    scaling = Scaling.fit(torch.randn(9, 4, generator=torch.Generator().manual_seed(0)), "standard")
    file = io.BytesIO()
    torch.save(scaling.to_dict(), file)
    file.seek(0)
    assert Scaling.from_dict(torch.load(file, weights_only=True)) == scaling


def test_other_columns_are_rejected():
    with pytest.raises(InputError, match=r"fitted on 3 columns; got values of shape \(2, 4\)"):
        Scaling.fit(COLUMNS, "standard").apply(torch.zeros(2, 4))


def test_unknown_kind_suggests_the_nearest():
    with pytest.raises(InputError, match=r"got \'standart\'\. Did you mean standard\?"):
        Scaling.fit(COLUMNS, "standart")


@pytest.mark.parametrize("kind", ["standard", "minmax"])
def test_fit_in_chunks_equals_fit_at_once(kind, monkeypatch):
    values = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0)) * 1000 + 1e5
    values[17, 1] = torch.nan
    chosen = torch.arange(0, 1000, 3, dtype=torch.int64)
    whole = Scaling.fit(values, kind, rows=chosen, impute=True)
    monkeypatch.setattr("brainnet.data.scaling._CHUNK_CELLS", 30)
    parts = Scaling.fit(values, kind, rows=chosen, impute=True)
    for numbers in ("shift", "scale", "fill"):
        assert getattr(parts, numbers) == pytest.approx(getattr(whole, numbers), rel=1e-12)
    alone = Scaling.fit(values[::3], kind, impute=True)
    assert alone.scale == pytest.approx(whole.scale, rel=1e-12)


def test_fit_in_chunks_equals_numpy(monkeypatch):
    monkeypatch.setattr("brainnet.data.scaling._CHUNK_CELLS", 30)
    values = torch.randn(200, 3, generator=torch.Generator().manual_seed(1)) * 10 + 1e4
    chosen = torch.tensor([199, 3, 77, 4, 5, 150], dtype=torch.int64)  # most parts have none
    scaling = Scaling.fit(values, "standard", rows=chosen)
    rows = values.double().numpy()[chosen.numpy()]
    assert scaling.shift == pytest.approx(rows.mean(axis=0), rel=1e-14)
    assert scaling.scale == pytest.approx(rows.std(axis=0), rel=1e-12)
    assert Scaling.fit(values, "standard", rows=chosen.flip(0)) == scaling
    low, high = rows.min(axis=0), rows.max(axis=0)
    minmax = Scaling.fit(values, "minmax", rows=chosen)
    assert (minmax.shift, minmax.scale) == (tuple(low), tuple(high - low))


def test_missing_numbers_are_ignored_and_filled_in():
    values = COLUMNS.clone()
    values[1] = torch.nan
    scaling = Scaling.fit(values, "standard", impute=True)
    assert scaling.fill == scaling.shift == (3, 5, 2)
    assert scaling.scale == (2, 1, 4)
    assert scaling.apply(values).tolist() == [[-1, 0, -1], [0, 0, 0], [1, 0, 1]]
    minmax = Scaling.fit(values, "minmax", impute=True)
    assert minmax.apply(values)[1].tolist() == [0.5, 0, 0.5]
    assert Scaling.from_dict(scaling.to_dict()) == scaling


def test_column_without_numbers_becomes_zero():
    values = COLUMNS.clone()
    values[:, 0] = torch.nan
    for kind in ("standard", "minmax", "none"):
        assert Scaling.fit(values, kind, impute=True).apply(values)[:, 0].tolist() == [0, 0, 0]


def test_channels_share_a_scale_and_codes_are_unchanged():
    values = torch.tensor([[0, 10, 100, 100], [20, 30, 100, 100]], dtype=torch.uint8)
    scaling = Scaling.fit(values, "minmax", channels=2)
    assert scaling.shift == (0, 0, 100, 100)
    assert scaling.scale == (30, 30, 1, 1)
    assert scaling.apply(values).tolist() == [
        [0, pytest.approx(1 / 3), 0, 0],
        [pytest.approx(2 / 3), 1, 0, 0],
    ]
    codes = Scaling.fit(COLUMNS, "standard", codes=[1, 2])
    assert torch.equal(codes.apply(COLUMNS)[:, 1:], COLUMNS[:, 1:])


def test_scaling_in_place_equals_apply():
    scaling = Scaling.fit(COLUMNS, "standard", impute=True)
    tensors = scaling.to_tensors(COLUMNS)
    values = COLUMNS.clone()
    values[0, 0] = torch.nan
    expected = scaling.apply(values)
    assert scale_in_place(values, tensors) is values
    assert torch.equal(values, expected)
    as_bytes = torch.tensor([[1, 5, 2]], dtype=torch.uint8)
    assert torch.equal(scale_in_place(as_bytes, tensors), scaling.apply(as_bytes))


@pytest.mark.parametrize("kind", ["standard", "minmax"])
def test_chunk_without_numbers_does_not_hide_later_ones(kind, monkeypatch):
    monkeypatch.setattr("brainnet.data.scaling._CHUNK_CELLS", 30)
    values = torch.randn(100, 3, generator=torch.Generator().manual_seed(1))
    values[:20, 1] = torch.nan
    scaling = Scaling.fit(values, kind, impute=True)
    numbers = values[20:, 1].double()
    low, high = numbers.min(), numbers.max()
    expected = {
        "standard": (numbers.mean(), numbers.std(correction=0)),
        "minmax": (low, high - low),
    }[kind]
    assert scaling.shift[1] == pytest.approx(expected[0].item(), rel=1e-12)
    assert scaling.scale[1] == pytest.approx(expected[1].item(), rel=1e-12)
    assert scaling.fill[1] == pytest.approx(numbers.mean().item(), rel=1e-12)
