"""A network equals the `nn.Sequential` with the same weights, to the last bit."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import skip_init

from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.activation_registry import ACTIVATIONS
from brainnet.structure.network import Network

OF_TORCH = [name for name in ACTIVATIONS if name != "threshold_ramp"]


def build_sequential(sizes: list[int], activation: str) -> nn.Sequential:
    modules: list[nn.Module] = []
    for position in range(len(sizes) - 1):
        modules.append(nn.Linear(sizes[position], sizes[position + 1]))
        if position < len(sizes) - 2:
            modules.append(ACTIVATIONS[activation]())
    return nn.Sequential(*modules)


@pytest.mark.parametrize("activation", OF_TORCH)
def test_network_equals_sequential(activation: str) -> None:
    sizes = [9, 17, 5, 3]
    torch.manual_seed(7)
    network = Network(sizes, activation)
    torch.manual_seed(7)
    stack = build_sequential(sizes, activation)
    inputs = torch.randn(33, 9)
    assert torch.equal(network(inputs), stack(inputs))
    network(inputs).square().mean().backward()
    stack(inputs).square().mean().backward()
    for actual, reference in zip(network.parameters(), stack.parameters(), strict=True):
        assert torch.equal(actual, reference)
        assert torch.equal(actual.grad, reference.grad)


def test_names_and_state_keys() -> None:
    network = Network([4, 3, 3, 2])
    assert [layer.name for layer in network.layers] == ["hidden_1", "hidden_2", "output"]
    assert list(network.state_dict()) == [
        f"layers.{depth}.{part}.value" for depth in range(3) for part in ("weights", "bias")
    ]
    assert "4 -> 3 -> 3 -> 2" in str(network)
    assert isinstance(network.layers[-1].activation, nn.Identity)


@pytest.mark.parametrize("activation", ["threshold_ramp", "relu", "tanh"])
def test_round_trip_through_torch(activation: str) -> None:
    network = Network([6, 5, 4], activation)
    stack = network.to_torch()
    again = Network.from_torch(stack)
    inputs = torch.randn(8, 6)
    assert torch.equal(network(inputs), stack(inputs))
    assert torch.equal(network(inputs), again(inputs))
    stack[0].weight.data.zero_()
    assert network.layers[0].weights.value.count_nonzero() > 0


def test_to_torch_keeps_other_ramps() -> None:
    network = Network([6, 5, 4], ThresholdRamp(threshold=0.2, width=2.0))
    inputs = torch.randn(8, 6)
    assert torch.equal(network.to_torch()(inputs), network(inputs))


def test_from_torch_without_biases_and_activations() -> None:
    stack = nn.Sequential(nn.Linear(4, 3, bias=False), nn.Linear(3, 2), nn.Softmax(dim=1)).eval()
    network = Network.from_torch(stack)
    inputs = torch.randn(5, 4)
    assert torch.equal(network(inputs), stack(inputs))
    assert network.layers[0].bias is None
    assert not network.training


def test_from_torch_with_a_shared_activation() -> None:
    relu = nn.ReLU()
    stack = nn.Sequential(nn.Linear(4, 5), relu, nn.Linear(5, 5), relu, nn.Linear(5, 2))
    inputs = torch.randn(7, 4)
    assert torch.equal(Network.from_torch(stack)(inputs), stack(inputs))


def test_conversions_keep_frozen_parameters() -> None:
    stack = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    stack[0].requires_grad_(requires_grad=False)
    network = Network.from_torch(stack)
    assert [value.requires_grad for value in network.parameters()] == [False, False, True, True]
    again = network.to_torch()
    assert [value.requires_grad for value in again.parameters()] == [False, False, True, True]


def test_from_torch_keeps_the_random_state() -> None:
    state = torch.get_rng_state()
    Network.from_torch(nn.Sequential(skip_init(nn.Linear, 4, 2)))
    assert torch.equal(torch.get_rng_state(), state)


def test_network_without_biases_equals_sequential() -> None:
    torch.manual_seed(7)
    network = Network([4, 3, 2], "relu", bias=False)
    torch.manual_seed(7)
    stack = nn.Sequential(nn.Linear(4, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False))
    for actual, reference in zip(network.parameters(), stack.parameters(), strict=True):
        assert torch.equal(actual, reference)


def test_learnable_activation_follows_device_and_dtype() -> None:
    network = Network([4, 3, 2], nn.PReLU(), dtype=torch.float64)
    assert {value.dtype for value in network.parameters()} == {torch.float64}
    assert all(
        value.is_meta for value in Network([4, 3, 2], nn.PReLU(), device="meta").parameters()
    )
    slope = network.layers[0].activation.weight
    slope.data.fill_(9.0)
    network.reset_parameters()
    assert slope.item() == 0.25


def test_sizes_may_be_numpy_integers() -> None:
    assert Network([np.int64(4), np.int32(2)]).sizes == (4, 2)


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(4, 2)),
        nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Dropout()),
        nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Tanh()),
        nn.Sequential(*[nn.Linear(4, 4)] * 2),
        nn.Sequential(),
    ],
    ids=["flatten", "dropout", "two activations", "tied", "empty"],
)
def test_from_torch_rejects_other_models(model: nn.Sequential) -> None:
    with pytest.raises(ValueError, match=r"torch\.nn\.Linear"):
        Network.from_torch(model)


def test_copies_and_pickles() -> None:
    network = Network([6, 5, 4], ThresholdRamp(learn_threshold=True))
    inputs = torch.randn(8, 6)
    assert torch.equal(copy.deepcopy(network)(inputs), network(inputs))
    assert torch.equal(pickle.loads(pickle.dumps(network))(inputs), network(inputs))


def test_state_loads_with_weights_only() -> None:
    network, other = Network([6, 5, 4]), Network([6, 5, 4])
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    inputs = torch.randn(8, 6)
    assert torch.equal(other(inputs), network(inputs))


def test_meta_device_and_to_empty() -> None:
    ramp = ThresholdRamp(threshold=0.25, width=2.0, learn_threshold=True, learn_width=True)
    network = Network([6, 5, 4], ramp, device="meta")
    assert all(value.is_meta for value in network.parameters())
    real = network.to_empty(device="cpu")
    real.reset_parameters(torch.Generator().manual_seed(3))
    expected = Network([6, 5, 4], ramp, generator=torch.Generator().manual_seed(3))
    inputs = torch.randn(8, 6)
    assert torch.equal(real(inputs), expected(inputs))


def test_initial_values_depend_only_on_the_generator() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = Network([6, 5, 4], generator=torch.Generator().manual_seed(3))
    assert torch.equal(torch.get_rng_state(), state)
    second = Network([6, 5, 4], generator=torch.Generator().manual_seed(3))
    other = Network([6, 5, 4], generator=torch.Generator().manual_seed(4))
    inputs = torch.randn(8, 6)
    assert torch.equal(first(inputs), second(inputs))
    assert not torch.equal(first(inputs), other(inputs))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_dtypes(dtype: torch.dtype) -> None:
    network = Network([6, 5, 4], ThresholdRamp(learn_threshold=True, learn_width=True), dtype=dtype)
    assert {value.dtype for value in network.parameters()} == {dtype}
    output = network(torch.randn(3, 6, dtype=dtype))
    output.float().sum().backward()
    assert output.dtype == dtype


def test_autocast() -> None:
    network = Network([6, 5, 4])
    inputs = torch.randn(64, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(inputs)
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), network(inputs), rtol=0.05, atol=0.05)


def test_compiled_network_keeps_keys_and_values() -> None:
    network = Network([6, 5, 4], ThresholdRamp(learn_threshold=True))
    keys, inputs = list(network.state_dict()), torch.randn(8, 6)
    expected = network(inputs)
    expected.square().sum().backward()
    gradients = [value.grad.clone() for value in network.parameters()]
    network.zero_grad()
    network.compile(fullgraph=True, backend="aot_eager")
    output = network(inputs)
    output.square().sum().backward()
    torch.testing.assert_close(output, expected)
    for value, gradient in zip(network.parameters(), gradients, strict=True):
        torch.testing.assert_close(value.grad, gradient)
    assert list(network.state_dict()) == keys


@pytest.mark.parametrize("sizes", [[], [4], [4, 0, 2], [4, -1], [4, 2.5, 2], [4, True, 2]])
def test_invalid_sizes_are_rejected(sizes: list[int]) -> None:
    with pytest.raises(ValueError, match=r"For example: Network\(\[64, 32, 10\]\)"):
        Network(sizes)


def test_symbolic_tracing() -> None:
    network = Network([4, 3, 2], "relu")
    inputs = torch.randn(5, 4)
    assert torch.equal(torch.fx.symbolic_trace(network)(inputs), network(inputs))


def test_single_size_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"got \[4\]|got \(4,\)"):
        Network(4)


def test_activation_class_is_rejected() -> None:
    with pytest.raises(TypeError, match=r"got the class ReLU\. Pass an instance of it: ReLU\(\)"):
        Network([4, 3, 2], nn.ReLU)


def test_from_torch_rejects_mismatched_sizes() -> None:
    with pytest.raises(ValueError, match="needs 5 inputs; the layer before it has 3"):
        Network.from_torch(nn.Sequential(nn.Linear(4, 3), nn.Linear(5, 2)))
    with pytest.raises(ValueError, match=r"needs a torch\.nn\.Sequential; got ReLU"):
        Network.from_torch(nn.ReLU())


def test_unknown_activation_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"one of threshold_ramp, .*; got 'rellu'"):
        Network([4, 3, 2], "rellu")


RAMPS = {
    "plain": ThresholdRamp(),
    "numbers": ThresholdRamp(0.1, 2.0, leak=0.25),
    "per neuron": ThresholdRamp(threshold=torch.zeros(4), learn_width=True),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # of torch.export itself
@pytest.mark.parametrize("name", RAMPS)
def test_exported_network_uses_only_aten(name: str) -> None:
    network, inputs = Network([3, 4, 2], RAMPS[name]), torch.randn(5, 3)
    program = torch.export.export(network, (inputs,)).run_decompositions()
    called = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert {target.split(".")[0] for target in called} == {"aten"}
    torch.testing.assert_close(program.module()(inputs), network(inputs))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("name", RAMPS)
def test_jit_traced_network_uses_only_aten(name: str) -> None:
    network, inputs = Network([3, 4, 2], RAMPS[name]), torch.randn(5, 3)
    traced = torch.jit.trace(network, (inputs,))
    kinds = {node.kind().split("::")[0] for node in traced.inlined_graph.nodes()}
    assert kinds <= {"aten", "prim"}
    torch.testing.assert_close(traced(inputs), network(inputs))


@pytest.mark.slow
@pytest.mark.parametrize("name", RAMPS)
def test_compiled_training_step(name: str) -> None:
    network, inputs = Network([3, 4, 2], RAMPS[name]), torch.randn(5, 3)
    twin = copy.deepcopy(network)
    torch.compiler.reset()
    twin.compile(fullgraph=True)
    for model in (network, twin):
        model(inputs).square().sum().backward()
    for value, reference in zip(twin.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(value.grad, reference.grad)
