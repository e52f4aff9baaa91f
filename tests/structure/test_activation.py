"""The threshold ramp as a module: quiet, rising, firing; what learns and what stays."""

import pytest
import torch

from brainnet.structure.activation import ThresholdRamp, activation_for


def test_quiet_then_rising_then_fully_firing() -> None:
    ramp = ThresholdRamp(threshold=1.0, width=4.0)
    taps = torch.tensor([-9.0, 1.0, 2.0, 3.0, 5.0, 99.0])
    assert ramp(taps).tolist() == [0.0, 0.0, 0.25, 0.5, 1.0, 1.0]


def test_plain_numbers_are_no_state() -> None:
    assert ThresholdRamp(threshold=0.5, width=2.0).state_dict() == {}


def test_what_learns_is_a_parameter_and_the_width_stays_positive() -> None:
    ramp = ThresholdRamp(threshold=0.5, width=0.5, learn_threshold=True, learn_width=True)
    assert set(dict(ramp.named_parameters())) == {"threshold", "log_width"}
    optimizer = torch.optim.SGD(ramp.parameters(), lr=100.0)
    ramp(torch.tensor([0.7])).sum().backward()
    optimizer.step()
    assert ramp.width > 0


def test_gradients_of_threshold_and_width_are_the_closed_form() -> None:
    ramp = ThresholdRamp(0.5, 2.0, neurons=3, learn_threshold=True, learn_width=True).double()
    inputs = torch.randn(40, 3, dtype=torch.float64) * 2
    weights = torch.randn(40, 3, dtype=torch.float64)
    output = ramp(inputs)
    (output * weights).sum().backward()
    rising = ((output > 0) & (output < 1)).double()
    torch.testing.assert_close(ramp.threshold.grad, -(rising * weights / 2.0).sum(0))
    # the width is held as its logarithm, whose derivative brings one more factor of the width
    torch.testing.assert_close(ramp.log_width.grad, -(rising * output * weights).sum(0))


def test_one_entry_per_neuron() -> None:
    ramp = ThresholdRamp(threshold=torch.tensor([0.0, 1.0]), width=torch.tensor([1.0, 2.0]))
    assert ramp(torch.tensor([[0.5, 2.0]])).tolist() == [[0.5, 0.5]]
    assert set(ramp.state_dict()) == {"threshold", "fixed_width"}


def test_in_a_layer_what_learns_is_per_neuron() -> None:
    ramp = activation_for(ThresholdRamp(learn_threshold=True), neurons=5)
    assert isinstance(ramp, ThresholdRamp)
    assert ramp.threshold.shape == (5,)
    assert ramp.width == 1.0


@pytest.mark.parametrize("width", [0.0, -1.0, float("nan"), torch.tensor([1.0, 0.0])])
def test_a_ramp_needs_a_width(width: float | torch.Tensor) -> None:
    with pytest.raises(ValueError, match="positive width"):
        ThresholdRamp(width=width)


def test_tensors_must_agree() -> None:
    with pytest.raises(ValueError, match="one length"):
        ThresholdRamp(threshold=torch.zeros(3), width=torch.ones(4))
    with pytest.raises(ValueError, match="one length"):
        ThresholdRamp(threshold=torch.zeros(3), neurons=4)
    with pytest.raises(ValueError, match="one length"):
        ThresholdRamp(threshold=torch.zeros(3, 2))


def test_print_out() -> None:
    text = repr(ThresholdRamp(0.5, 2.0, 0.1, learn_width=True))
    assert text == (
        "ThresholdRamp(threshold=0.5, width=2, leak=0.1, learns its width, "
        "concept=activation function)"
    )
