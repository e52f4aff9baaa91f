import math

import numpy as np
import pytest
import torch
from torch import nn

from brainnet.observation.statistics import (
    BUCKETS,
    bring_home,
    by_unit,
    cosine,
    histogram,
    histogram_from,
    norm,
    slope,
)
from brainnet.structure.activation import ACTIVATIONS, ThresholdRamp

TENSORS = {
    "normal": torch.randn(1000, generator=torch.Generator().manual_seed(0)),
    "matrix": torch.randn(30, 7, generator=torch.Generator().manual_seed(1)),
    "one": torch.tensor([3.5]),
    "constant": torch.full((10,), -2.0),
    "zeros": torch.zeros(5),
    "signed zeros": torch.tensor([0.0, -0.0]),
    "huge": torch.tensor([-3e38, 0.0, 3e38]),
    "largest doubles": torch.tensor([-1.7e308, 1.7e308], dtype=torch.float64),
    "denormal": torch.tensor([1e-45, 3e-45, 1e-44]),
    "half": torch.tensor([1.0, 2.0, 65504.0], dtype=torch.float16),
    "brain float": torch.tensor([1.0, 2.0, 3e38], dtype=torch.bfloat16),
    "whole numbers": torch.arange(10),
    "yes and no": torch.tensor([True, False, True]),
    "not all finite": torch.tensor([1.0, math.nan, math.inf, -math.inf, 2.0, 2.0]),
    "none finite": torch.tensor([math.nan, math.inf]),
    "empty": torch.zeros(0),
}


def found(values):
    return histogram_from(histogram(values).tolist())


@pytest.mark.parametrize("name", TENSORS)
def test_moments_agree_with_numpy_in_double_precision(name):
    values = TENSORS[name].double().numpy().reshape(-1)
    finite = values[np.isfinite(values)]
    seen = found(TENSORS[name])
    assert seen.count == len(finite)
    assert seen.non_finite == len(values) - len(finite)
    assert seen.minimum == (finite.min() if len(finite) else 0.0)
    assert seen.maximum == (finite.max() if len(finite) else 0.0)
    with np.errstate(over="ignore"):
        assert seen.total == pytest.approx(finite.sum())
        assert seen.total_of_squares == pytest.approx(np.square(finite).sum())


@pytest.mark.parametrize("name", TENSORS)
def test_buckets_hold_every_finite_value(name):
    seen = found(TENSORS[name])
    assert len(seen.buckets) == BUCKETS
    assert sum(seen.buckets) == seen.count


@pytest.mark.parametrize("name", ["normal", "matrix", "huge", "half", "not all finite"])
def test_buckets_agree_with_numpy(name):
    values = TENSORS[name].double()
    counts, _ = np.histogram(values[values.isfinite()].numpy(), bins=BUCKETS)
    assert found(TENSORS[name]).buckets == tuple(counts)


def test_a_gradient_of_an_embedding_counts_what_is_stored():
    embedding = nn.Embedding(10, 2, sparse=True)
    embedding(torch.tensor([1, 1, 4])).sum().backward()
    assert found(embedding.weight.grad).count == 4
    assert norm(embedding.weight.grad).item() == pytest.approx(math.sqrt(2 * 4 + 2))


def test_norm_takes_all_parts_as_one_vector():
    parts = [torch.tensor([[1.0, 2.0]]), torch.tensor(2.0), torch.zeros(0)]
    assert norm(*parts).item() == pytest.approx(3.0)


def test_norm_says_when_something_is_no_number():
    assert math.isnan(norm(torch.tensor([1.0, math.nan])).item())


def test_units_are_neurons_or_channels():
    image = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    assert torch.equal(by_unit(image, nn.Conv2d(1, 3, 1))[:, 2], image[:, 2].reshape(-1))
    sequence = torch.arange(2 * 6 * 3).reshape(2, 6, 3)
    assert torch.equal(by_unit(sequence, nn.Linear(1, 3)), sequence.reshape(12, 3))
    assert by_unit(torch.zeros(3), nn.Linear(1, 3)).shape == (1, 3)


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"identity"}))
def test_slope_is_the_derivative_as_a_share_of_the_steepest(name):
    activation = ACTIVATIONS[name]()
    sums = torch.linspace(-6, 6, 2001)
    shares = slope(activation, sums)
    step = 1e-3
    with torch.no_grad():
        ahead, behind = activation(sums.double() + step), activation(sums.double() - step)
    derivative = ((ahead - behind) / (2 * step)).abs()
    smooth = (derivative.diff().abs() < 0.05).nonzero().flatten()
    steepest = 0.25 if name == "sigmoid" else 1.0
    torch.testing.assert_close(
        shares.double()[smooth], derivative[smooth] / steepest, atol=2e-2, rtol=0
    )
    assert 0.99 <= shares.max() <= 1.2


def test_slope_of_a_ramp_is_measured_against_its_own_width():
    ramp = ThresholdRamp(torch.zeros(2), torch.tensor([0.5, 4.0]), neurons=2, learn_width=True)
    shares = slope(ramp, torch.tensor([[0.25, 0.25], [1.0, 1.0], [-1.0, -1.0]]))
    torch.testing.assert_close(shares, torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]))
    assert all(parameter.grad is None for parameter in ramp.parameters())


def test_slope_leaves_what_works_in_place_alone():
    sums = torch.tensor([-1.0, 1.0])
    assert slope(nn.ReLU(inplace=True), sums).tolist() == [0.0, 1.0]
    assert sums.tolist() == [-1.0, 1.0]
    assert not sums.requires_grad


@pytest.mark.parametrize("activation", [None, nn.Identity(), nn.RReLU(), nn.Softmax(dim=-1)])
def test_there_is_no_slope_where_it_would_mean_nothing_or_draw_random_numbers(activation):
    assert slope(activation, torch.zeros(3)) is None


def test_cosine_tells_direction_alone():
    first = torch.tensor([1.0, 2.0, 2.0])
    assert cosine(first, 5 * first).item() == pytest.approx(1.0)
    assert cosine(first, -first).item() == pytest.approx(-1.0)


def test_all_results_come_home_in_their_shapes_and_types():
    measured = {
        "number": torch.tensor(2**24 + 1, dtype=torch.int64),
        "row": torch.tensor([0.5, 1.5], dtype=torch.float16),
        "none": torch.zeros(0),
    }
    assert bring_home(measured) == {"number": [2.0**24 + 1], "row": [0.5, 1.5], "none": []}
    assert bring_home({}) == {}
