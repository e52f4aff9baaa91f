"""A layer equals its neurons, in outputs and gradients."""

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.utils import flop_counter

from brainnet.kernels import build, dispatch
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.activation_registry import ACTIVATIONS
from brainnet.structure.layer import Layer
from brainnet.structure.network import Network


def activations() -> list[str | nn.Module]:
    per_neuron = ThresholdRamp(threshold=torch.tensor([-0.2, 0.0, 0.1, 0.3]), learn_width=True)
    return [*ACTIVATIONS, per_neuron, nn.PReLU(4)]


@pytest.mark.parametrize("activation", activations(), ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_layer_equals_its_neurons(activation: str | nn.Module, bias: bool) -> None:
    layer = Layer(3, 4, activation, bias=bias, dtype=torch.float64).double()
    signals = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    output_weights = torch.randn(7, 4, dtype=torch.float64)

    together = layer(signals)
    one_by_one = torch.stack([layer.neuron(index)(signals) for index in range(4)], dim=1)
    torch.testing.assert_close(one_by_one, together, rtol=1e-12, atol=1e-14)

    sources = [signals, *layer.parameters()]
    expected = torch.autograd.grad((together * output_weights).sum(), sources)
    actual = torch.autograd.grad((one_by_one * output_weights).sum(), sources)
    for value, reference in zip(actual, expected, strict=True):
        torch.testing.assert_close(value, reference, rtol=1e-12, atol=1e-14)


def test_neuron_is_a_view_without_state() -> None:
    layer = Layer(3, 4)
    keys = list(layer.state_dict())
    neuron = layer.neuron(2)
    assert list(layer.state_dict()) == keys
    assert list(neuron.parameters()) == []
    layer.weights.value.data[2] = 5.0
    assert neuron.weights.tolist() == [5.0, 5.0, 5.0]
    assert layer.neuron(-1).index == 3


def test_invalid_neuron_index_is_rejected() -> None:
    with pytest.raises(IndexError, match="between 0 and 3; got 4"):
        Layer(3, 4).neuron(4)


def test_neuron_of_a_softmax_layer_is_rejected() -> None:
    with pytest.raises(TypeError, match="got Softmax"):
        Layer(3, 4, nn.Softmax(dim=-1)).neuron(0)


def test_layers_copy_their_activation() -> None:
    shared = nn.PReLU()
    first, second = Layer(3, 4, shared), Layer(4, 2, shared)
    assert first.activation is not shared
    assert first.activation is not second.activation


def test_reset_parameters_uses_the_generator() -> None:
    layer = Layer(3, 4, ThresholdRamp(width=2.0, learn_width=True))
    layer.reset_parameters(torch.Generator().manual_seed(1))
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    with torch.no_grad():
        for value in layer.parameters():
            value.add_(1)
    layer.reset_parameters(torch.Generator().manual_seed(1))
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize(("inputs", "neurons"), [(0, 4), (3, 0), (3, -1)])
def test_sizes_must_be_positive(inputs: int, neurons: int) -> None:
    with pytest.raises(ValueError, match=r"positive size"):
        Layer(inputs, neurons)


def test_print_out_names_the_concepts() -> None:
    text = str(Layer(3, 4, name="hidden_1"))
    for words in ("hidden_1: 3 -> 4, concept=layers", "concept=weights", "concept=biases"):
        assert words in text
    assert "concept=activation function" in text


@pytest.mark.parametrize(("part", "in_pytorch"), [("weights", "weight"), ("bias", "bias")])
def test_pruned_parts_learn_as_in_pytorch(part: str, in_pytorch: str) -> None:
    actual = Layer(3, 4, "tanh", dtype=torch.float64)
    reference = nn.Linear(3, 4, dtype=torch.float64)
    reference.weight.data.copy_(actual.weights.value.data)
    reference.bias.data.copy_(actual.bias.value.data)
    prune.l1_unstructured(getattr(actual, part), "value", 0.5)
    prune.l1_unstructured(reference, in_pytorch, 0.5)
    signals = torch.randn(7, 3, dtype=torch.float64)
    for forward, parameters in (
        (actual, actual.parameters()),
        (lambda signals: reference(signals).tanh(), reference.parameters()),
    ):
        descent = torch.optim.SGD(parameters, lr=0.5)
        for _ in range(3):
            descent.zero_grad()
            forward(signals).square().sum().backward()
            descent.step()
    torch.testing.assert_close(actual(signals), reference(signals).tanh())
    assert (getattr(actual, part).value == 0).sum() == getattr(actual, part).value.numel() // 2
    alone = torch.stack([actual.neuron(index)(signals) for index in range(4)], dim=1)
    torch.testing.assert_close(alone, actual(signals))
    alone.sum().backward()


def test_hooks_on_the_bias_are_called() -> None:
    layer, apart = (Layer(3, 4, generator=torch.Generator().manual_seed(0)) for _ in range(2))
    signals = torch.randn(7, 3)
    seen: list[torch.Tensor] = []
    layer.bias.register_forward_hook(lambda _module, _weighted, sums: seen.append(sums))
    torch.testing.assert_close(layer(signals), apart(signals))
    torch.testing.assert_close(seen[0], apart.pre_activation(signals))


def test_compiled_layer_calls_hooks_on_the_bias() -> None:
    layer, signals = Layer(3, 4, None), torch.randn(7, 3)
    weighted = layer.weights(signals)
    layer.bias.register_forward_hook(lambda _module, _weighted, sums: 2 * sums)
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(signals), 2 * (weighted + layer.bias.value))


def record_sums(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Collect the weighted sums that the layer computes."""
    seen: list[torch.Tensor] = []
    linear = torch.nn.functional.linear

    def record(*arguments: torch.Tensor) -> torch.Tensor:
        seen.append(linear(*arguments))
        return seen[-1]

    monkeypatch.setattr(torch.nn.functional, "linear", record)
    return seen


native = [
    pytest.mark.native,
    pytest.mark.skipif(build.find_library() is None, reason="not built: brainnet kernels build"),
]


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("BRAINNET_KERNELS", "auto")
    dispatch.reset_dispatch()
    yield
    monkeypatch.undo()
    dispatch.reset_dispatch()


class TestInPlace:
    pytestmark = native

    def test_output_reuses_the_memory_of_the_pre_activation(self, fast, monkeypatch):
        seen = record_sums(monkeypatch)
        layer = Layer(3, 4, ThresholdRamp(0.1, 2.0))
        output = layer(torch.randn(7, 3))
        assert output.data_ptr() == seen[0].data_ptr()

    def test_backward_keeps_only_the_output(self, fast):
        layers = nn.Sequential(Layer(3, 40), Layer(40, 2, None))
        saved: dict[int, int] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            saved[storage.data_ptr()] = storage.nbytes()
            return tensor

        signals = torch.randn(7, 3)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            layers(signals)
        for known in (signals, *layers.parameters()):
            saved.pop(known.untyped_storage().data_ptr(), None)
        assert list(saved.values()) == [7 * 40 * 4]

    @pytest.mark.parametrize("bias", [True, False])
    @pytest.mark.parametrize("learn", [True, False])
    @pytest.mark.parametrize("lead", [(7,), (2, 5), ()])
    def test_derivatives_are_the_same_in_place(self, fast, bias, learn, lead):
        ramp = ThresholdRamp(0.1, 2.0, 0.25, learn_threshold=learn, learn_width=learn)
        layer = Layer(3, 4, ramp, bias=bias, dtype=torch.float64)
        apart = copy.deepcopy(layer)
        apart.activation.register_forward_pre_hook(lambda *_: None)
        signals = torch.randn(*lead, 3, dtype=torch.float64, requires_grad=True)

        def derivatives(which: Layer) -> list[torch.Tensor]:
            parts = [signals, *which.parameters()]
            output = which(signals)
            first = torch.autograd.grad(output.square().sum(), parts, create_graph=True)
            second = torch.autograd.grad(sum(d.square().sum() for d in first), parts)
            return [output, *first, *second]

        for value, reference in zip(derivatives(layer), derivatives(apart), strict=True):
            assert torch.equal(value, reference)

    @pytest.mark.parametrize("where", ["activation", "weights"])
    @pytest.mark.parametrize(
        "how",
        [
            "register_forward_hook",
            "register_forward_pre_hook",
            "register_full_backward_hook",
            "register_full_backward_pre_hook",
        ],
    )
    def test_hooks_receive_unchanged_pre_activations(self, fast, monkeypatch, where, how):
        seen = record_sums(monkeypatch)
        layer = Layer(3, 4)
        getattr(getattr(layer, where), how)(lambda *_: None)
        signals = torch.randn(7, 3, requires_grad=True)
        layer(signals).sum().backward()
        assert torch.equal(seen[0], layer.pre_activation(signals))

    def test_intercepted_pre_activations_are_not_overwritten(self, fast, monkeypatch):
        seen = record_sums(monkeypatch)
        signals = torch.randn(7, 3)

        class Remembering(Layer):
            def pre_activation(self, signals: torch.Tensor) -> torch.Tensor:
                self.last = super().pre_activation(signals)
                return self.last

        wrapped, observed, plain = Layer(3, 4), Layer(3, 4), Layer(3, 4)
        forward = wrapped.activation.forward
        wrapped.activation.forward = lambda sums: forward(sums)  # type: ignore[method-assign]
        handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
        try:
            observed(signals)
        finally:
            handle.remove()
        for layer in (Remembering(3, 4), wrapped):
            layer(signals)

        class Watching(torch.overrides.TorchFunctionMode):
            def __torch_function__(self, func, types, args=(), kwargs=None):
                return func(*args, **kwargs or {})

        with Watching():
            plain(signals)
        with flop_counter.FlopCounterMode(display=False):
            plain(signals)
        for sums in seen:
            assert (sums < 0).any()  # negative values are never outputs

    def test_traced_pre_activations_are_not_overwritten(self, fast):
        network = Network([3, 4, 2])
        signals = torch.randn(7, 3)
        sums = network.layers[0].pre_activation(signals)
        first = network.trace(signals).layers[0]
        assert torch.equal(first.pre_activation, sums)
        assert torch.equal(first.output, network.layers[0](signals))
        assert torch.equal(sums.clamp(0, 1), first.output)

    def test_layer_supports_copies_and_function_transforms(self, fast):
        layer = Layer(3, 4, dtype=torch.float64)
        signals = torch.randn(7, 3, dtype=torch.float64)
        twin = copy.deepcopy(layer)
        assert torch.equal(twin(signals), layer(signals))
        rows = torch.func.vmap(torch.func.jacrev(layer))(signals)
        assert rows.shape == (7, 4, 3)
        torch.testing.assert_close(torch.func.vmap(torch.func.jacfwd(layer))(signals), rows)
