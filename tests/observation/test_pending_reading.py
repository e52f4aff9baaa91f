import itertools
import math
from contextlib import closing
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from brainnet.kernels.histogram_layout import STATISTICS_LAYOUT
from brainnet.kernels.statistics import compute_statistics
from brainnet.observation.capabilities import ObservedModel
from brainnet.observation.pending_reading import AsyncTransfer, build_histogram, parse_stats
from brainnet.observation.step_observer import (
    StepObserver,
    _compute_dot,
    _compute_norm,
    _stack,
    _to_dense,
)

VALUES = [
    [0.0],
    [],
    [math.nan],
    [-1e30, 1e30],
    [1e-30, -1e-30, 0.0, 3.0],
    [-2.0, -1e-3, 5e-5, 1.0, 1.0],
    [math.inf, 1.0, -1.0],
    torch.randn(5000, generator=torch.Generator().manual_seed(0)).tolist(),
]


def read_row(row: torch.Tensor) -> SimpleNamespace:
    """Read a row of a statistics table column by column."""
    layout, floats = STATISTICS_LAYOUT, row.view(torch.float64).tolist()
    names = ("minimum", "maximum", "sum", "sum_of_squares")
    return SimpleNamespace(
        count=int(row[layout.count]),
        finite=int(row[layout.count] - row[layout.non_finite]),
        histogram=row[layout.first_bin :].tolist(),
        **{name: floats[getattr(layout, name)] for name in names},
    )


def merge_bins(row: SimpleNamespace) -> list[tuple[float, float, int]]:
    """Buckets (left, right, count), ascending and without gaps, one bin after the other.

    Zeros share a bucket with the values below `2**lowest` on both sides. Adjacent empty bins become
    one empty bucket.
    """
    layout, counts = STATISTICS_LAYOUT, row.histogram
    middle = layout.steps + 2
    ends = (
        min(row.minimum, -(2.0**layout.highest)),
        *layout.edges[: middle - 1],
        *layout.edges[middle + 1 :],
        max(row.maximum, math.nextafter(2.0**layout.highest, math.inf)),
    )
    merged = [*counts[: middle - 1], sum(counts[middle - 1 : middle + 2]), *counts[middle + 2 :]]
    filled = [(ends[bin], ends[bin + 1], count) for bin, count in enumerate(merged) if count]
    buckets = filled[:1]
    for (_, end, _), bucket in itertools.pairwise(filled):
        if end < bucket[0]:
            buckets.append((end, bucket[0], 0))
        buckets.append(bucket)
    return buckets


@pytest.mark.parametrize("values", [*([each] for each in VALUES), VALUES, VALUES[::-1]])
def test_histograms_equal_those_of_the_statistics_layout(values):
    table = compute_statistics([torch.tensor(each) for each in values])
    for row, whole in zip(parse_stats(table.numpy()), map(read_row, table), strict=True):
        found = build_histogram(row)
        assert (found.count, found.non_finite) == (whole.finite, whole.count - whole.finite)
        if whole.finite:
            _, edges, counts = zip(*merge_bins(whole), strict=True)
            assert (*found.edges, *found.buckets) == (*edges, *counts)
            assert (found.minimum, found.maximum) == (whole.minimum, whole.maximum)
            assert (found.total, found.total_of_squares) == (whole.sum, whole.sum_of_squares)
        else:
            assert (*found.edges, *found.buckets) == (0.0, 0)


def test_transfer_keeps_shapes_and_all_bits():
    contents = {
        ("whole", 0): torch.tensor([[2**62 + 1], [-3]]),
        ("number", 0): torch.tensor(0.1, dtype=torch.float64),
        ("half", 0): torch.tensor([0.5, 65504.0], dtype=torch.float16),
        ("odd", 0): torch.tensor([torch.inf, -torch.inf]),
        ("none", 0): torch.zeros(0, 4),
    }
    found = AsyncTransfer(contents).result()
    assert list(found) == list(contents)
    for name, tensor in contents.items():
        assert found[name].shape == tuple(tensor.shape)
        assert found[name].tolist() == tensor.tolist()
    assert AsyncTransfer({}).result() == {}


@pytest.mark.cuda
def test_transfer_from_a_gpu_is_asynchronous():
    busy = torch.randn(4096, 4096, device="cuda")
    for _ in range(50):
        busy = busy @ busy
    parcel = AsyncTransfer({("last", 0): busy[0, 0] * 0 + 1})
    assert not torch.cuda.current_stream().query()
    assert parcel.result()["last", 0].shape == ()


def observe(model, inputs, level="light"):
    optimizer = torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=0.1)
    with closing(StepObserver(ObservedModel(model), level=level)) as observed:
        model(inputs).square().mean().backward()
        observed.measure_gradients(model.parameters())
        optimizer.step()
        return observed.finish(step=0, epoch=0).resolve()


def test_non_finite_values_are_counted_and_left_out_of_histograms():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    with torch.no_grad():
        model[0].weight[0, 0] = math.nan
    resolved = observe(model, torch.ones(2, 3))
    assert math.isnan(resolved.reading.layers[0].weights_norm)
    assert math.isnan(resolved.reading.gradient_norm)
    assert resolved.histograms["weights/0"].non_finite == 1
    assert (
        resolved.histograms["weights/0"].count
        == sum(resolved.histograms["weights/0"].buckets)
        == 11
    )


def test_histograms_count_every_weight():
    model = nn.Sequential(nn.Linear(30, 40))
    values = model[0].weight.detach().clone()
    found = observe(model, torch.ones(2, 30)).histograms["weights/0"]
    place = torch.bucketize(values.flatten(), torch.tensor(found.edges, dtype=torch.float64))
    assert torch.bincount(place, minlength=len(found.edges)).tolist() == list(found.buckets)


def test_sparse_gradients_are_measured_by_their_stored_values():
    table = nn.Embedding(10, 2, sparse=True)
    model = nn.Sequential(table, nn.Linear(2, 1))
    for weights in model.parameters():
        nn.init.constant_(weights, 0.5)  # a steep slope for every seed
    before = model(torch.tensor([1, 1, 4])).square().mean()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    observed = StepObserver(ObservedModel(model))
    model(torch.tensor([1, 1, 4])).square().mean().backward()
    assert len(_to_dense(table.weight.grad)) == 2
    slope = sum(each.grad.to_dense().square().sum() for each in model.parameters())
    observed.measure_gradients(model.parameters())
    optimizer.step()
    reading = observed.finish(step=0, epoch=0).resolve().reading
    assert reading.gradient_norm == pytest.approx(slope.sqrt().item())
    after = model(torch.tensor([1, 1, 4])).square().mean()
    assert reading.predicted_decrease == pytest.approx((before - after).item(), rel=1e-2)


def test_tied_weights_are_read_for_both_layers_and_counted_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    nn.init.constant_(model[0].bias, 2.0)  # so that no neuron is silent
    resolved = observe(model, torch.ones(2, 3))
    first, second = resolved.reading.layers
    assert first.weights_norm == second.weights_norm
    assert first.update_ratio == second.update_ratio > 0
    parts = [each.grad.square().sum().item() for each in model.parameters()]
    assert len(parts) == 3
    assert resolved.reading.gradient_norm == pytest.approx(math.sqrt(sum(parts)))


def test_bfloat16_weights_are_measured_exactly():
    model = nn.Sequential(nn.Linear(300, 200)).bfloat16()
    weights = model[0].weight.detach().double().clone()
    reading = observe(model, torch.ones(2, 300, dtype=torch.bfloat16)).reading
    assert reading.layers[0].weights_norm == pytest.approx(weights.norm().item())
    moved = (model[0].weight.detach().double() - weights).norm() / weights.norm()
    assert reading.layers[0].update_ratio == pytest.approx(moved.item(), rel=1e-2)


def test_norms_and_dot_products_of_half_precision_are_computed_in_float32():
    change = torch.full((300, 300), 1.0, dtype=torch.bfloat16)
    assert _compute_norm(change).item() == 300.0
    assert _compute_dot(change, change).item() == 90000.0
    assert _compute_norm(change.double()).dtype == torch.float64
    assert _compute_dot(change, change.double()).dtype == torch.float64


# 2026-12-01: PyTorch 2.11 warns even if the checks are switched on explicitly.
@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_dot_products_with_sparse_gradients_use_the_stored_rows():
    gradient = torch.sparse_coo_tensor([[1]], [[2.0, 3.0]], (3, 2), check_invariants=True)
    change = torch.tensor([[9.0, 9.0], [1.0, 10.0], [9.0, 9.0]])
    assert _compute_dot(gradient, change).item() == 32.0


def test_scalars_of_different_dtypes_are_stacked_exactly():
    exact = torch.tensor(1 + 2**-50, dtype=torch.float64)
    assert _stack([torch.tensor(0.5), exact]).tolist() == [0.5, exact.item()]
