"""Backpropagation: gradients equal the chain rule, and the blame adds up."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune

from brainnet.learning.backpropagation import backpropagate
from brainnet.learning.gradient import get_gradients
from brainnet.structure.forward_pass import trace
from brainnet.structure.network import Network


def test_gradients_equal_the_chain_rule() -> None:
    network = Network([4, 5, 3, 2], dtype=torch.float64)
    inputs = torch.randn(6, 4, dtype=torch.float64)
    targets = torch.tensor([0, 1, 1, 0, 1, 0])
    forward_pass = network.trace(inputs)
    result = backpropagate(F.cross_entropy(forward_pass.output, targets), forward_pass)

    # At the output: softmax minus one-hot targets. Before: back through weights and ramp.
    delta = (forward_pass.output.softmax(1) - F.one_hot(targets, 2)) / len(targets)
    for depth in (2, 1, 0):
        layer, layer_pass, blame = (
            network.layers[depth],
            forward_pass.layers[depth],
            result.layers[depth],
        )
        torch.testing.assert_close(blame.delta, delta)
        torch.testing.assert_close(blame.weights_gradient, delta.T @ layer_pass.inputs)
        torch.testing.assert_close(blame.bias_gradient, delta.sum(0))
        if depth:
            below = forward_pass.layers[depth - 1].output
            delta = (delta @ layer.weights.value) * ((below > 0) & (below < 1))


def test_gradients_are_added_to_grad() -> None:
    network = Network([4, 3, 2])
    inputs = torch.randn(6, 4)
    network(inputs).square().mean().backward()
    expected = [value.grad.clone() for value in network.parameters()]
    network.zero_grad()
    for times in (1, 2):  # the second pass adds, as backward() does
        forward_pass = network.trace(inputs)
        result = backpropagate(forward_pass.output.square().mean(), forward_pass)
        for value, gradient in zip(network.parameters(), expected, strict=True):
            torch.testing.assert_close(value.grad, times * gradient)
    torch.testing.assert_close(result.layers[0].weights_gradient, expected[0])


def test_blame_adds_up() -> None:
    forward_pass = Network([4, 8, 8, 2]).trace(torch.randn(6, 4))
    result = backpropagate(forward_pass.output.square().mean(), forward_pass)
    assert sum(layer.blame for layer in result.layers) == pytest.approx(1, abs=1e-6)
    for layer in result.layers:
        assert layer.neuron_blame.sum().item() == pytest.approx(layer.blame, abs=1e-6)
        assert (layer.neuron_blame >= layer.weights_blame.sum(1)).all()


@pytest.mark.parametrize("scale", [1e-25, 1e-35, 1e25, 1e35])
def test_blame_does_not_depend_on_the_scale_of_gradients(scale: float) -> None:
    network, inputs = Network([4, 8, 8, 2]), torch.randn(6, 4)

    def compute_blame(scale: float) -> list[float]:
        forward_pass = network.trace(inputs)
        result = backpropagate(forward_pass.output.square().mean() * scale, forward_pass)
        return [layer.blame for layer in result.layers]

    assert compute_blame(scale) == pytest.approx(compute_blame(1.0), rel=1e-4)


def test_blame_of_repeated_and_tied_layers_adds_up() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.step, self.tied = nn.Linear(3, 3), nn.Linear(3, 3, bias=False)
            self.tied.weight = self.step.weight

        def forward(self, inputs: Tensor) -> Tensor:
            return self.tied(self.step(self.step(inputs).tanh()).tanh())

    forward_pass = trace(Twice(), torch.randn(6, 3))
    result = backpropagate(forward_pass.output.square().mean(), forward_pass)
    assert [layer.name for layer in result.layers] == ["step", "step", "tied"]
    assert sum(layer.blame for layer in result.layers) == pytest.approx(1, abs=1e-6)
    first, second, tied = result.layers
    assert first.blame == second.blame > tied.blame  # tied has a third of the weights only
    assert torch.equal(first.weights_blame, tied.weights_blame)


def test_pruned_layers_have_blame() -> None:
    pruned, plain = Network([4, 8, 2], "tanh"), nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
    for part in (pruned.layers[0].weights, pruned.layers[0].bias):
        prune.l1_unstructured(part, "value", 0.5)
    prune.l1_unstructured(plain[0], "weight", 0.5)
    for model, trained in (
        (pruned, pruned.layers[0].weights.value_orig),
        (plain, plain[0].weight_orig),
    ):
        forward_pass = trace(model, torch.randn(6, 4))
        result = backpropagate(forward_pass.output.square().mean(), forward_pass)
        first = result.layers[0]
        assert sum(layer.blame for layer in result.layers) == pytest.approx(1, abs=1e-6)
        assert torch.equal(first.weights_gradient, trained.grad)
        assert (first.weights_blame == 0).sum() == 16  # the pruned half
        assert get_gradients(model)[0].weights is trained.grad


def test_blame_is_the_share_of_a_small_step() -> None:
    network = Network([4, 8, 2], "tanh", dtype=torch.float64)
    inputs = torch.randn(6, 4, dtype=torch.float64)
    forward_pass = network.trace(inputs)
    loss = forward_pass.output.square().mean()
    result = backpropagate(loss, forward_pass)
    gains = []
    for layer in network.layers:
        with torch.no_grad():
            for value in layer.parameters():
                value.sub_(1e-6 * value.grad)
        gains.append((loss - network(inputs).square().mean()).item())
        with torch.no_grad():
            for value in layer.parameters():
                value.add_(1e-6 * value.grad)
    shares = torch.tensor(gains, dtype=torch.float64) / sum(gains)
    torch.testing.assert_close(
        torch.tensor([layer.blame for layer in result.layers], dtype=torch.float64),
        shares,
        rtol=1e-3,
        atol=1e-4,
    )


def test_silent_neurons_have_no_blame() -> None:
    network = Network([4, 3, 2])
    network.layers[0].bias.value.data[1] = -1000.0
    forward_pass = network.trace(torch.randn(6, 4))
    first = backpropagate(forward_pass.output.square().mean(), forward_pass).layers[0]
    assert first.delta[:, 1].count_nonzero() == 0
    assert first.neuron_blame[1] == 0


def test_any_model_and_frozen_layers() -> None:
    model = nn.Sequential(
        nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(inplace=True), nn.Linear(3, 1)
    )
    model[0].requires_grad_(requires_grad=False)
    forward_pass = trace(model, torch.randn(6, 4))
    result = backpropagate(forward_pass.output.square().mean(), forward_pass)
    assert result.layers[0].weights_gradient.count_nonzero() == 0
    assert result.layers[0].delta.count_nonzero() > 0
    assert model[1].weight.grad is not None


def test_blame_in_half_precision() -> None:
    network = Network([4, 3, 2], dtype=torch.float16)
    forward_pass = network.trace(torch.randn(6, 4, dtype=torch.float16) * 1e-2)
    result = backpropagate(forward_pass.output.square().mean() * 1e-2, forward_pass)
    assert sum(layer.blame for layer in result.layers) == pytest.approx(1, abs=1e-3)


def test_zero_gradients_have_no_blame() -> None:
    forward_pass = Network([4, 3, 2]).trace(torch.randn(6, 4))
    result = backpropagate(forward_pass.output.sum() * 0.0, forward_pass)
    assert [layer.blame for layer in result.layers] == [0.0, 0.0]


def test_invalid_losses_are_rejected() -> None:
    network = Network([4, 3, 2])
    forward_pass = network.trace(torch.randn(6, 4))
    with pytest.raises(TypeError, match="got float and ForwardPass"):
        backpropagate(1.0, forward_pass)
    with pytest.raises(ValueError, match=r"loss of shape \(6, 2\)"):
        backpropagate(forward_pass.output, forward_pass)
    with pytest.raises(ValueError, match="no_grad"):
        backpropagate(forward_pass.output.detach().sum(), forward_pass)
    with pytest.raises(ValueError, match="does not depend on the parameters"):
        backpropagate(torch.ones((), requires_grad=True) * 2, forward_pass)


def test_print_out_shows_the_neuron_with_most_blame() -> None:
    forward_pass = Network([4, 3, 2]).trace(torch.randn(6, 4))
    text = str(backpropagate(forward_pass.output.square().mean(), forward_pass))
    assert text.startswith("blame for a loss of ")
    assert "hidden_1" in text
    assert "most: neuron" in text
