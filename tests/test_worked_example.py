"""The worked example: every number equal to PyTorch's, and every sentence of the story true."""

import itertools
import math
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from brainnet.explanation import worked_example
from brainnet.explanation.worked_example import (
    MERRY_EVENING,
    NETWORK,
    SMOKY_EVENING,
    PlainNetwork,
    Scene,
)
from brainnet.learning.backpropagation import backpropagate
from brainnet.learning.loss import CrossEntropy
from brainnet.structure.network import Network

EXACT = {"rtol": 1e-12, "atol": 1e-12}
SCENES = pytest.mark.parametrize("scene", [SMOKY_EVENING, MERRY_EVENING], ids=lambda s: s.name)


def numbers(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def in_torch(plain: PlainNetwork) -> Network:
    network = Network([4, 4, 2], activation="threshold_ramp", dtype=torch.float64)
    with torch.no_grad():
        for layer, values in zip(network.layers, plain, strict=True):
            layer.weights.value.copy_(numbers(values.weights))
            layer.bias.value.copy_(numbers(values.biases))
    return network


def loss_in_torch(network: Network, scene: Scene) -> Tensor:
    return CrossEntropy()(network(numbers([scene.signals])), torch.tensor([scene.right]))


def learned_in_torch(scenes: list[Scene], learning_rate: float) -> Network:
    network = in_torch(NETWORK)
    optimizer = torch.optim.SGD(network.parameters(), lr=learning_rate)
    for scene in scenes:
        optimizer.zero_grad()
        loss_in_torch(network, scene).backward()
        optimizer.step()
    return network


@SCENES
def test_the_forward_pass_is_the_networks_own(scene: Scene) -> None:
    signal = numbers([scene.signals])
    layers = in_torch(NETWORK).layers
    for layer, forward_pass in zip(
        layers, worked_example.think(NETWORK, scene.signals), strict=True
    ):
        torch.testing.assert_close(numbers([forward_pass.inputs]), signal, **EXACT)
        torch.testing.assert_close(
            numbers([forward_pass.pre_activation]), layer.pre_activation(signal), **EXACT
        )
        signal = layer(signal)
        torch.testing.assert_close(numbers([forward_pass.output]), signal, **EXACT)
    sure = worked_example.probabilities(forward_pass.output)
    torch.testing.assert_close(numbers([sure]), signal.softmax(-1), **EXACT)


@SCENES
def test_the_loss_is_the_cross_entropy(scene: Scene) -> None:
    expected = loss_in_torch(in_torch(NETWORK), scene).item()
    assert worked_example.loss_on(NETWORK, scene) == pytest.approx(expected, rel=1e-12)


@SCENES
def test_the_blame_traced_by_hand_is_autograds(scene: Scene) -> None:
    network = in_torch(NETWORK)
    hidden, output = network.layers
    hidden_sums = hidden.pre_activation(numbers([scene.signals]))
    output_sums = output.pre_activation(hidden.activation(hidden_sums))
    loss = CrossEntropy()(output_sums, torch.tensor([scene.right]))
    deltas = torch.autograd.grad(loss, [hidden_sums, output_sums], retain_graph=True)
    loss.backward()
    thoughts = worked_example.think(NETWORK, scene.signals)
    blames = worked_example.trace_blame(NETWORK, thoughts, scene.right)
    for layer, delta, blame in zip(network.layers, deltas, blames, strict=True):
        torch.testing.assert_close(numbers([blame.delta]), delta, **EXACT)
        torch.testing.assert_close(numbers(blame.weights), layer.weights.value.grad, **EXACT)
        torch.testing.assert_close(numbers(blame.biases), layer.bias.value.grad, **EXACT)
    gradients = torch.cat([parameter.grad.flatten() for parameter in network.parameters()])
    assert worked_example.slope(blames) == pytest.approx(gradients.norm().item(), rel=1e-12)


def test_the_step_is_that_of_torchs_sgd() -> None:
    example = worked_example.work_through()
    network = learned_in_torch([SMOKY_EVENING], worked_example.STEP_SIZE)
    for layer, values in zip(network.layers, example.stepped, strict=True):
        torch.testing.assert_close(numbers(values.weights), layer.weights.value.detach(), **EXACT)
        torch.testing.assert_close(numbers(values.biases), layer.bias.value.detach(), **EXACT)
    after = loss_in_torch(network, SMOKY_EVENING).item()
    assert example.loss_after == pytest.approx(after, rel=1e-12)


@pytest.mark.parametrize("learning_rate", [0.0, 0.001, 0.1, 1.0])
def test_trials_of_learning_rates_are_those_of_torchs_sgd(learning_rate: float) -> None:
    trial = worked_example.try_learning_rate(learning_rate)
    once = learned_in_torch([SMOKY_EVENING], learning_rate)
    forty = learned_in_torch([SMOKY_EVENING, MERRY_EVENING] * 20, learning_rate)
    assert trial.smoky == pytest.approx(loss_in_torch(once, SMOKY_EVENING).item(), rel=1e-12)
    assert trial.merry == pytest.approx(loss_in_torch(once, MERRY_EVENING).item(), rel=1e-12)
    both = [loss_in_torch(forty, scene).item() for scene in (SMOKY_EVENING, MERRY_EVENING)]
    assert trial.after_forty == pytest.approx(sum(both) / 2, rel=1e-9)  # forty roundings add up


def test_the_evening_is_judged_wrongly_before_the_step_and_rightly_after() -> None:
    example = worked_example.work_through()
    right = SMOKY_EVENING.right
    assert example.probabilities[right] < 0.5 < example.probabilities_after[right]
    assert example.loss_after < example.loss


def test_the_merry_evening_is_judged_rightly_from_the_start() -> None:
    assert worked_example.loss_on(NETWORK, MERRY_EVENING) < math.log(2)


def test_the_hidden_neurons_show_all_three_reactions() -> None:
    fire, food, fun, fear = worked_example.work_through().thoughts[0].output
    assert 0 < fire < 1
    assert food == 1
    assert 0 < fun < 1
    assert fear == 0


def test_the_shares_of_the_blame_are_those_of_backpropagate() -> None:
    example = worked_example.work_through()
    forward_pass = in_torch(NETWORK).trace(numbers([SMOKY_EVENING.signals]))
    loss = CrossEntropy()(forward_pass.output, torch.tensor([SMOKY_EVENING.right]))
    for depth, layer in enumerate(backpropagate(loss, forward_pass).layers):
        neurons, sources = layer.weights_blame.shape
        shares = [
            [example.share_of_blame(depth, neuron, source) for source in range(sources)]
            for neuron in range(neurons)
        ]
        torch.testing.assert_close(numbers(shares), layer.weights_blame, **EXACT)


def test_zero_learns_nothing_and_a_tiny_rate_almost_nothing() -> None:
    assert worked_example.try_learning_rate(0.0).smoky == worked_example.work_through().loss
    tiny = worked_example.try_learning_rate(0.001)
    assert 0 < worked_example.work_through().loss - tiny.smoky < 0.02


def test_a_good_rate_learns_both_evenings_and_a_huge_one_fears_all_kitchens() -> None:
    nothing, good, huge = map(worked_example.try_learning_rate, (0.0, 0.1, 1.0))
    assert good.after_forty < nothing.after_forty / 2
    assert huge.merry > 4
    assert huge.after_forty > nothing.after_forty


def test_the_flatter_the_hill_the_shorter_the_step() -> None:
    network, steepness = NETWORK, []
    for _ in range(5):
        thoughts = worked_example.think(network, SMOKY_EVENING.signals)
        blames = worked_example.trace_blame(network, thoughts, SMOKY_EVENING.right)
        steepness.append(worked_example.slope(blames))
        network = worked_example.step(network, blames, worked_example.STEP_SIZE)
    assert all(later < earlier for earlier, later in itertools.pairwise(steepness))


def test_an_outrageous_learning_rate_still_gives_finite_numbers() -> None:
    trial = worked_example.try_learning_rate(1e6)
    assert all(map(math.isfinite, (trial.smoky, trial.merry, trial.after_forty)))


def test_the_example_needs_nothing_but_the_standard_library() -> None:
    code = "import sys, brainnet.explanation.worked_example; print({'torch', 'numpy'} & set(sys.modules))"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "set()"
