"""Tracing keeps every intermediate value and does not change the result."""

import pytest
import torch
from torch import Tensor, nn

from brainnet.structure.forward_pass import trace
from brainnet.structure.network import Network


def test_trace_equals_the_forward_pass() -> None:
    network = Network([4, 3, 2])
    inputs = torch.randn(5, 4)
    forward_pass = network.trace(inputs)
    assert torch.equal(forward_pass.output, network(inputs))
    signal = inputs
    for layer, layer_pass in zip(network.layers, forward_pass.layers, strict=True):
        assert torch.equal(layer_pass.inputs, signal)
        assert torch.equal(layer_pass.pre_activation, layer.pre_activation(signal))
        signal = layer(signal)
        assert torch.equal(layer_pass.output, signal)


def test_trace_follows_normalization_and_inplace_activations() -> None:
    model = nn.Sequential(
        nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(inplace=True), nn.Linear(3, 2)
    ).eval()
    inputs = torch.randn(6, 4)
    forward_pass = trace(model, inputs)
    first, last = forward_pass.layers
    expected = model[1](model[0](inputs))
    torch.testing.assert_close(first.pre_activation, expected)
    torch.testing.assert_close(first.output, expected.relu())
    assert torch.equal(last.output, model(inputs))
    assert model[2].inplace


def test_trace_removes_its_hooks() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True))
    trace(model, torch.zeros(1, 4))
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


@pytest.mark.parametrize("wrapped", [False, True])
def test_compiled_models_are_traced_without_their_code(wrapped: bool) -> None:
    network = Network([4, 3, 2])
    compiled = torch.compile(network, backend="eager") if wrapped else network
    if not wrapped:
        network.compile(backend="eager")
    inputs = torch.randn(5, 4)
    output = compiled(inputs)
    forward_pass = trace(compiled, inputs)
    assert [layer.name for layer in forward_pass.layers] == ["hidden_1", "output"]
    torch.testing.assert_close(forward_pass.output, output)
    assert wrapped or network._compiled_call_impl is not None


def test_trace_does_not_import_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    class Untouched:
        def __getattr__(self, name: str) -> None:
            raise AssertionError(f"the compiler was imported for {name}")

    # Replaces the lazy module, so that the test does not import it either.
    monkeypatch.setitem(vars(torch), "_dynamo", Untouched())
    assert len(trace(Network([4, 3, 2]), torch.zeros(1, 4)).layers) == 2


def test_hooks_are_removed_after_errors() -> None:
    network = Network([4, 3, 2])
    with pytest.raises(ValueError, match="hidden_1 needs 4 inputs"):
        network.trace(torch.zeros(1, 5))
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in network.modules()
    )


def test_layer_called_twice_has_two_passes() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.step = nn.Linear(3, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.step(self.step(inputs).tanh())

    forward_pass = trace(Recurrent(), torch.randn(2, 3))
    assert [layer.name for layer in forward_pass.layers] == ["step", "step"]
    assert torch.equal(forward_pass.layers[1].output, forward_pass.output)


def test_activation_is_the_module_that_was_called() -> None:
    class Actor(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.tanh, self.last = nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.tanh(self.last(self.first(inputs).relu()))

    actor = Actor()
    first, last = trace(actor, torch.randn(5, 4)).layers
    assert first.info.activation is None  # functions cannot be observed
    assert torch.equal(first.output, first.pre_activation)
    assert last.info.activation is actor.tanh
    assert torch.equal(last.output, last.pre_activation.tanh())


def test_each_pass_has_its_own_activation() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.step, self.tanh, self.relu = nn.Linear(3, 3), nn.Tanh(), nn.ReLU()

        def forward(self, inputs: Tensor) -> Tensor:
            return self.relu(self.step(self.tanh(self.step(inputs))))

    twice = Twice()
    forward_pass = trace(twice, torch.randn(2, 3))
    assert [layer.info.activation for layer in forward_pass.layers] == [twice.tanh, twice.relu]


def test_dropout_belongs_to_the_pre_activation() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5), nn.Tanh())
    for training in (True, False):
        (only,) = trace(model.train(training), torch.randn(6, 4)).layers
        assert only.info.activation is model[2]
        assert torch.equal(only.output, only.pre_activation.tanh())


def test_model_without_layers_is_rejected() -> None:
    with pytest.raises(ValueError, match="none were called in Flatten"):
        trace(nn.Flatten(), torch.zeros(2, 3))


def test_print_out_shows_the_values() -> None:
    network = Network([2, 2, 1])
    network.layers[0].weights.value.data.copy_(torch.tensor([[1.0, 0.0], [0.0, -1.0]]))
    network.layers[0].bias.value.data.zero_()
    text = str(network.trace(torch.tensor([[0.25, 0.5], [9.0, 9.0]])))
    assert "forward pass of 2 rows, the first:" in text
    assert "pre-activation   0.250  -0.500" in text
    assert "output           0.250   0.000" in text


def test_empty_batch_has_a_print_out() -> None:
    assert "inputs           (empty)" in str(Network([2, 1]).trace(torch.zeros(0, 2)))


def test_long_rows_are_truncated() -> None:
    assert "… (64 in total)" in str(Network([64, 3, 2]).trace(torch.zeros(1, 64)))
