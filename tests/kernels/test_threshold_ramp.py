"""The threshold ramp against its closed form in float64, under every transform of PyTorch."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, distributed
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap
from torch.testing._internal.two_tensor import TwoTensor

from brainnet.errors import InputError
from brainnet.kernels.threshold_ramp import threshold_ramp

# PyTorch's forward mode itself still imports a module that calls torch.jit.script (torch 2.13).
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")

SHAPES = [(1, 1), (3, 7), (33, 65), (4097, 33), (0, 5), (5, 0), (2, 3, 4), (), (7,)]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
ROUNDING = {torch.float16: 1e-3, torch.bfloat16: 8e-3, torch.float32: 1e-6, torch.float64: 1e-12}
KINDS = ["plain", "numbers", "scalars", "per_neuron"]


@pytest.fixture(autouse=True)
def poisoned_memory() -> Iterator[None]:
    """Fill fresh memory with NaN, so that unwritten elements are noticed."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def parameters(
    kind: str, neurons: int, dtype: torch.dtype = torch.float64
) -> tuple[float | Tensor, float | Tensor]:
    """Threshold and width of that kind."""
    if kind == "plain":
        return 0.0, 1.0
    if kind == "numbers":
        return 0.25, 3.0
    if kind == "scalars":
        return torch.tensor(-0.29, dtype=dtype), torch.tensor(1.7, dtype=dtype)
    generator = torch.Generator().manual_seed(1)
    threshold = torch.randn(neurons, generator=generator).to(dtype) / 2
    return threshold, torch.rand(neurons, generator=generator).to(dtype) + 0.5


def inputs(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Tensor:
    """Numbers on both sides of the ramp and on it."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).mul(1.5).to(dtype)


def closed_form(
    x: Tensor, t: float | Tensor, w: float | Tensor, leak: float, g: Tensor, y: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Output and the three gradients, elementwise (the last two not yet summed), in float64."""
    x, g = x.double(), g.double()
    exact = ((x - t) / w).clamp(0, 1)
    y = exact if y is None else y.double()
    slope = torch.where((y > 0) & (y < 1), 1 / torch.as_tensor(w).double(), leak)
    return exact, slope * g, -slope * g, -slope * y * g


# A single number, of shape (), has no neurons to count.
SHAPES_AND_KINDS = [(s, k) for s in SHAPES for k in KINDS if s or k != "per_neuron"]


@pytest.mark.parametrize(("shape", "kind"), SHAPES_AND_KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("leak", [0.0, 0.125])
def test_output_and_gradients(
    shape: tuple[int, ...], dtype: torch.dtype, kind: str, leak: float
) -> None:
    x = inputs(shape, dtype).requires_grad_()
    t, w = parameters(kind, shape[-1] if shape else 1, torch.promote_types(dtype, torch.float32))
    leaves = [p.requires_grad_() for p in (t, w) if isinstance(p, Tensor)]
    y = threshold_ramp(x, t, w, leak)
    g = inputs(shape, dtype).flip(tuple(range(len(shape))))
    actual = torch.autograd.grad(y, [x, *leaves], g)
    exact, d_x, d_t, d_w = closed_form(x.detach(), *_double(t, w), leak, g, y.detach())
    tolerance = {"rtol": ROUNDING[dtype], "atol": ROUNDING[dtype]}
    assert (y.dtype, actual[0].dtype) == (dtype, dtype)
    torch.testing.assert_close(y.double(), exact, **tolerance)
    torch.testing.assert_close(actual[0].double(), d_x, **tolerance)
    for leaf, gradient, expected in zip(leaves, actual[1:], (d_t, d_w), strict=False):
        assert gradient.dtype == leaf.dtype
        torch.testing.assert_close(
            gradient.double(), expected.sum_to_size(leaf.shape), rtol=1e-4, atol=1e-4
        )


def _double(*values: float | Tensor) -> list[float | Tensor]:
    return [v.detach().double() if isinstance(v, Tensor) else v for v in values]


def test_exactly_zero_and_one_count_as_outside() -> None:
    x = torch.tensor([-0.0, 0.0, 1e-30, 0.5, 1.0, 1.5], requires_grad=True)
    threshold_ramp(x).sum().backward()
    assert x.grad.tolist() == [0, 0, 1, 1, 0, 0]
    x.grad = None
    threshold_ramp(x, leak=0.5).sum().backward()
    assert x.grad.tolist() == [0.5, 0.5, 1, 1, 0.5, 0.5]


def test_an_output_rounded_to_one_counts_as_outside() -> None:
    x = torch.tensor([0.999], dtype=torch.bfloat16, requires_grad=True)
    y = threshold_ramp(x + 0.0, width=1.001)
    y.backward()
    assert (y.item(), x.grad.item()) == (1.0, 0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_nan_stays_and_infinity_saturates(kind: str) -> None:
    x = torch.tensor([[float("nan"), float("inf"), -float("inf"), 9.0]] * 9)
    y = threshold_ramp(x, *parameters(kind, 4, torch.float32))
    assert y[:, 0].isnan().all()
    assert y[:, 1:].tolist() == [[1.0, 0.0, 1.0]] * 9


def test_leak_never_changes_the_output() -> None:
    x = inputs((33, 65), torch.float32)
    assert torch.equal(threshold_ramp(x, 0.1, 0.7, 0.3), threshold_ramp(x, 0.1, 0.7))


def test_only_the_output_is_saved() -> None:
    kept: list[Tensor] = []
    # Without a compiler, small inputs are computed by PyTorch's own nodes, which save the input.
    x = inputs((512, 65), torch.float32).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = threshold_ramp(x * 1.0)
    assert {t.data_ptr() for t in kept if t.numel() == y.numel()} == {y.data_ptr()}


@pytest.mark.parametrize("layout", ["transposed", "strided", "expanded", "channels_last", "sliced"])
@pytest.mark.parametrize("kind", KINDS)
def test_layouts(layout: str, kind: str) -> None:
    base = inputs((6, 5, 4, 8), torch.float32)
    x = {
        "transposed": base.transpose(1, 3),
        "strided": base[:, :, ::2, ::2],
        "expanded": base[:1].expand(6, 5, 4, 8),
        "channels_last": base.to(memory_format=torch.channels_last),
        "sliced": base[..., 1:],
    }[layout]
    for dim in (-1, 1):
        t, w = parameters(kind, x.shape[dim], torch.float32)
        leaves = [p.requires_grad_() for p in (t, w) if isinstance(p, Tensor)]
        leaf = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        y = threshold_ramp(leaf, t, w, dim=dim)
        g = base.new_ones(()).expand(y.shape)
        actual = torch.autograd.grad(y, [leaf, *leaves], g)
        aligned = [_along(p, dim) for p in _double(t, w)]
        exact, d_x, d_t, d_w = closed_form(leaf.detach(), *aligned, 0.0, g, y.detach())
        torch.testing.assert_close(y.double(), exact, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(threshold_ramp(x, t, w, dim=dim), y)
        torch.testing.assert_close(actual[0].double(), d_x, rtol=1e-6, atol=1e-6)
        others = [d for d in range(4) if d != dim % 4] if kind == "per_neuron" else [0, 1, 2, 3]
        for gradient, expected in zip(actual[1:], (d_t, d_w), strict=False):
            torch.testing.assert_close(
                gradient.double(), expected.sum(others), rtol=1e-5, atol=1e-4
            )


def _along(parameter: float | Tensor, dim: int) -> float | Tensor:
    if dim == 1 and isinstance(parameter, Tensor) and parameter.dim():
        return parameter[:, None, None]
    return parameter


def smooth(shape: tuple[int, ...]) -> Tensor:
    """Inputs away from the kinks of every ramp used below, for finite differences."""
    return (torch.arange(float(torch.Size(shape).numel())).double() * 0.37 % 1.6 - 0.31).view(shape)


@pytest.mark.parametrize("dim", [-1, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck(kind: str, dim: int) -> None:
    x = smooth((2, 3, 4)).requires_grad_()
    t, w = parameters(kind, x.shape[dim])
    arguments = [x, *(p.requires_grad_() if isinstance(p, Tensor) else p for p in (t, w))]

    def op(*values: Tensor) -> Tensor:
        return threshold_ramp(*values, dim=dim)

    assert gradcheck(op, arguments, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(op, arguments, check_fwd_over_rev=True, check_batched_grad=True)


def test_forward_mode_with_a_leak() -> None:
    x = torch.tensor([-1.0, 0.5, 2.0])
    t, w = torch.zeros(3), torch.full((3,), 2.0)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, torch.ones(3))
        wide = forward_ad.make_dual(w, torch.full((3,), 8.0))
        low = forward_ad.make_dual(t, torch.full((3,), 4.0))
        y = threshold_ramp(dual, low, wide, 0.25)
        tangent = forward_ad.unpack_dual(y).tangent
    # slope times (1 - 4 - y * 8) with y = 0, 0.25, 1 and slope = 0.25, 0.5, 0.25
    assert tangent.tolist() == [0.25 * -3, 0.5 * -5, 0.25 * -11]


def analytic(x: Tensor, t: Tensor, w: Tensor) -> Tensor:
    """The ramp from operations whose derivatives are not ours."""
    return torch.nn.functional.hardtanh((x - t) / w, 0.0, 1.0)


TRANSFORMS = {
    "grad": lambda f: grad(lambda *a: (f(*a) ** 3).sum(), argnums=(0, 1, 2)),
    "jacrev": lambda f: jacrev(f, argnums=(0, 1, 2)),
    "jacfwd": lambda f: jacfwd(f, argnums=(0, 1, 2)),
    "hessian": lambda f: hessian(lambda *a: (f(*a) ** 3).sum(), argnums=(0, 1, 2)),
    "jacrev_of_jacrev": lambda f: jacrev(jacrev(f, argnums=2), argnums=(0, 1, 2)),
    "jvp": lambda f: lambda *a: jvp(f, a, tuple(p.cos() for p in a)),
    "vmap": lambda f: vmap(f, in_dims=(0, None, None)),
    "vmap_parameters": lambda f: (
        lambda x, t, w: vmap(f, in_dims=(None, 0, 0), out_dims=1)(
            x, torch.stack([t, 2 * t]), torch.stack([w, 2 * w])
        )
    ),
    "vmap_last": lambda f: (
        lambda x, t, w: vmap(f, in_dims=(-1, None, -1))(
            x.unsqueeze(-1).expand(*x.shape, 2), t, torch.stack([w, 2 * w], -1)
        )
    ),
    "vmap_of_grad": lambda f: (
        lambda x, t, w: vmap(
            grad(lambda *a: (f(*a) ** 3).sum(), argnums=(0, 1, 2)), in_dims=(0, None, None)
        )(x, t, w)
    ),
    "vmap_of_vmap": lambda f: vmap(vmap(f, in_dims=(0, 0, None)), in_dims=(0, None, None)),
}


def assert_same(actual: object, expected: object) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("kind", ["scalars", "per_neuron"])
def test_function_transforms(name: str, kind: str) -> None:
    t, w = parameters(kind, 4)
    if name == "vmap_of_vmap":
        t, w = torch.linspace(-0.5, 0.5, 3).double(), torch.tensor(1.3).double()
    transform = TRANSFORMS[name]
    x = smooth((3, 4)) if name != "vmap_of_vmap" else smooth((3, 3, 4))
    assert_same(transform(threshold_ramp)(x, t, w), transform(analytic)(x, t, w))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grad", "jacrev", "jacfwd", "hessian", "jvp", "vmap_of_grad"])
def test_transforms_inside_a_compiled_region(name: str) -> None:
    t, w = parameters("per_neuron", 4)
    x, transform = smooth((3, 4)), TRANSFORMS[name]
    torch.compiler.reset()
    actual = torch.compile(transform(threshold_ramp), backend="aot_eager")(x, t, w)
    assert_same(actual, transform(analytic)(x, t, w))


@pytest.mark.slow
@pytest.mark.parametrize("leak", [0.0, 0.25])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compile(kind: str, dtype: torch.dtype, leak: float) -> None:
    x = inputs((33, 65), dtype).requires_grad_()
    t, w = parameters(kind, 65, torch.float32)
    leaves = [x, *(p.requires_grad_() for p in (t, w) if isinstance(p, Tensor))]

    def loss(x: Tensor, t: float | Tensor, w: float | Tensor) -> Tensor:
        return (threshold_ramp(x, t, w, leak).float() * torch.arange(65.0)).square().sum()

    torch.compiler.reset()
    # Inductor drops the rounding to bfloat16 between operations that it fuses: not to be compared.
    backend = "inductor" if dtype == torch.float32 else "aot_eager"
    compiled = torch.compile(loss, fullgraph=True, backend=backend)
    expected, actual = loss(x, t, w), compiled(x, t, w)
    torch.testing.assert_close(actual, expected)
    wanted = torch.autograd.grad(expected, leaves)
    for gradient, right in zip(torch.autograd.grad(actual, leaves), wanted, strict=True):
        torch.testing.assert_close(gradient, right)


@pytest.mark.parametrize("kind", KINDS)
def test_the_registered_op(kind: str) -> None:
    t, w = parameters(kind, 4, torch.float32)
    tensors = [p.requires_grad_() if isinstance(p, Tensor) else None for p in (t, w)]
    numbers = [0.0 if isinstance(p, Tensor) else p for p in (t, w)]
    x = inputs((3, 4), torch.float32).requires_grad_()
    torch.library.opcheck(torch.ops.brainnet.threshold_ramp, (x, *tensors, *numbers, 0.25))
    torch.testing.assert_close(
        torch.ops.brainnet.threshold_ramp(x, *tensors, *numbers, 0.25), threshold_ramp(x, t, w)
    )


@pytest.mark.slow
@pytest.mark.parametrize("strict", [False, True])
def test_exported_graphs_contain_only_aten_operations(strict: bool) -> None:
    class Ramp(torch.nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return threshold_ramp(x, t, 2.0, 0.25)

    x, t = inputs((3, 4), torch.float32), torch.zeros(4)
    program = torch.export.export(Ramp(), (x, t), strict=strict)
    assert "brainnet" not in str(program.graph)
    assert_same(program.module()(x, t), threshold_ramp(x, t, 2.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_autocast_keeps_the_dtype(dtype: torch.dtype) -> None:
    x = inputs((3, 4), dtype).requires_grad_()
    t = torch.zeros(4, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = threshold_ramp(x, t, 0.7)
    y.float().sum().backward()
    assert (y.dtype, x.grad.dtype, t.grad.dtype) == (dtype, dtype, torch.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_meta_and_fake_tensors(kind: str) -> None:
    t, w = parameters(kind, 4, torch.float32)
    on_meta = [p.to("meta") if isinstance(p, Tensor) else p for p in (t, w)]
    y = threshold_ramp(torch.empty(3, 4, device="meta", requires_grad=True), *on_meta)
    y.sum().backward()
    assert (y.shape, y.device.type) == ((3, 4), "meta")
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True):
        assert threshold_ramp(torch.empty(3, 4), t, w).shape == (3, 4)


def test_tensor_subclasses_are_kept() -> None:
    class Labelled(Tensor):
        pass

    x = inputs((3, 4)).as_subclass(Labelled).requires_grad_()
    y = threshold_ramp(x, 0.1, 2.0)
    assert isinstance(y, Labelled)
    y.sum().backward()
    assert_same(x.grad.as_subclass(Tensor), closed_form(x, 0.1, 2.0, 0.0, torch.ones(3, 4))[1])


@pytest.fixture(scope="module")
def mesh() -> Iterator[distributed.device_mesh.DeviceMesh]:
    """One process, which is a group of its own."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield distributed.init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


@pytest.mark.slow  # the group, and the modules of DTensor
@pytest.mark.parametrize("leak", [0.0, 0.125])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compiled", [False, True])
def test_dtensor(
    mesh: distributed.device_mesh.DeviceMesh, kind: str, leak: float, compiled: bool
) -> None:
    from torch.distributed import tensor as shards

    x = inputs((6, 4), torch.float32)
    plain: list[float | Tensor] = [x, *parameters(kind, 4, torch.float32)]
    torch.compiler.reset()
    ramp = torch.compile(threshold_ramp, backend="aot_eager") if compiled else threshold_ramp
    for placement in (shards.Shard(0), shards.Shard(1), shards.Replicate()):
        whole = [p.clone().requires_grad_() if isinstance(p, Tensor) else p for p in plain]
        whole[0] = x.clone().requires_grad_()
        apart = [
            shards.distribute_tensor(p, mesh, [shards.Replicate() if at else placement])
            .detach()
            .requires_grad_()
            if isinstance(p, Tensor)
            else p
            for at, p in enumerate(plain)
        ]
        y = ramp(*apart, leak)
        expected = threshold_ramp(*whole, leak)
        y.square().sum().backward()
        expected.square().sum().backward()
        torch.testing.assert_close(y.full_tensor(), expected)
        for one, other in zip(apart, whole, strict=True):
            if isinstance(other, Tensor):
                torch.testing.assert_close(one.grad.full_tensor(), other.grad)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "kind", "leak"),
    [("eager", "plain", 0.0), ("eager", "scalars", 0.125), ("aot_eager", "per_neuron", 0.125)],
)
# PyTorch warns of itself when it makes fakes of what backward keeps, `exp` alike.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_compiled_autograd(backend: str, kind: str, leak: float) -> None:
    from torch._dynamo import compiled_autograd  # seconds to import, and for this test alone

    torch.compiler.reset()
    t, w = parameters(kind, 4, torch.float32)
    x = inputs((6, 4), torch.float32).requires_grad_()
    leaves = [x, *(p.requires_grad_() for p in (t, w) if isinstance(p, Tensor))]
    # Another width, or one that learns nothing, must not meet the first in the compiler's cache.
    for wide in (w, 3.0, torch.full((4,), 2.0)):
        loss = threshold_ramp(x * 1.0, t, wide, leak).square().sum()
        expected = torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True)
        with compiled_autograd._enable(torch.compile(backend=backend)):
            loss.backward()
        for tensor, right in zip(leaves, expected, strict=True):
            torch.testing.assert_close(tensor.grad, right)
            tensor.grad = None


def test_outputs_can_be_deep_copied() -> None:
    y = threshold_ramp(inputs((3, 4)))
    assert torch.equal(copy.deepcopy(y), y)


BAD: dict[str, tuple[tuple[object, ...], dict[str, object], str]] = {
    "integers": ((torch.ones(3, dtype=torch.int64),), {}, "floating-point"),
    "no tensor": (([1.0, 2.0],), {}, "floating-point"),
    "complex": ((torch.ones(3, dtype=torch.complex64),), {}, "floating-point"),
    "zero width": ((torch.ones(3), 0.0, 0.0), {}, "above 0"),
    "negative width": ((torch.ones(3), 0.0, -1.0), {}, "above 0"),
    "width not a number": ((torch.ones(3), 0.0, float("nan")), {}, "above 0"),
    "threshold not finite": ((torch.ones(3), float("inf")), {}, "finite"),
    "one neuron too wide": ((torch.ones(3), 0.0, torch.tensor([1.0, 0.0, 1.0])), {}, "above 0"),
    "four for three": ((torch.ones(2, 3), torch.ones(4)), {}, r"shape \(4,\)"),
    "two dimensions": ((torch.ones(2, 3), torch.ones(2, 3)), {}, "one-dimensional"),
    "neurons of a number": ((torch.tensor(1.0), torch.ones(4)), {}, r"shape \(4,\)"),
    "no such dimension of numbers": ((torch.ones(2, 3),), {"dim": 5}, "dim=5"),
    "no such dimension": ((torch.ones(2, 3), torch.ones(3)), {"dim": 5}, "dim=5"),
    "integer threshold": ((torch.ones(3), torch.ones(3, dtype=torch.int64)), {}, "threshold"),
    "sparse": ((torch.eye(3).to_sparse(),), {}, r"to_dense\(\)"),
    "negative leak": ((torch.ones(3), 0.0, 1.0, -0.1), {}, "leak"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_rejected(name: str) -> None:
    arguments, keywords, message = BAD[name]
    with pytest.raises(InputError, match=message):
        threshold_ramp(*arguments, **keywords)  # type: ignore[arg-type]


def test_a_width_is_checked_again_when_it_changes() -> None:
    width = torch.ones(3)
    threshold_ramp(torch.ones(3), 0.0, width)
    width[1] = 0.0
    with pytest.raises(InputError, match="above 0"):
        threshold_ramp(torch.ones(3), 0.0, width)


def test_kinds_of_threshold_and_width_can_be_mixed() -> None:
    x = smooth((2, 4)).requires_grad_()
    for first, second in itertools.product(KINDS, KINDS):
        t, w = parameters(first, 4)[0], parameters(second, 4)[1]
        leaves = [x, *(p.requires_grad_() for p in (t, w) if isinstance(p, Tensor))]
        actual = torch.autograd.grad(threshold_ramp(x, t, w).square().sum(), leaves)
        expected = torch.autograd.grad(analytic(x, t, w).square().sum(), leaves)
        assert_same(actual, expected)


def test_parameters_without_plain_memory():
    x, width = torch.tensor([[0.5, 3.0], [-1.0, 1.0]]), torch.tensor([2.0, 4.0])
    zeros = torch._efficientzerotensor(2)
    right = threshold_ramp(x, torch.zeros(2), width)
    assert torch.equal(threshold_ramp(x, zeros, width), right)
    output = threshold_ramp(x, 0.0, TwoTensor(width, width))
    assert torch.equal(output.a if isinstance(output, TwoTensor) else output, right)
