"""The Triton kernels of the statistics against the reference, in the interpreter or on a GPU.

The interpreter is chosen before the kernels are defined and therefore needs its own process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from brainnet.kernels import statistics_reference
from brainnet.kernels.histogram_layout import STATISTICS_LAYOUT as LAYOUT
from brainnet.kernels.statistics import create_table

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cpu" if INTERPRETED else "cuda")
kernels = [
    pytest.mark.skipif(
        not INTERPRETED and not torch.cuda.is_available(), reason="neither a GPU nor interpreted"
    ),
    *([] if INTERPRETED else [pytest.mark.cuda]),
]
# NumPy, which the interpreter uses, warns about infinity and NaN.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
SUMS = [LAYOUT.sum, LAYOUT.sum_of_squares]
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.skipif(INTERPRETED, reason="this is the interpreter's process")
def test_in_the_interpreter() -> None:
    pytest.importorskip("triton")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(Path(__file__))],
        env={**os.environ, "TRITON_INTERPRET": "1", "BRAINNET_KERNELS": "reference"},
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-1000:]
    assert " passed" in result.stdout


def awkward(dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    odd = [float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e-45, -1e-45, 3e-39, 1e38, 1e-310]
    mixed = torch.randn(5003, generator=generator, dtype=torch.float64)
    mixed[::7] = torch.tensor(odd, dtype=torch.float64).repeat(80)[: len(mixed[::7])]
    edges = torch.tensor(LAYOUT.edges, dtype=torch.float64)
    large = torch.randn(2 * 4096 + 3, generator=generator) * 0.02
    unaligned, huge, tiny = large[1:999], large[:999] * 1e30, large[:999] * 1e-20
    layouts = torch.randn(6, 5, 4, generator=generator)
    cases = [
        mixed, edges, large, unaligned, huge, tiny, torch.empty(0), torch.tensor(3.0),
        -torch.zeros(5),
        torch.full((7,), float("nan")), layouts.transpose(0, 2), layouts[:, ::2],
        layouts[:1].expand(6, 5, 4), torch._neg_view(layouts),
    ]  # fmt: skip
    return [case.to(DEVICE, dtype) for case in cases]


def assert_equal(actual: Tensor, expected: Tensor) -> None:
    """All but the last bits of the sums, whose order of summation is each path's own."""
    (sums, squares), (exact_sums, exact_squares) = (
        table.view(torch.float64)[:, SUMS].unbind(1) for table in (actual, expected)
    )
    ends = expected.view(torch.float64)[:, [LAYOUT.minimum, LAYOUT.maximum]].abs().amax(1)
    room = (4e-15 * expected[:, LAYOUT.count] * ends).nan_to_num(0.0, 0.0, 0.0)
    assert ((sums - exact_sums).abs() <= room).all()
    torch.testing.assert_close(squares, exact_squares, rtol=1e-12, atol=0.0)
    rest = [column for column in range(LAYOUT.width) if column not in SUMS]
    assert torch.equal(actual[:, rest], expected[:, rest])


class TestKernels:
    pytestmark = kernels

    @pytest.fixture(autouse=True)
    def poisoned_memory(self):
        torch.use_deterministic_algorithms(True)
        yield
        torch.use_deterministic_algorithms(False)

    @pytest.mark.parametrize("is_double_fast", [True, False])
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_equal_the_reference(self, dtype, is_double_fast, monkeypatch):
        from brainnet.kernels import triton_statistics

        monkeypatch.setattr(triton_statistics, "_has_fast_double", lambda device: is_double_fast)
        # Three chunks in the largest tensor, which the interpreter computes in seconds.
        monkeypatch.setattr(triton_statistics, "_CHUNK", 4096)
        tensors = awkward(dtype)
        table = create_table(len(tensors), device=DEVICE)
        triton_statistics.add_statistics(tensors, table)
        assert_equal(table, statistics_reference.compute_table(tensors, DEVICE))
        # The interpreter runs one program after the other, in the same order each time.
        if not INTERPRETED:
            again = create_table(len(tensors), device=DEVICE)
            triton_statistics.add_statistics(tensors, again)
            assert torch.equal(table, again)

    def test_add_to_a_table_and_mix_dtypes(self):
        from brainnet.kernels import triton_statistics

        tensors = [awkward(dtype)[0][:300] for dtype in DTYPES]
        table = create_table(len(tensors), device=DEVICE)
        triton_statistics.add_statistics(tensors, table)
        triton_statistics.add_statistics(tensors, table)
        once = statistics_reference.compute_table(tensors, DEVICE)
        twice = once.clone()
        statistics_reference.add_table(twice, once)
        assert_equal(table, twice)

    def test_one_launch_of_each_kernel_for_a_list(self, monkeypatch):
        from brainnet.kernels import triton_statistics

        launched = []
        launch = triton_statistics._launch

        def counted(*arguments, **keywords):
            launched.append(arguments)
            launch(*arguments, **keywords)

        monkeypatch.setattr(triton_statistics, "_launch", counted)
        tensors = [torch.ones(size, device=DEVICE) for size in range(6)]
        triton_statistics.add_statistics(tensors, create_table(6, device=DEVICE))
        assert len(launched) == 1
        triton_statistics.add_statistics([], create_table(0, device=DEVICE))
        assert len(launched) == 1

    @pytest.mark.cuda
    def test_no_synchronization(self):
        from brainnet.kernels import triton_statistics

        tensors = awkward(torch.float32)
        table = create_table(len(tensors), device=DEVICE)
        triton_statistics.add_statistics(tensors, table)  # compiles
        torch.cuda.set_sync_debug_mode("error")
        try:
            triton_statistics.add_statistics(tensors, table)
            statistics_reference.compute_table(tensors, DEVICE)
        finally:
            torch.cuda.set_sync_debug_mode("default")
