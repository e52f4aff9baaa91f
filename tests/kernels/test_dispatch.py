"""The C++ kernel equals the reference to the last bit, and the choice of kernels is visible."""

from __future__ import annotations

import functools
import itertools
import threading
import weakref
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from brainnet.errors import InputError
from brainnet.kernels import build, dispatch
from brainnet.kernels.counters import create_counters
from brainnet.kernels.threshold_ramp import threshold_ramp

# The compiler itself still imports modules of PyTorch that use torch.jit (torch 2.13).
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")

SHAPES = [(1, 1), (3, 7), (33, 65), (4097, 33), (0, 5), (5, 0), (2, 3, 5, 7), (600, 300), (70_001,)]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

needs_build = [
    pytest.mark.native,
    pytest.mark.skipif(build.find_library() is None, reason="not built: brainnet kernels build"),
]


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Switch between auto and reference."""

    def switch(choice: str) -> None:
        monkeypatch.setenv("BRAINNET_KERNELS", choice)
        dispatch.reset_dispatch()

    torch.use_deterministic_algorithms(True)  # which poisons fresh memory with NaN
    yield switch
    torch.use_deterministic_algorithms(False)
    monkeypatch.undo()
    dispatch.reset_dispatch()


def awkward(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Numbers around the ramp, with the odd ones mixed in."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).mul(1.5)
    odd = torch.tensor([0.0, -0.0, 1.0, float("inf"), -float("inf"), float("nan"), 1e-40, 0.99999])
    flat = x.flatten()
    flat[::11] = odd.repeat(len(flat))[: len(flat[::11])]
    return flat.view(shape).to(dtype)


def ramps(neurons: int) -> dict[str, tuple[float | Tensor, float | Tensor]]:
    generator = torch.Generator().manual_seed(1)
    low = torch.randn(neurons, generator=generator)
    wide = torch.rand(neurons, generator=generator) + 0.3
    return {
        "plain": (0.0, 1.0),
        "numbers": (0.3, 0.7),
        "scalars": (torch.tensor(0.1), torch.tensor(1.3)),
        "per_neuron": (low, wide),
        "threshold": (low, 0.7),
        "width": (0.3, wide),
        "both_kinds": (torch.tensor(0.1), wide),
    }


def run(
    x: Tensor, t: float | Tensor, w: float | Tensor, leak: float, dim: int
) -> tuple[Tensor, Tensor, list[Tensor]]:
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    learns = [p.clone().requires_grad_() if isinstance(p, Tensor) else p for p in (t, w)]
    y = threshold_ramp(x, *learns, leak, dim=dim)
    g = torch.randn(y.shape, generator=torch.Generator().manual_seed(2)).to(y.dtype)
    leaves = [p for p in learns if isinstance(p, Tensor)]
    d_x, *others = torch.autograd.grad(y, [x, *leaves], g)
    return y, d_x, others


def bits(tensor: Tensor) -> Tensor:
    """The bits of every number; NaN is NaN, whichever of its many forms."""
    filled = torch.where(tensor.isnan(), torch.tensor(float("nan"), dtype=tensor.dtype), tensor)
    return filled.contiguous().view(BITS[tensor.dtype.itemsize])


class TestNative:
    pytestmark = needs_build

    @pytest.mark.parametrize("leak", [0.0, 0.25])
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("shape", SHAPES)
    def test_equals_the_reference_to_the_last_bit(self, on, shape, dtype, leak):
        for (name, (t, w)), dim in itertools.product(ramps(1).items(), (-1, 1)):
            if len(shape) < 2 and dim == 1:
                continue
            t, w = ramps(shape[dim])[name]
            x = awkward(shape, dtype)
            on("reference")
            expected = run(x, t, w, leak, dim)
            on("auto")
            actual = run(x, t, w, leak, dim)
            assert torch.equal(bits(actual[0]), bits(expected[0])), (name, dim)
            assert torch.equal(bits(actual[1]), bits(expected[1])), (name, dim)
            for one, other in zip(actual[2], expected[2], strict=True):
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3, equal_nan=True)

    @pytest.mark.parametrize(
        "layout", ["transposed", "strided", "expanded", "channels_last", "sliced", "flipped_dims"]
    )
    @pytest.mark.parametrize("dim", [-1, 0, 1])
    def test_every_layout(self, on, layout, dim):
        base = awkward((6, 5, 4, 8), torch.float32).nan_to_num(0.5)
        x = {
            "transposed": base.transpose(1, 3),
            "strided": base[:, :, ::2, ::2],
            "expanded": base[:1].expand(6, 5, 4, 8),
            "channels_last": base.to(memory_format=torch.channels_last),
            "sliced": base[..., 1:],
            "flipped_dims": base.permute(3, 2, 1, 0),
        }[layout]
        for name in ramps(1):
            t, w = ramps(x.shape[dim])[name]
            on("reference")
            expected = run(x, t, w, 0.25, dim), threshold_ramp(x, t, w, dim=dim)
            on("auto")
            actual = run(x, t, w, 0.25, dim), threshold_ramp(x, t, w, dim=dim)
            torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
            assert torch.equal(actual[0][1], expected[0][1])

    def test_sums_do_not_depend_on_the_number_of_threads(self, on):
        on("auto")
        before = torch.get_num_threads()
        x, (t, w) = awkward((600, 300), torch.float32).nan_to_num(), ramps(300)["per_neuron"]
        try:
            torch.set_num_threads(1)
            one, counters_one = run(x, t, w, 0.1, -1), create_counters(300)
            threshold_ramp(x, t, w, counters=counters_one)
            torch.set_num_threads(2)
            two, counters_two = run(x, t, w, 0.1, -1), create_counters(300)
            threshold_ramp(x, t, w, counters=counters_two)
        finally:
            torch.set_num_threads(before)
        assert all(torch.equal(a, b) for a, b in zip(one[2], two[2], strict=True))
        assert all(torch.equal(a, b) for a, b in zip(counters_one, counters_two, strict=True))

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_counters_of_neurons_are_independent(self, on, dtype):
        on("auto")
        # More rows than belong together; neurons that fill lanes, and some that are left over.
        x, alone, beside = awkward((50, 67), dtype), create_counters(67), create_counters(67)
        x = x.nan_to_num(0.5, 1, -1)
        threshold_ramp(x, 0.1, 0.7, counters=alone)
        x[::9, 3] = float("nan")
        x[::7, 65] = float("inf")
        threshold_ramp(x, 0.1, 0.7, counters=beside)
        others = [neuron for neuron in range(67) if neuron not in (3, 65)]
        for one, other in zip(alone, beside, strict=True):
            assert torch.equal(one[:, others], other[:, others])
        few, some = create_counters(5), create_counters(5)
        threshold_ramp(x[:, 5:10], 0.1, 0.7, counters=few)  # none of which fill lanes
        threshold_ramp(x[:, 60:65].contiguous(), 0.1, 0.7, counters=some)
        for narrow, place in ((few, slice(5, 10)), (some, slice(60, 65))):
            for one, other in zip(narrow, beside, strict=True):
                assert torch.equal(one, other[:, place])

    def test_incoming_gradients_are_not_overwritten(self, on):
        on("auto")
        x = torch.tensor([-1.0, 0.5, 2.0], requires_grad=True)
        g = torch.tensor([2.0, 4.0, 8.0])
        y = threshold_ramp(x, 0.0, 2.0)
        y.retain_grad()
        seen: list[Tensor] = []
        y.register_hook(seen.append)
        (y * g).sum().backward()
        assert (y.grad.tolist(), seen[0].tolist()) == ([2, 4, 8], [2, 4, 8])
        assert (x.grad.tolist(), g.tolist()) == ([0, 2, 0], [2, 4, 8])

    def test_the_input_is_not_overwritten_by_default(self, on):
        on("auto")
        x = torch.tensor([-1.0, 0.5, 2.0])
        threshold_ramp(x)
        assert x.tolist() == [-1.0, 0.5, 2.0]

    def test_reuse_input_overwrites_the_input(self, on):
        on("auto")
        weights = torch.randn(5, 4, requires_grad=True)
        signals = awkward((7, 4), torch.float32).nan_to_num(0.1, 1, -1).requires_grad_()
        inside, twin = (torch.nn.functional.linear(signals, weights) for _ in range(2))
        y = threshold_ramp(inside, 0.1, 2.0, 0.125, reuse_input=True)
        assert y.data_ptr() == inside.data_ptr()
        right = threshold_ramp(twin, 0.1, 2.0, 0.125)
        assert torch.equal(y, right)
        for one, other in zip(
            torch.autograd.grad(y.square().sum(), [signals, weights]),
            torch.autograd.grad(right.square().sum(), [signals, weights]),
            strict=True,
        ):
            assert torch.equal(one, other)

    @pytest.mark.parametrize("why", ["leaf", "view", "hook", "retain", "expanded", "inference"])
    def test_reuse_input_is_ignored_where_the_input_is_visible(self, on, why):
        on("auto")
        base = torch.full((3, 4), -1.0, requires_grad=True)
        x = {"leaf": base, "view": (base * 1.0)[:2], "expanded": (base[:1] * 1).expand(3, 4)}.get(
            why, base * 1.0
        )
        if why == "hook":
            x.register_hook(lambda g: g)
        if why == "retain":
            x.retain_grad()
        if why == "inference":  # a tensor that outlives its inference mode may not be written to
            with torch.inference_mode():
                x = torch.full((3, 4), -1.0)
            with torch.no_grad():
                threshold_ramp(x, reuse_input=True)
        else:
            threshold_ramp(x, reuse_input=True).sum().backward()
        assert (x == -1).all()

    @pytest.mark.parametrize("choice", ["reference", "auto"])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_second_derivatives(self, on, choice, dtype):
        on(choice)
        x = torch.tensor([-1.0, 0.25, 0.5, 3.0], dtype=dtype, requires_grad=True)
        y = threshold_ramp(x, 0.0, torch.tensor([1.0, 2.0, 4.0, 8.0]))
        (once,) = torch.autograd.grad((y * y).sum(), x, create_graph=True)
        (twice,) = torch.autograd.grad(once.sum(), x)
        assert once.tolist() == [0.0, 0.125, 0.0625, 0.09375]
        assert twice.tolist() == [0.0, 0.5, 0.125, 0.03125]

    def test_reuse_input_works_in_inference_mode(self, on):
        on("auto")
        with torch.inference_mode():
            x = torch.full((3, 4), -1.0)
            assert threshold_ramp(x, reuse_input=True).data_ptr() == x.data_ptr()

    def test_reuse_input_keeps_an_input_that_is_saved_for_backward(self, on):
        on("auto")
        x = torch.full((3, 4), -1.0, requires_grad=True)
        inside = x.exp()
        threshold_ramp(inside, reuse_input=True).sum().backward()
        assert torch.equal(inside, x.exp())
        assert torch.equal(x.grad, x.exp())

    @pytest.mark.parametrize("share", ["slice", "whole", "detached"])
    @pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
    def test_reuse_input_keeps_shared_memory(self, on, mode, share):
        on("auto")
        with mode():
            base = torch.full((3, 4), -1.0)
            x = {"slice": base[:2], "whole": base.view(12), "detached": base.data}[share]
            threshold_ramp(x, 0.1, reuse_input=True)
            assert (base == -1).all()

    def test_reuse_input_overwrites_a_leaf_without_gradient(self, on):
        on("auto")
        x = torch.full((3, 4), -1.0)
        assert threshold_ramp(x, reuse_input=True).data_ptr() == x.data_ptr()

    @pytest.mark.parametrize("reuse", [False, True])
    def test_the_graph_is_freed_with_its_output(self, on, reuse):
        on("auto")
        x, t = torch.ones(3, 4, requires_grad=True), torch.zeros(4, requires_grad=True)
        y = threshold_ramp(x * 1.0, t, reuse_input=reuse)
        alive = weakref.ref(y)
        del y
        assert alive() is None

    def test_the_kernel_reports_bad_arguments(self, on):
        on("auto")
        with pytest.raises(InputError, match="above 0"):
            threshold_ramp(torch.ones(3), 0.0, torch.tensor([1.0, -1.0, 1.0]))
        with pytest.raises(InputError, match="counters"):
            threshold_ramp(torch.ones(2, 3), counters=create_counters(4))


def counted_by_hand(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    finite = x.isfinite()
    kinds = [finite & (y == 0), finite & (y > 0) & (y < 1), finite & (y == 1), ~finite]
    held = y.double().where(finite, torch.zeros(()).double())
    return torch.stack([k.sum(0) for k in kinds]), torch.stack([held.sum(0), held.square().sum(0)])


@pytest.mark.parametrize("choice", ["reference", pytest.param("auto", marks=needs_build)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [-1, 1])
def test_counters(on, choice, dtype, dim):
    on(choice)
    # Up to more neurons, and more of one neuron, than are counted side by side.
    shapes = [(3, 7), (33, 65), (4097, 33), (2, 3, 5, 7), (0, 5), (7, 5, 400), (90, 1100)]
    for shape in shapes:
        x, neurons = awkward(shape, dtype), shape[dim]
        t, w = ramps(neurons)["per_neuron"]
        counters = create_counters(neurons)
        for _ in range(2):
            y = threshold_ramp(x, t, w, dim=dim, counters=counters)
        counts, sums = counted_by_hand(
            *(tensor.movedim(dim, -1).reshape(-1, neurons) for tensor in (x, y))
        )
        assert torch.equal(counters[0], 2 * counts)
        off = 1e-12 if dtype == torch.float64 or choice == "reference" else 5e-7  # as promised
        torch.testing.assert_close(counters[1], 2 * sums, rtol=off, atol=1e-12)
        assert torch.equal(bits(y), bits(threshold_ramp(x, t, w, dim=dim)))


def test_counters_of_the_plain_ramp_and_of_one_number(on):
    on("auto")
    counters = create_counters(1)
    threshold_ramp(torch.tensor(0.5), counters=counters)
    assert counters[0].flatten().tolist() == [0, 1, 0, 0]
    counters = create_counters(3)
    threshold_ramp(torch.tensor([[-1.0, 0.5, float("nan")], [2.0, 0.25, 1.0]]), counters=counters)
    assert counters[0].tolist() == [[1, 0, 0], [0, 2, 0], [1, 0, 1], [0, 0, 1]]
    assert counters[1][0].tolist() == [1.0, 0.75, 1.0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_counting_changes_no_output_in_place(on, dtype):
    on("auto")
    for (name, (t, w)), shape in itertools.product(ramps(50).items(), [(70, 50), (5, 50, 300)]):
        x, dim = awkward(shape, dtype), 1
        fresh, inside = create_counters(50), create_counters(50)
        expected = threshold_ramp(x, t, w, dim=dim)
        counted = threshold_ramp(x, t, w, dim=dim, counters=fresh)
        in_place = threshold_ramp(x.clone(), t, w, dim=dim, counters=inside, reuse_input=True)
        assert torch.equal(bits(counted), bits(expected)), name
        assert torch.equal(bits(in_place), bits(expected)), name
        assert all(torch.equal(a, b) for a, b in zip(fresh, inside, strict=True)), name


def test_small_and_large_inputs_agree_without_a_compiler(on):
    on("reference")
    large, (t, w) = awkward((600, 65), torch.float32), ramps(65)["per_neuron"]
    of_all, of_some = run(large, t, w, 0.0, -1), run(large[:30], t, w, 0.0, -1)
    g = torch.randn(600, 65, generator=torch.Generator().manual_seed(2))[:30]
    x = large[:30].clone().requires_grad_()
    assert torch.equal(bits(of_some[0]), bits(of_all[0][:30]))
    (d_x,) = torch.autograd.grad(threshold_ramp(x, t, w), x, g)
    assert torch.equal(bits(d_x), bits(of_all[1][:30]))


@pytest.mark.parametrize("choice", ["reference", pytest.param("auto", marks=needs_build)])
@pytest.mark.parametrize("odd", [float("inf"), -float("inf"), 1e38])
def test_parameters_get_no_gradient_from_extreme_inputs(on, choice, odd):
    on(choice)
    x = torch.tensor([[0.25, odd], [odd, 0.5]], requires_grad=True)
    for low, wide in ((0.0, 0.5), ([0.0, 0.0], [0.5, 0.5])):
        t, w = (torch.tensor(values, requires_grad=True) for values in (low, wide))
        y = threshold_ramp(x, t, w)
        d_x, d_t, d_w = torch.autograd.grad(y, [x, t, w], torch.ones(2, 2))
        assert d_x.tolist() == [[2.0, 0.0], [0.0, 0.0]]
        assert (d_t.sum().item(), d_w.sum().item()) == (-2.0, -1.0)


@pytest.mark.parametrize("choice", ["reference", pytest.param("auto", marks=needs_build)])
@pytest.mark.parametrize("shape", [(1, 3), (3, 7), (33, 65), (600, 65), (1, 70_001)])
@pytest.mark.parametrize("laid", ["contiguous", "turned"])
def test_nan_inputs_have_no_gradient_at_any_position(on, choice, shape, laid):
    on(choice)
    for name in ramps(1):
        t, w = ramps(shape[-1])[name]
        x = torch.full(shape, float("nan"))
        x = x.T.contiguous().T if laid == "turned" else x
        y, d_x, (*others,) = run(x, t, w, 0.0, -1)
        assert y.isnan().all()
        assert not d_x.any(), name
        if isinstance(t, Tensor):
            assert not others[0].any(), name
        fixed = x.clone().requires_grad_()
        (d_x,) = torch.autograd.grad(threshold_ramp(fixed, t, w), fixed, torch.ones(shape))
        assert not d_x.any(), name
        sums = torch.func.grad(lambda x, t=t, w=w: threshold_ramp(x, t, w).sum())
        assert not sums(x).any(), name


@pytest.mark.parametrize("choice", ["reference", pytest.param("auto", marks=needs_build)])
def test_counters_shared_by_threads_are_exact(on, choice):
    on(choice)
    # Many neurons and one row: most of each call is adding to what all share.
    neurons, calls = 16_384, 400
    counters, start = create_counters(neurons), threading.Barrier(4)

    def go() -> None:
        x = torch.full((1, neurons), 0.5)
        start.wait()
        for _ in range(calls):
            threshold_ramp(x, reuse_input=True, counters=counters)  # which leaves 0.5 what it is

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counters[0][1].eq(4 * calls).all()
    assert counters[1][0].eq(4 * calls * 0.5).all()


@pytest.mark.parametrize("reentrant", [False, True])
def test_recomputed_calls_are_counted_again(reentrant):
    counters = create_counters(4)
    x = torch.full((5, 4), 0.5, requires_grad=True)
    ramp = functools.partial(threshold_ramp, counters=counters)
    # To the end: it may stop as soon as backward has what it needs, before the reference counts.
    with set_checkpoint_early_stop(enable=False):
        checkpoint(ramp, x, use_reentrant=reentrant).sum().backward()
    assert counters[0][1].tolist() == [10] * 4


def _pair(*shapes: tuple[int, ...], dtypes: tuple[torch.dtype, ...] = ()) -> tuple[Tensor, ...]:
    dtypes = dtypes or (torch.int64, torch.float64)
    return tuple(torch.zeros(s, dtype=d) for s, d in zip(shapes, dtypes, strict=True))


UNFIT: dict[str, Callable[[], tuple[object, object]]] = {
    "one neuron's for four": lambda: create_counters(1),
    "five neurons' for four": lambda: create_counters(5),
    "one kind": lambda: _pair((1, 4), (1, 4)),
    "one kind of sum": lambda: _pair((4, 4), (1, 4)),
    "no sums": lambda: _pair((4, 4), (0,)),
    "turned": lambda: _pair((4, 4), (4, 2)),
    "flat": lambda: _pair((16,), (8,)),
    "int32": lambda: _pair((4, 4), (2, 4), dtypes=(torch.int32, torch.float64)),
    "float32": lambda: _pair((4, 4), (2, 4), dtypes=(torch.int64, torch.float32)),
    "elsewhere": lambda: create_counters(4, device="meta"),
    "strided": lambda: (torch.zeros(4, 8, dtype=torch.int64)[:, ::2], create_counters(4)[1]),
    "sums strided": lambda: (create_counters(4)[0], torch.zeros(2, 8).double()[:, ::2]),
    "counts alone": lambda: (create_counters(4)[0], None),
    "sums alone": lambda: (None, create_counters(4)[1]),
}


@pytest.mark.parametrize("choice", ["reference", pytest.param("auto", marks=needs_build)])
@pytest.mark.parametrize("name", UNFIT)
def test_unfit_counters_are_rejected_before_anything_is_written(on, choice, name):
    on(choice)
    counters, x = UNFIT[name](), torch.full((5, 4), 0.25)
    before = [tensor.clone() if isinstance(tensor, Tensor) else tensor for tensor in counters]
    with pytest.raises(InputError, match=r"for 4 neurons along dim=-1, .*create_counters\(4"):
        threshold_ramp(x, 0.1, counters=counters, reuse_input=True)
    assert (x == 0.25).all()
    for one, other in zip(counters, before, strict=True):
        if isinstance(one, Tensor) and not one.is_meta:
            assert torch.equal(one, other)


@pytest.mark.parametrize("choice", ["reference", pytest.param("auto", marks=needs_build)])
@pytest.mark.parametrize("rows", [3, 40_000])
def test_nan_reaches_only_the_gradient_of_the_width(on, choice, rows):
    on(choice)
    x = torch.full((rows, 2), 0.5)
    x[1, 0] = float("nan")
    leaves = [x, torch.tensor([0.25, 0.0]), torch.tensor([1.0, 2.0])]
    actual, right = ([p.clone().requires_grad_() for p in leaves] for _ in range(2))
    threshold_ramp(*actual).sum().backward()
    ((right[0] - right[1]) / right[2]).clamp(0, 1).sum().backward()
    for one, other in zip(actual, right, strict=True):
        torch.testing.assert_close(one.grad, other.grad, equal_nan=True)
    assert [p.grad.isnan().sum().item() for p in actual] == [0, 0, 1]


def test_counters_reject_function_transforms(on):
    with pytest.raises(RuntimeError, match="function transform"):
        torch.func.vmap(lambda x: threshold_ramp(x, counters=create_counters(3)))(torch.ones(2, 3))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_counters_in_a_compiled_region(on, dtype):
    x, counters, twin = awkward((33, 5), torch.float32), create_counters(5), create_counters(5)
    x[::4] = 1.0  # 0.999 after the threshold, which bfloat16 rounds to 1
    x = x.to(dtype)
    torch.compiler.reset()
    compiled = torch.compile(lambda x, c: threshold_ramp(x, 0.001, counters=c), fullgraph=True)
    # Half types: see the docstring of threshold_ramp.
    with torch._inductor.config.patch(emulate_precision_casts=True):
        for _ in range(2):
            compiled(x, counters)
            threshold_ramp(x, 0.001, counters=twin)
    assert torch.equal(counters[0], twin[0])
    torch.testing.assert_close(counters[1], twin[1])


def test_the_choice_is_logged_once(on, caplog):
    on("reference")
    with caplog.at_level("INFO", logger="brainnet.kernels.dispatch"):
        threshold_ramp(torch.ones(3))
        threshold_ramp(torch.ones(3))
    assert len(caplog.records) == 1
    assert dispatch.read_status()["cpu"] == {
        "path": "reference",
        "reason": "BRAINNET_KERNELS=reference",
    }


def test_an_unknown_choice_is_rejected(on):
    on("fastest")
    with pytest.raises(InputError, match="fastest"):
        threshold_ramp(torch.ones(3))
