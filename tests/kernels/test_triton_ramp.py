"""The Triton kernels of the ramp against the reference, in the interpreter or on a GPU.

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

from brainnet.kernels import triton_ramp
from brainnet.kernels.autograd import TritonOptions, apply_function
from brainnet.kernels.counters import create_counters
from brainnet.kernels.threshold_ramp import _check_arguments, threshold_ramp

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
kernels = [
    pytest.mark.skipif(
        not INTERPRETED and not torch.cuda.is_available(), reason="neither a GPU nor interpreted"
    ),
    *([] if INTERPRETED else [pytest.mark.cuda]),
]
# NumPy, which the interpreter uses, warns about infinity and NaN.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

SHAPES = [(1, 1), (3, 7), (33, 65), (130, 7), (0, 5), (5, 0), (2, 3, 5, 7), (300,), ()]
CUTS = INTERPRETED  # the interpreter truncates to bfloat16 where a GPU rounds
TOLERANCE = {
    torch.float16: 2e-3,
    torch.bfloat16: 2e-2 if CUTS else 8e-3,
    torch.float32: 1e-5,
}
DTYPES = [torch.float16, torch.bfloat16, torch.float32]


@pytest.mark.slow
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


def ramp_of_triton(x: Tensor, t: float | Tensor, w: float | Tensor, **options: object) -> Tensor:
    choices = {"leak": 0.0, "dim": -1, "counters": None, **options}
    leak, *others = choices.values()
    t, w = _check_arguments(x, t, w, leak, choices["dim"])
    return apply_function(x, t, w, leak, TritonOptions(*others))


def awkward(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).mul(1.5).reshape(-1)
    x[::9] = torch.tensor([0.0, 1.0, float("inf"), -float("inf"), float("nan")]).repeat(len(x))[
        : len(x[::9])
    ]
    return x.view(shape).to(DEVICE, dtype)


def ramps(neurons: int) -> list[tuple[float | Tensor, float | Tensor]]:
    generator = torch.Generator().manual_seed(1)
    low = torch.randn(neurons, generator=generator).to(DEVICE)
    wide = (torch.rand(neurons, generator=generator) + 0.3).to(DEVICE)
    scalars = torch.tensor(0.1, device=DEVICE), torch.tensor(1.3, device=DEVICE)
    return [(0.0, 1.0), (0.25, 0.5), scalars, (low, wide), (low, 0.5), (0.3, wide)]


def run(op: object, x: Tensor, t: object, w: object, **options: object) -> list[Tensor]:
    leaf = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    learns = [p.clone().requires_grad_() if isinstance(p, Tensor) else p for p in (t, w)]
    y = op(leaf, *learns, **options)
    g = torch.randn(y.shape, generator=torch.Generator().manual_seed(2)).to(DEVICE, y.dtype)
    leaves = [leaf, *(p for p in learns if isinstance(p, Tensor))]
    first = torch.autograd.grad(y, leaves, g, retain_graph=True)
    return [y, *first, *torch.autograd.grad(y.sum(), leaves)]


@pytest.mark.parametrize("inner", [1, 3, 49, 196, 4096])
@pytest.mark.parametrize("neurons", [1, 2, 10, 64, 100, 4096])
def test_lines_are_aligned_and_hold_every_neuron_equally_often(neurons, inner):
    for outer in (1, 7, 64, 4099):
        total = outer * neurons * inner
        for sums in (False, True):
            plan = triton_ramp._make_plan(total, neurons, inner, sums=sums)
            assert plan.period * plan.lines + plan.rest == total
            assert plan.period % 16 == 0
            if neurons > 1:
                assert plan.period % (neurons * inner) == 0
                assert (plan.inner % plan.group, plan.period % plan.group) == (0, 0)
            assert plan.share % plan.lines_at_once == 0
            assert plan.share <= 1000
            (programs,) = plan.grid
            assert programs == plan.parts * -(-plan.period // plan.columns)
            assert (plan.parts - 1) * plan.share < max(plan.lines, 1)


def test_a_large_tensor_keeps_every_multiprocessor_busy():
    for neurons, inner in ((1, 1), (10, 1), (4096, 1), (64, 3136)):
        plan = triton_ramp._make_plan(1 << 26, neurons, inner, sums=True)
        assert 500 <= plan.grid[0] <= 1200


class TestKernels:
    pytestmark = kernels

    @pytest.fixture(autouse=True)
    def poisoned_memory(self):
        torch.use_deterministic_algorithms(True)
        yield
        torch.use_deterministic_algorithms(False)

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("shape", SHAPES)
    def test_equals_the_reference(self, shape, dtype):
        leak = 0.25 if len(shape) == 2 else 0.0
        for dim in (-1, 1) if len(shape) > 2 else (-1,):
            for t, w in ramps(shape[dim] if shape else 1):
                x = awkward(shape, dtype)
                actual = run(ramp_of_triton, x, t, w, leak=leak, dim=dim)
                expected = run(threshold_ramp, x, t, w, leak=leak, dim=dim)
                if CUTS and dtype == torch.bfloat16:  # and with the output the region moves
                    actual, expected = actual[:1], expected[:1]
                for one, other in zip(actual, expected, strict=True):
                    assert one.dtype == other.dtype
                    torch.testing.assert_close(
                        one.nan_to_num(7, 7, 7),
                        other.nan_to_num(7, 7, 7),
                        rtol=TOLERANCE[dtype],
                        atol=TOLERANCE[dtype],
                    )

    @pytest.mark.parametrize("dim", [0, 1, -1])
    def test_layouts(self, dim):
        base = awkward((6, 5, 4, 8), torch.float32).nan_to_num(0.5)
        for x in (
            base.transpose(1, 3),
            base[:, :, ::2],
            base.to(memory_format=torch.channels_last),
            base[:1].expand(6, 5, 4, 8),
        ):
            t, w = ramps(x.shape[dim])[3]
            actual = ramp_of_triton(x, t, w, dim=dim)
            torch.testing.assert_close(actual, threshold_ramp(x, t, w, dim=dim))

    @pytest.mark.parametrize("dim", [-1, 1])
    def test_counters(self, dim):
        for shape in [(3, 7), (130, 7), (2, 3, 5, 7), (300, 1)]:
            x, (t, w) = awkward(shape, torch.float32), ramps(shape[dim])[3]
            actual = create_counters(shape[dim], device=DEVICE)
            expected = create_counters(shape[dim], device=DEVICE)
            for _ in range(2):
                ramp_of_triton(x, t, w, dim=dim, counters=actual)
                threshold_ramp(x, t, w, dim=dim, counters=expected)
            assert torch.equal(actual[0], expected[0])
            torch.testing.assert_close(actual[1], expected[1])

    @pytest.mark.parametrize("shape", [(3000, 1), (700, 3), (2, 3, 1200)])
    def test_sums_over_several_blocks_and_parts(self, shape, monkeypatch):
        monkeypatch.setattr(triton_ramp, "_PROGRAMS", 2)
        monkeypatch.setattr(triton_ramp, "_PERIOD", 64)
        monkeypatch.setattr(triton_ramp, "_COLUMNS", 128)
        x, n = awkward(shape, torch.float32).nan_to_num(0.5, 1, -1), shape[1]
        for t, w in (ramps(n)[2], ramps(n)[3]):
            one, other = (run(op, x, t, w, dim=1) for op in (ramp_of_triton, threshold_ramp))
            for actual, expected in zip(one, other, strict=True):
                torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-3)
            counters = [create_counters(n, device=DEVICE) for _ in range(2)]
            ramp_of_triton(x, t, w, dim=1, counters=counters[0])
            threshold_ramp(x, t, w, dim=1, counters=counters[1])
            assert torch.equal(counters[0][0], counters[1][0])
            torch.testing.assert_close(counters[0][1], counters[1][1])

    def test_second_derivatives(self):
        x = (torch.arange(12.0, device=DEVICE) * 0.37 % 1.6 - 0.31).view(3, 4)
        actual = []
        for op in (ramp_of_triton, threshold_ramp):
            leaves = [p.clone().requires_grad_() for p in (x, *ramps(4)[3])]
            first = torch.autograd.grad((op(*leaves) ** 3).sum(), leaves, create_graph=True)
            actual.append(torch.autograd.grad(sum(g.square().sum() for g in first), leaves))
        torch.testing.assert_close(*actual)

    @pytest.mark.skipif(INTERPRETED, reason="needs a GPU")
    def test_in_a_cuda_graph(self):
        x, counters = torch.randn(64, 32, device="cuda"), create_counters(32, device="cuda")
        threshold_ramp(x, 0.1, 2.0, counters=counters)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = threshold_ramp(x, 0.1, 2.0, counters=counters)
        counters[0].zero_()
        x.normal_()
        graph.replay()
        torch.testing.assert_close(y, threshold_ramp(x, 0.1, 2.0))
        assert counters[0].sum().item() == x.numel()
