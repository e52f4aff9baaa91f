"""Statistics of every CPU implementation against NumPy in float64 and exact Python sums."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from brainnet.errors import InputError
from brainnet.kernels import build, dispatch, statistics_reference
from brainnet.kernels.histogram_layout import STATISTICS_LAYOUT as LAYOUT
from brainnet.kernels.statistics import STATISTICS_DTYPES, compute_statistics, create_table

INFINITY, NAN = float("inf"), float("nan")
Choose = Callable[[str], None]
PATHS = [
    "reference",
    pytest.param(
        "auto",
        marks=[
            pytest.mark.native,
            pytest.mark.skipif(
                build.find_library() is None, reason="not built: brainnet kernels build"
            ),
        ],
    ),
]


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Each path in turn, with fresh memory full of rubbish, so that an unwritten cell is seen."""
    monkeypatch.setenv("BRAINNET_KERNELS", request.param)
    dispatch.reset_dispatch()
    torch.use_deterministic_algorithms(True)
    if request.param == "auto":
        assert dispatch.read_status()["cpu"]["path"] == "native"
    yield request.param
    torch.use_deterministic_algorithms(False)
    monkeypatch.undo()
    dispatch.reset_dispatch()


@dataclass(frozen=True)
class TensorStatistics:
    """One row of a statistics table, as plain numbers."""

    count: int
    non_finite: int
    minimum: float
    maximum: float
    sum: float
    sum_of_squares: float
    histogram: tuple[int, ...]

    @property
    def finite(self) -> int:
        return self.count - self.non_finite


def read_statistics(table: Tensor) -> list[TensorStatistics]:
    moments = [LAYOUT.minimum, LAYOUT.maximum, LAYOUT.sum, LAYOUT.sum_of_squares]
    return [
        TensorStatistics(
            int(row[LAYOUT.count]),
            int(row[LAYOUT.non_finite]),
            *row.view(torch.float64)[moments].tolist(),
            tuple(row[LAYOUT.first_bin :].tolist()),
        )
        for row in table
    ]


def drawn(size: int, scale: float = 1.0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(size), dtype=torch.float64) * (
        scale
    )


def adversarial() -> dict[str, Tensor]:
    """Tensors in float64, as awkward as weights and gradients come; other dtypes round them."""
    one = torch.tensor
    odd = one([NAN, -NAN, INFINITY, -INFINITY, 0.0, -0.0, 1e-45, -1e-45, 3e-39, -6e-8, 1e-310])
    edges = one([sign * edge for edge in LAYOUT.edges for sign in (1, -1)])
    around = torch.cat([edges, torch.nextafter(edges, one(INFINITY).double().expand_as(edges))])
    mixed = drawn(5003)
    mixed[::7] = odd.double().repeat(70)[: len(mixed[::7])]
    return {
        "weights": drawn(70_001, 0.02),
        "gradients": drawn(131_072, 1e-5),
        "mixed": mixed,
        "odd": odd.double(),
        "edges": around,
        "float32_edges": torch.nextafter(edges.float(), torch.tensor(0.0)).double(),
        "denormals": drawn(100) * 1e-40,
        "every_magnitude": torch.from_numpy(np.ldexp([[1.0], [-0.7]], np.arange(-1074, 1023))),
        "huge": drawn(1000) * 1e38,
        "zeros": torch.zeros(33),
        "negative_zeros": -torch.zeros(40, dtype=torch.float64),
        "constant": torch.full((2049,), -0.3, dtype=torch.float64),
        "all_nan": torch.full((65,), NAN, dtype=torch.float64),
        "empty": torch.empty(0),
        "empty_matrix": torch.empty(3, 0, 2),
        "one": one([3.25], dtype=torch.float64),
        "scalar": one(-7.0, dtype=torch.float64),
        "one_more_than_a_chunk": drawn(65_537),
    }


def bins_of(values: np.ndarray) -> np.ndarray:
    """The bins by `frexp`, with no bit in sight."""
    fraction, exponent = np.frexp(np.abs(values))
    quarter = np.floor(fraction * 2 * LAYOUT.per_octave).astype(int) - LAYOUT.per_octave
    step = (exponent - 1 - LAYOUT.lowest) * LAYOUT.per_octave + quarter
    return np.sign(values).astype(int) * (step.clip(-1, LAYOUT.steps) + 2) + LAYOUT.steps + 2


def expected(tensor: Tensor) -> TensorStatistics:
    values = tensor.detach().resolve_neg().to(torch.float64).numpy().reshape(-1)
    finite = values[np.isfinite(values)]
    bins = np.bincount(bins_of(finite), minlength=LAYOUT.bins)
    with np.errstate(over="ignore"):
        squares = float(np.square(finite).sum())
    return TensorStatistics(
        count=values.size,
        non_finite=values.size - finite.size,
        minimum=float(finite.min()) if finite.size else INFINITY,
        maximum=float(finite.max()) if finite.size else -INFINITY,
        sum=math.fsum(finite.tolist()),
        sum_of_squares=squares,
        histogram=tuple(bins.tolist()),
    )


def assert_same(actual: TensorStatistics, wanted: TensorStatistics, slack: float = 1e-12) -> None:
    """Counts and extremes to the last; sums within float64's rounding of their terms."""
    assert replace(actual, sum=0.0, sum_of_squares=0.0) == replace(
        wanted, sum=0.0, sum_of_squares=0.0
    )
    assert math.copysign(1, actual.minimum) == math.copysign(1, wanted.minimum + 0.0)
    assert math.copysign(1, actual.maximum) == math.copysign(1, wanted.maximum + 0.0)
    largest = max(abs(wanted.minimum), abs(wanted.maximum)) if wanted.finite else 0.0
    assert abs(actual.sum - wanted.sum) <= 4e-15 * wanted.finite * largest
    assert actual.sum_of_squares == pytest.approx(wanted.sum_of_squares, rel=slack, abs=0.0)


@pytest.mark.parametrize("dtype", STATISTICS_DTYPES)
def test_adversarial_tensors_alone_and_as_one_list(path: str, dtype: torch.dtype) -> None:
    tensors = [tensor.to(dtype) for tensor in adversarial().values()]
    together = compute_statistics(tensors)
    for row, tensor in enumerate(tensors):
        alone = compute_statistics([tensor])
        assert torch.equal(together[row], alone[0])
        assert_same(read_statistics(alone)[0], expected(tensor))


def test_dtypes_mix_in_one_list(path: str) -> None:
    tensors = [drawn(3000).to(dtype) for dtype in STATISTICS_DTYPES]
    for actual, tensor in zip(read_statistics(compute_statistics(tensors)), tensors, strict=True):
        assert_same(actual, expected(tensor))


@pytest.mark.parametrize("dtype", STATISTICS_DTYPES)
@pytest.mark.parametrize(
    "layout",
    ["transposed", "strided", "expanded", "channels_last", "sliced", "flipped", "permuted", "neg"],
)
def test_layouts(path: str, dtype: torch.dtype, layout: str) -> None:
    base = drawn(12 * 10 * 8 * 6).view(12, 10, 8, 6).to(dtype)
    tensor = {
        "transposed": base.transpose(1, 3),
        "strided": base[:, :, ::2, ::3],
        "expanded": base[:1].expand(12, 10, 8, 6),
        "channels_last": base.to(memory_format=torch.channels_last),
        "sliced": base[..., 1:],
        "flipped": base.flip(0),
        "permuted": base.permute(3, 1, 0, 2),
        "neg": torch._neg_view(base),
    }[layout]
    assert_same(read_statistics(compute_statistics([tensor]))[0], expected(tensor))


@pytest.mark.parametrize("dtype", STATISTICS_DTYPES)
def test_adding_to_a_table_equals_merging(path: str, dtype: torch.dtype) -> None:
    first = [drawn(5000).to(dtype), torch.tensor([NAN, -0.0]).to(dtype), torch.empty(0).to(dtype)]
    second = [drawn(70_000).to(dtype), torch.tensor([1.0]).to(dtype), torch.ones(3).to(dtype)]
    table = compute_statistics(first)
    merged = statistics_reference.add_table(table.clone(), compute_statistics(second))
    assert compute_statistics(second, into=table) is table
    # One chunk after the other, where merging adds their sum.
    for actual, wanted, one, other in zip(
        read_statistics(table), read_statistics(merged), first, second, strict=True
    ):
        assert_same(actual, wanted)
        assert_same(actual, expected(torch.cat([one, other])))


def test_adding_parts_of_integers_is_exact(path: str) -> None:
    whole = torch.arange(-4000.0, 4000.0)
    table = create_table(1)
    for part in whole.split(1000):
        statistics_reference.add_table(table, compute_statistics([part]))
    assert read_statistics(table) == read_statistics(compute_statistics([whole]))


def test_empty_list(path: str) -> None:
    assert compute_statistics([]).shape == (0, LAYOUT.width)
    assert torch.equal(create_table(1), compute_statistics([torch.ones(0)]))
    nothing = read_statistics(create_table(1))[0]
    assert (nothing.count, nothing.minimum, nothing.maximum) == (0, INFINITY, -INFINITY)


def test_results_do_not_depend_on_the_number_of_threads(path: str) -> None:
    tensors = [drawn(size).float() for size in (300_000, 17, 65_536, 250_001, 2048, 2049)]
    before = torch.get_num_threads()
    try:
        tables = []
        for threads in (1, 2, 3, 4):
            torch.set_num_threads(threads)
            tables.append(compute_statistics(tensors))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(table, tables[0]) for table in tables)


def test_results_are_reproducible_and_inputs_unchanged(path: str) -> None:
    tensors = [torch.nn.Parameter(drawn(90_000).float()), drawn(100).half()]
    before = [tensor.detach().clone() for tensor in tensors]
    assert torch.equal(compute_statistics(tensors), compute_statistics(tensors))
    assert all(torch.equal(a, b) for a, b in zip(tensors, before, strict=True))
    assert not compute_statistics(tensors).requires_grad


def test_denormals_are_counted_when_the_processor_flushes_them(path: str) -> None:
    tensor = torch.tensor([1e-40, -1e-40, 0.0, 1.0] * 700)
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor flushes no denormals")
    try:
        actual = read_statistics(compute_statistics([tensor]))[0]
    finally:
        torch.set_flush_denormal(False)
    middle = LAYOUT.steps + 2
    assert actual.histogram[middle - 1 : middle + 2] == (700, 700, 700)


def test_implementations_agree_exactly_except_for_sums(path: str) -> None:
    tensors = [tensor.float() for tensor in adversarial().values()]
    reference = statistics_reference.compute_table(tensors, torch.device("cpu"))
    sums = [LAYOUT.sum, LAYOUT.sum_of_squares]
    actual = compute_statistics(tensors)
    reference[:, sums] = actual[:, sums]
    assert torch.equal(actual, reference)


def test_tensor_subclass(path: str) -> None:
    class Marked(Tensor):
        pass

    tensor = drawn(100).as_subclass(Marked)
    assert_same(
        read_statistics(compute_statistics([tensor]).as_subclass(Tensor))[0], expected(drawn(100))
    )


def test_inside_a_compiled_region(path: str) -> None:
    def double_and_look(values: Tensor) -> tuple[Tensor, Tensor]:
        return values * 2, compute_statistics([values * 2])

    compiled = torch.compile(double_and_look, backend="eager", fullgraph=True)
    doubled, table = compiled(drawn(500).float())
    assert_same(read_statistics(table)[0], expected(doubled))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ([torch.ones(2), torch.ones(2, dtype=torch.int64)], "tensor 1 is .* torch.int64"),
        ([torch.ones(2, dtype=torch.complex64)], "complex64"),
        ([torch.ones(2).to_sparse()], r"coalesce\(\).values\(\)"),
        ([torch.ones(2), torch.ones(2, device="meta")], "on one device; got cpu, meta"),
    ],
)
def test_unsupported_tensors_are_rejected(tensors: list[Tensor], message: str) -> None:
    with pytest.raises(InputError, match=message):
        compute_statistics(tensors)


@pytest.mark.parametrize(
    "table",
    [
        create_table(2),
        create_table(1).double(),
        create_table(1)[:, 1:],
        create_table(1)[0],
        create_table(2).t().contiguous().t()[:1],
    ],
)
def test_unfit_tables_are_rejected(table: Tensor) -> None:
    with pytest.raises(InputError, match="statistics table"):
        compute_statistics([torch.ones(3)], into=table)


def test_zeros_without_memory(path):
    (actual,) = read_statistics(compute_statistics([torch._efficientzerotensor(5)]))
    assert (actual.count, actual.histogram[LAYOUT.steps + 2], actual.sum) == (5, 5, 0.0)
