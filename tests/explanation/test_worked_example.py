"""The worked example: its numbers equal those of PyTorch, and its sentences are true."""

import itertools
import math
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from brainnet.concepts import CONCEPTS, find_concept
from brainnet.explanation import worked_example
from brainnet.explanation.worked_example import (
    MERRY_EVENING,
    NETWORK,
    SMOKY_EVENING,
    STEP_SIZE,
    PlainNetwork,
    Scene,
    compute_layer_gradients,
    describe_concept,
    work_through,
)
from brainnet.learning.backpropagation import backpropagate
from brainnet.learning.loss import CrossEntropy
from brainnet.structure.network import Network

EXACT = {"rtol": 1e-12, "atol": 1e-12}
SCENES = pytest.mark.parametrize("scene", [SMOKY_EVENING, MERRY_EVENING], ids=lambda s: s.name)


def numbers(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def build_network(plain: PlainNetwork) -> Network:
    network = Network([4, 4, 2], activation="threshold_ramp", dtype=torch.float64)
    with torch.no_grad():
        for layer, values in zip(network.layers, plain, strict=True):
            layer.weights.value.copy_(numbers(values.weights))
            layer.bias.value.copy_(numbers(values.biases))
    return network


def compute_torch_loss(network: Network, scene: Scene) -> Tensor:
    return CrossEntropy()(network(numbers([scene.signals])), torch.tensor([scene.target]))


def train_network(scenes: list[Scene], learning_rate: float) -> Network:
    network = build_network(NETWORK)
    optimizer = torch.optim.SGD(network.parameters(), lr=learning_rate)
    for scene in scenes:
        optimizer.zero_grad()
        compute_torch_loss(network, scene).backward()
        optimizer.step()
    return network


@SCENES
def test_forward_pass_equals_torch(scene: Scene) -> None:
    signal = numbers([scene.signals])
    layers = build_network(NETWORK).layers
    for layer, values in zip(
        layers, worked_example.compute_layer_values(NETWORK, scene.signals), strict=True
    ):
        torch.testing.assert_close(numbers([values.inputs]), signal, **EXACT)
        torch.testing.assert_close(
            numbers([values.pre_activation]), layer.pre_activation(signal), **EXACT
        )
        signal = layer(signal)
        torch.testing.assert_close(numbers([values.output]), signal, **EXACT)
    probabilities = worked_example.compute_softmax(values.output)
    torch.testing.assert_close(numbers([probabilities]), signal.softmax(-1), **EXACT)


@SCENES
def test_loss_equals_torch(scene: Scene) -> None:
    expected = compute_torch_loss(build_network(NETWORK), scene).item()
    assert worked_example.compute_loss(NETWORK, scene) == pytest.approx(expected, rel=1e-12)


@SCENES
def test_gradients_equal_autograd(scene: Scene) -> None:
    network = build_network(NETWORK)
    hidden, output = network.layers
    hidden_sums = hidden.pre_activation(numbers([scene.signals]))
    output_sums = output.pre_activation(hidden.activation(hidden_sums))
    loss = CrossEntropy()(output_sums, torch.tensor([scene.target]))
    deltas = torch.autograd.grad(loss, [hidden_sums, output_sums], retain_graph=True)
    loss.backward()
    gradients = compute_layer_gradients(NETWORK, scene)
    for layer, delta, values in zip(network.layers, deltas, gradients, strict=True):
        torch.testing.assert_close(numbers([values.delta]), delta, **EXACT)
        torch.testing.assert_close(numbers(values.weights), layer.weights.value.grad, **EXACT)
        torch.testing.assert_close(numbers(values.biases), layer.bias.value.grad, **EXACT)
    expected = torch.cat([parameter.grad.flatten() for parameter in network.parameters()])
    assert worked_example.compute_norm(gradients) == pytest.approx(
        expected.norm().item(), rel=1e-12
    )


def test_step_equals_torch_sgd() -> None:
    example = work_through()
    network = train_network([SMOKY_EVENING], STEP_SIZE)
    for layer, values in zip(network.layers, example.stepped, strict=True):
        torch.testing.assert_close(numbers(values.weights), layer.weights.value.detach(), **EXACT)
        torch.testing.assert_close(numbers(values.biases), layer.bias.value.detach(), **EXACT)
    after = compute_torch_loss(network, SMOKY_EVENING).item()
    assert example.loss_after == pytest.approx(after, rel=1e-12)


@pytest.mark.parametrize("learning_rate", [0.0, 0.001, 0.1, 1.0])
def test_learning_rate_trials_equal_torch_sgd(learning_rate: float) -> None:
    smoky, merry, after = worked_example.try_learning_rate(learning_rate)
    once = train_network([SMOKY_EVENING], learning_rate)
    forty = train_network([SMOKY_EVENING, MERRY_EVENING] * 20, learning_rate)
    assert smoky == pytest.approx(compute_torch_loss(once, SMOKY_EVENING).item(), rel=1e-12)
    assert merry == pytest.approx(compute_torch_loss(once, MERRY_EVENING).item(), rel=1e-12)
    both = [compute_torch_loss(forty, scene).item() for scene in (SMOKY_EVENING, MERRY_EVENING)]
    assert after == pytest.approx(sum(both) / 2, rel=1e-9)  # rounding errors of 40 steps


def test_step_corrects_the_prediction() -> None:
    example = work_through()
    right = SMOKY_EVENING.target
    assert example.probabilities[right] < 0.5 < example.probabilities_after[right]
    assert example.loss_after < example.loss


def test_merry_evening_is_correct_before_training() -> None:
    assert worked_example.compute_loss(NETWORK, MERRY_EVENING) < math.log(2)


def test_hidden_neurons_are_silent_on_the_ramp_and_firing() -> None:
    fire, food, fun, fear = work_through().values[0].output
    assert 0 < fire < 1
    assert food == 1
    assert 0 < fun < 1
    assert fear == 0


def test_blame_equals_backpropagate() -> None:
    example = work_through()
    forward_pass = build_network(NETWORK).trace(numbers([SMOKY_EVENING.signals]))
    loss = CrossEntropy()(forward_pass.output, torch.tensor([SMOKY_EVENING.target]))
    for depth, layer in enumerate(backpropagate(loss, forward_pass).layers):
        neurons, sources = layer.weights_blame.shape
        shares = [
            [example.compute_blame(depth, neuron, source) for source in range(sources)]
            for neuron in range(neurons)
        ]
        torch.testing.assert_close(numbers(shares), layer.weights_blame, **EXACT)


def test_small_learning_rates_learn_little() -> None:
    assert worked_example.try_learning_rate(0.0)[0] == work_through().loss
    tiny, *_ = worked_example.try_learning_rate(0.001)
    assert 0 < work_through().loss - tiny < 0.02


def test_good_and_large_learning_rates() -> None:
    nothing, good, huge = map(worked_example.try_learning_rate, (0.0, 0.1, 1.0))
    assert good[2] < nothing[2] / 2
    assert huge[1] > 4
    assert huge[2] > nothing[2]


def test_gradient_norm_decreases() -> None:
    network, norms = NETWORK, []
    for _ in range(5):
        norms.append(worked_example.compute_norm(compute_layer_gradients(network, SMOKY_EVENING)))
        network = worked_example.take_step(network, SMOKY_EVENING, STEP_SIZE)
    assert all(later < earlier for earlier, later in itertools.pairwise(norms))


def test_huge_learning_rate_gives_finite_losses() -> None:
    assert all(map(math.isfinite, worked_example.try_learning_rate(1e6)))


def test_example_imports_no_torch() -> None:
    code = (
        "import sys, brainnet.explanation.worked_example; "
        "print({'torch', 'numpy'} & set(sys.modules))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert process.stdout.strip() == "set()"


EACH = pytest.mark.parametrize("concept", CONCEPTS, ids=lambda concept: concept.slug)


def describe(name):
    return "\n".join(describe_concept(find_concept(name)))


@EACH
def test_preformatted_lines_are_short(concept):
    assert all(len(line) <= 76 for line in describe_concept(concept) if line.startswith(" "))
    assert any(line.startswith(" ") for line in describe_concept(concept))


@EACH
def test_no_negative_zero_is_shown(concept):
    assert "-0.00" not in describe(concept.name).replace("-0.001", "")


def test_drawing_shows_all_neurons():
    drawing = describe_concept(find_concept("layers"))[:5]
    assert [line.split()[0] for line in drawing] == ["input", "smoke", "heat", "sizzle", "music"]
    cells = ["fire 0.22", "food 1.00", "fun  0.77", "fear 0.00"]
    assert all(cell in line for cell, line in zip(cells, drawing[1:], strict=True))
    assert drawing[2].endswith("relax             79%")
    assert drawing[3].endswith("check the burner  21%")
    assert "30 numbers that learn" in describe("layers")


def test_products_and_bias_add_up():
    values = [
        float(line.split("=")[1])
        for line in describe_concept(find_concept("neuron"))
        if "=" in line
    ]
    assert len(values) == 4
    assert sum(values) + NETWORK[0].biases[0] == pytest.approx(0.22)
    assert "sum                 0.22  → fires at 0.22" in describe("neuron")


def test_weights_are_shown():
    rows = [
        line.split() for line in describe_concept(find_concept("weights")) if line.startswith("  ")
    ]
    assert rows[0] == ["smoke", "heat", "sizzle", "music"]
    table = tuple(tuple(map(float, row[1:])) for row in rows[1:])
    assert table == NETWORK[0].weights


def test_bias_is_shown():
    assert "without the bias   0.45 → fires at 0.45" in describe("bias")
    assert "with it           -0.45 → fires at 0.00" in describe("bias")


def test_activation_is_shown():
    assert [line.split()[1:4:2] for line in describe_concept(find_concept("activation"))[1:5]] == [
        ["-0.45", "0.00"],
        ["0.22", "0.22"],
        ["0.77", "0.77"],
        ["1.20", "1.00"],
    ]


def test_output_sums_are_shown():
    assert "relax            -0.5·0.22 + 0.3·1.00 + 1.0·0.77 - 1.0·0.00 + 0.2 = 1.16" in describe(
        "forward pass"
    )
    assert "1.0·0.22 + 0.1·1.00 - 0.6·0.77 + 1.2·0.00 + 0.0 = -0.14" in describe("forward pass")
    assert "79% and 21%" in describe("forward pass")


def test_losses_are_shown():
    rows = [
        line.split() for line in describe_concept(find_concept("loss")) if "probability 0." in line
    ]
    losses = [float(row[3]) for row in rows]
    assert losses == sorted(losses)
    assert losses == [0.01, 0.693, round(work_through().loss, 3), 4.605]


def test_most_blamed_weights_are_shown():
    shares = [line for line in describe_concept(find_concept("backpropagation")) if "%" in line]
    assert shares[0].split()[:4] == ["music", "→", "fun", "10.4%"]
    percentages = [float(line.split("%")[0].split()[-1]) for line in shares]
    assert percentages == sorted(percentages, reverse=True)
    assert "1.0 · 0.79 - 0.6 · (-0.79) = 1.26" in describe("backpropagation")


def test_gradient_equals_difference_quotient():
    assert "1.258 · 0.9 = 1.132" in describe("gradient")
    assert "loss 1.5426 → 1.5539, a slope of 1.134" in describe("gradient")


def test_steps_become_shorter():
    assert "0.900 - 0.1 · 1.132 = 0.787" in describe("gradient descent")
    assert "0.500 - 0.1 · (-0.708) = 0.571" in describe("gradient descent")
    assert "from 1.543 to 0.582" in describe("gradient descent")
    steps = [
        line.split()
        for line in describe_concept(find_concept("gradient descent"))
        if "steepness" in line
    ]
    for column in (2, 4, 6):
        values = [float(step[column]) for step in steps]
        assert values == sorted(values, reverse=True)


def test_learning_rates_are_compared():
    rows = [
        line.split() for line in describe_concept(find_concept("learning rate")) if line[:3].strip()
    ]
    endings = {row[0]: " ".join(row[4:]) for row in rows if row[0] in {"0", "0.001", "0.1", "1"}}
    assert endings == {
        "0": "never learns",
        "0.001": "too small",
        "0.1": "learns",
        "1": "overshoots",
    }
    after_forty = {row[0]: float(row[3]) for row in rows if row[0] in endings}
    assert min(after_forty, key=after_forty.__getitem__) == "0.1"
    assert max(after_forty, key=after_forty.__getitem__) == "1"
    assert "leaps from 0.15 to 4.60" in describe("learning rate")
