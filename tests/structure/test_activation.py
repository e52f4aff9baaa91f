"""ThresholdRamp: values, parameters, copies and counters."""

from copy import deepcopy

import pytest
import torch

from brainnet.errors import InputError
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.activation_registry import build_activation
from brainnet.structure.layer import Layer
from brainnet.structure.network import Network


def test_output_is_zero_then_rising_then_one() -> None:
    ramp = ThresholdRamp(threshold=1.0, width=4.0)
    inputs = torch.tensor([-9.0, 1.0, 2.0, 3.0, 5.0, 99.0])
    assert ramp(inputs).tolist() == [0.0, 0.0, 0.25, 0.5, 1.0, 1.0]


def test_constants_are_not_in_the_state() -> None:
    assert ThresholdRamp(threshold=0.5, width=2.0).state_dict() == {}


def test_learnable_width_stays_positive() -> None:
    ramp = ThresholdRamp(threshold=0.5, width=0.5, learn_threshold=True, learn_width=True)
    assert set(dict(ramp.named_parameters())) == {"threshold", "log_width"}
    optimizer = torch.optim.SGD(ramp.parameters(), lr=100.0)
    ramp(torch.tensor([0.7])).sum().backward()
    optimizer.step()
    assert ramp.width > 0


def test_gradients_of_threshold_and_width() -> None:
    ramp = ThresholdRamp(0.5, 2.0, neurons=3, learn_threshold=True, learn_width=True).double()
    inputs = torch.randn(40, 3, dtype=torch.float64) * 2
    weights = torch.randn(40, 3, dtype=torch.float64)
    output = ramp(inputs)
    (output * weights).sum().backward()
    rising = ((output > 0) & (output < 1)).double()
    torch.testing.assert_close(ramp.threshold.grad, -(rising * weights / 2.0).sum(0))
    # The chain rule of log_width adds a factor of the width.
    torch.testing.assert_close(ramp.log_width.grad, -(rising * output * weights).sum(0))


def test_one_value_per_neuron() -> None:
    ramp = ThresholdRamp(threshold=torch.tensor([0.0, 1.0]), width=torch.tensor([1.0, 2.0]))
    assert ramp(torch.tensor([[0.5, 2.0]])).tolist() == [[0.5, 0.5]]
    assert set(ramp.state_dict()) == {"threshold", "fixed_width"}


def test_learnable_parameters_are_per_neuron_in_a_layer() -> None:
    ramp = build_activation(ThresholdRamp(learn_threshold=True), neurons=5)
    assert isinstance(ramp, ThresholdRamp)
    assert ramp.threshold.shape == (5,)
    assert ramp.width == 1.0


@pytest.mark.parametrize("neurons", [None, 3])
def test_copy_for_layer_keeps_learned_values(neurons: int | None) -> None:
    ramp = ThresholdRamp(0.5, 2.0, neurons=neurons, learn_threshold=True, learn_width=True).eval()
    assert isinstance(ramp.threshold, torch.nn.Parameter)
    with torch.no_grad():
        ramp.threshold.fill_(0.75)
        ramp.log_width.fill_(-1.0)
    ramp.threshold.requires_grad_(False)
    copy = Layer(2, 3, ramp).activation
    assert isinstance(copy, ThresholdRamp)
    assert (copy.threshold.tolist(), copy.log_width.tolist()) == ([0.75] * 3, [-1.0] * 3)
    assert (copy.threshold.requires_grad, copy.log_width.requires_grad) == (False, True)
    assert not copy.training
    with torch.no_grad():
        copy.threshold.fill_(9.0)
    assert ramp.threshold.flatten()[0] == 0.75
    copy.reset_parameters()
    assert (copy.threshold.tolist(), copy.width.tolist()) == ([0.5] * 3, pytest.approx([2] * 3))


def test_copy_for_another_number_of_neurons_is_reset() -> None:
    ramp = ThresholdRamp(0.5, neurons=3, learn_threshold=True)
    with torch.no_grad():
        ramp.threshold.fill_(0.75)
    assert ramp.copy_for_layer(4).threshold.tolist() == [0.5] * 4


def test_copy_keeps_changed_buffers() -> None:
    ramp = ThresholdRamp(threshold=torch.zeros(3))
    ramp.threshold[1] = 0.25
    assert build_activation(ramp, 3).threshold.tolist() == [0.0, 0.25, 0.0]


@pytest.mark.parametrize("width", [0.0, -1.0, float("nan"), torch.tensor([1.0, 0.0])])
def test_width_must_be_positive(width: float | torch.Tensor) -> None:
    with pytest.raises(ValueError, match="positive width"):
        ThresholdRamp(width=width)


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), torch.tensor([0.0, float("nan")])])
def test_values_must_be_finite(odd: float | torch.Tensor) -> None:
    with pytest.raises(ValueError, match="finite threshold"):
        ThresholdRamp(odd)
    with pytest.raises(ValueError, match="finite, positive width"):
        ThresholdRamp(width=odd)


@pytest.mark.parametrize("leak", [-0.1, float("nan"), float("inf")])
def test_leak_must_be_finite(leak: float) -> None:
    with pytest.raises(ValueError, match="at least 0"):
        ThresholdRamp(leak=leak)


STARTS: dict[str, dict[str, object]] = {
    "plain": {},
    "numbers": {"threshold": 0.25, "width": 3.0},
    "learning": {"threshold": 0.25, "width": 3.0, "learn_threshold": True, "learn_width": True},
    "tensors": {"threshold": torch.tensor([0.5, -1.0, 2.0]), "width": torch.tensor([1.0, 2.0, 3])},
    "learning tensors": {"width": torch.tensor([1.0, 2.0, 3.0]), "learn_width": True},
}


@pytest.mark.parametrize("kind", STARTS)
@pytest.mark.parametrize("context", ["device", "default_device"])
def test_meta_network_is_initialized_later(kind: str, context: str) -> None:
    ramp = ThresholdRamp(**STARTS[kind])  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    right = Network([4, 3, 2], activation=ramp, generator=generator)
    if context == "device":
        with torch.device("meta"):
            network, default = Network([4, 3, 2], activation=ramp), Network([4, 3, 2])
    else:
        torch.set_default_device("meta")
        try:
            network, default = Network([4, 3, 2], activation=ramp), Network([4, 3, 2])
        finally:
            torch.set_default_device(None)
    assert all(tensor.is_meta for tensor in (*network.parameters(), *default.parameters()))
    network.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.fill_(float("nan"))
    network.reset_parameters(generator.manual_seed(0))
    actual, expected = network.state_dict(), right.state_dict()
    assert list(actual) == list(expected)
    assert all(torch.equal(actual[name], expected[name]) for name in expected)
    inputs = torch.randn(5, 4)
    assert torch.equal(network(inputs), right(inputs))


def test_meta_initial_values_are_rejected() -> None:
    for shape in ((), (3,)):
        with pytest.raises(ValueError, match="meta device"):
            ThresholdRamp(threshold=torch.zeros(shape, device="meta"))


def test_shapes_must_match() -> None:
    with pytest.raises(ValueError, match="of one length"):
        ThresholdRamp(threshold=torch.zeros(3), width=torch.ones(4))
    with pytest.raises(ValueError, match="of one length"):
        ThresholdRamp(threshold=torch.zeros(3), neurons=4)
    with pytest.raises(ValueError, match="of one length"):
        ThresholdRamp(threshold=torch.zeros(3, 2))


def test_print_out() -> None:
    text = repr(ThresholdRamp(0.5, 2.0, 0.1, learn_width=True))
    assert text == (
        "ThresholdRamp(threshold=0.5, width=2, leak=0.1, learn_width=True, "
        "concept=activation function)"
    )


BATCH = torch.tensor([[-1.0, 0.5, float("nan")], [2.0, 0.25, 1.0]])


def build_counting_ramp(**options: object) -> ThresholdRamp:
    ramp = ThresholdRamp(**options)  # type: ignore[arg-type]
    ramp.start_counting(neurons=3)
    return ramp


def test_counters_add_up_until_counting_starts_again() -> None:
    ramp = build_counting_ramp()
    plain = ThresholdRamp()
    for _ in range(3):
        assert torch.equal(ramp(BATCH)[:, :2], plain(BATCH)[:, :2])
    counted = ramp.read_counters()
    assert (counted.silent, counted.ramp) == ((3, 0, 0), (0, 6, 0))
    assert (counted.firing, counted.not_finite) == ((3, 0, 3), (0, 0, 3))
    assert (counted.sum, counted.sum_of_squares) == ((3.0, 2.25, 3.0), (3.0, 0.9375, 3.0))
    ramp.start_counting(neurons=3)
    assert ramp.read_counters().silent == (0, 0, 0)


def test_counts_beyond_float64_precision_are_exact() -> None:
    ramp = build_counting_ramp()
    assert ramp.counts is not None
    ramp.counts.fill_(2**53 + 1)
    assert ramp.read_counters().silent[0] == 2**53 + 1


def test_counters_are_optional_and_not_in_the_state() -> None:
    ramp = ThresholdRamp()
    assert list(ramp.buffers()) == []
    with pytest.raises(InputError, match="start_counting"):
        ramp.read_counters()
    with pytest.raises(InputError, match="neurons=64"):
        ramp.start_counting()
    ramp.start_counting(neurons=3)
    assert ramp.state_dict() == {}
    ramp.stop_counting()
    assert list(ramp.buffers()) == []


def test_counting_infers_the_number_of_neurons() -> None:
    ramp = ThresholdRamp(threshold=torch.zeros(3))
    ramp.start_counting()
    ramp(BATCH)
    assert ramp.read_counters().not_finite == (0, 0, 1)


def test_layer_copies_have_their_own_counters() -> None:
    first, second = (build_activation(build_counting_ramp(), neurons=3) for _ in range(2))
    first(BATCH)
    assert isinstance(first, ThresholdRamp)
    assert isinstance(second, ThresholdRamp)
    assert (first.read_counters().silent, second.read_counters().silent) == ((1, 0, 0), (0, 0, 0))


@pytest.mark.parametrize("move", ["half", "bfloat16", "float", "double", "copy", "to"])
def test_counters_survive_conversions(move: str) -> None:
    ramp = build_counting_ramp(threshold=torch.zeros(3))
    ramp(BATCH)
    moved = {"copy": lambda: deepcopy(ramp), "to": lambda: ramp.to("cpu", torch.float16)}.get(
        move, getattr(ramp, move, None)
    )()
    moved(BATCH.to(moved.threshold.dtype))
    assert moved.read_counters().ramp == (0, 4, 0)
    assert moved.sums.dtype == torch.float64
    assert move != "copy" or ramp.read_counters().ramp == (0, 2, 0)


def test_to_empty_resets_counters() -> None:
    ramp = build_counting_ramp(threshold=torch.zeros(3)).to("meta").to_empty(device="cpu")
    ramp.reset_parameters()
    ramp(BATCH)
    assert ramp.read_counters().ramp == (0, 2, 0)


@pytest.mark.slow
def test_counters_in_compiled_code() -> None:
    ramp, twin = build_counting_ramp(), build_counting_ramp()
    torch.compiler.reset()
    ramp.compile(fullgraph=True)
    for _ in range(3):
        ramp(BATCH)
        twin(BATCH)
    assert ramp.read_counters() == twin.read_counters()
    ramp.start_counting(neurons=3)
    ramp(BATCH)
    assert ramp.read_counters().silent == (1, 0, 0)
