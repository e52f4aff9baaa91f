import math
import time
from contextlib import closing

import pytest
import torch
from torch import nn

from brainnet.learning.backpropagation import backpropagate
from brainnet.learning.loss import MeanSquaredError
from brainnet.observation.capabilities import ObservedModel
from brainnet.observation.step_observer import StepObserver
from brainnet.structure.network import Network

INPUTS = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
TARGETS = torch.randn(16, 2, generator=torch.Generator().manual_seed(1))


def make(activation="threshold_ramp"):
    return Network([4, 5, 3, 2], activation, generator=torch.Generator().manual_seed(2))


def loss_of(model, rows=slice(None)):
    return (model(INPUTS[rows]) - TARGETS[rows]).square().mean()


def learn(model, *, lr=0.1, level="light", previous=None, optimizer=torch.optim.SGD):
    descent = optimizer(model.parameters(), lr=lr)
    with closing(StepObserver(ObservedModel(model), level=level, previous=previous)) as observed:
        loss = loss_of(model)
        loss.backward()
        observed.measure_gradients(model.parameters())
        descent.step()
        observed.loss = loss
        return observed, observed.finish(step=7, epoch=3).resolve()


def hooks_of(model):
    return [
        hook
        for module in model.modules()
        for hooks in (module._forward_hooks, module._forward_pre_hooks)
        for hook in hooks.values()
    ]


def test_a_reading_equals_a_step_computed_by_hand():
    model, twin = make(), make()
    _, resolved = learn(model)
    loss = loss_of(twin)
    loss.backward()
    gradients = [parameter.grad.double() for parameter in twin.parameters()]
    reading, first = resolved.reading, resolved.reading.layers[0]
    weights, bias = twin.layers[0].weights.value, twin.layers[0].bias.value
    assert (reading.step, reading.epoch) == (7, 3)
    assert reading.loss == pytest.approx(loss.item())
    squares = sum(gradient.square().sum() for gradient in gradients).item()
    assert reading.gradient_norm == pytest.approx(math.sqrt(squares))
    assert reading.predicted_decrease == pytest.approx(0.1 * squares, rel=1e-5)
    assert [layer.name for layer in reading.layers] == ["hidden_1", "hidden_2", "output"]
    assert first.weights_norm == pytest.approx(weights.norm().item())
    assert first.bias_norm == pytest.approx(bias.norm().item())
    both = torch.cat([weights.grad.flatten(), bias.grad])
    assert first.gradient_norm == pytest.approx(both.norm().item())
    ratio = 0.1 * weights.grad.norm() / weights.norm()
    assert first.update_ratio == pytest.approx(ratio.item(), rel=1e-4)


def test_firing_rates_use_every_row():
    model = make()
    with torch.no_grad():
        model.layers[0].bias.value[0] = -100.0  # below its threshold on every row
        model.layers[0].bias.value[1] = 100.0  # beyond its ramp on every row
    forward_pass = model.trace(INPUTS)
    sums, outputs = forward_pass.layers[0].pre_activation, forward_pass.layers[0].output
    _, resolved = learn(model)
    first = resolved.reading.layers[0]
    assert first.firing_rate == pytest.approx((outputs > 0).double().mean().item())
    assert first.silent == (outputs == 0).all(dim=0).double().mean().item() == 0.2
    on_the_ramp = ((sums > 0) & (sums < 1)).double().mean(dim=0)
    assert first.saturated == pytest.approx((on_the_ramp < 0.1).double().mean().item())
    assert first.saturated >= 0.4


def test_layers_without_activation_have_no_firing_rate():
    _, resolved = learn(make())
    output = resolved.reading.layers[-1]
    assert output.firing_rate is output.silent is output.saturated is None
    assert resolved.histograms["activation/output"].count == INPUTS.shape[0] * 2


def test_blame_and_deltas_equal_those_of_backpropagate():
    model, twin = make(), make()
    forward_pass = twin.trace(INPUTS)
    expected = backpropagate((forward_pass.output - TARGETS).square().mean(), forward_pass)
    _, resolved = learn(model, level="full")
    shares = [layer.blame for layer in resolved.reading.layers]
    assert shares == pytest.approx([layer.blame for layer in expected.layers], rel=1e-5)
    of_neurons = resolved.histograms["backpropagation/hidden_1"]
    assert of_neurons.count == 5
    largest = expected.layers[0].delta.abs().sum(dim=0).max().item()
    assert of_neurons.maximum == pytest.approx(largest)


def test_histograms_count_every_element_before_the_step():
    model, twin = make(), make()
    _, resolved = learn(model)
    counts = {tag: found.count for tag, found in resolved.histograms.items()}
    assert counts == {
        **{"weights/hidden_1": 20, "weights/hidden_2": 15, "weights/output": 6},
        **{"bias/hidden_1": 5, "bias/hidden_2": 3, "bias/output": 2},
        **{
            f"gradient/{place}/weights": n
            for place, n in zip(("hidden_1", "hidden_2", "output"), (20, 15, 6), strict=True)
        },
        **{"activation/hidden_1": 80, "activation/hidden_2": 48, "activation/output": 32},
    }
    weights = twin.layers[0].weights.value
    assert resolved.histograms["weights/hidden_1"].maximum == weights.max().item()


def test_level_full_adds_histograms():
    light, full = learn(make())[1], learn(make(), level="full")[1]
    assert {tag.replace("hidden_1", "…") for tag in full.histograms if "hidden_1" in tag} - {
        tag.replace("hidden_1", "…") for tag in light.histograms
    } == {
        "forward_pass/…/sum",
        "backpropagation/…",
        "gradient/…/bias",
        "gradient_descent/…/step",
    }


def test_gradients_are_compared_with_those_of_the_previous_reading():
    model = make()
    observed, _ = learn(model, lr=0.0, level="full")
    model.zero_grad()
    _, resolved = learn(model, lr=0.0, level="full", previous=observed.directions)
    assert resolved.reading.layers[0].gradient_cosine == pytest.approx(1.0)


def test_accumulated_passes_are_one_reading():
    whole, parts = make(), make()
    _, expected = learn(whole)
    descent = torch.optim.SGD(parts.parameters(), lr=0.1)
    observed = StepObserver(ObservedModel(parts))
    for rows in (slice(0, 8), slice(8, 16)):
        (loss_of(parts, rows) / 2).backward()
    observed.measure_gradients(parts.parameters())
    descent.step()
    found = observed.finish(step=7, epoch=3).resolve().reading
    for layer, other in zip(found.layers, expected.reading.layers, strict=True):
        assert layer.firing_rate == pytest.approx(other.firing_rate)
        assert layer.blame == pytest.approx(other.blame, rel=1e-5)
        assert layer.saturated == other.saturated
    assert found.gradient_norm == pytest.approx(expected.reading.gradient_norm, rel=1e-5)


def test_observation_does_not_change_weights_and_gradients():
    watched, alone = make(), make()
    state = torch.get_rng_state()
    learn(watched, level="full", optimizer=torch.optim.Adam)
    assert torch.equal(torch.get_rng_state(), state)
    descent = torch.optim.Adam(alone.parameters(), lr=0.1)
    loss_of(alone).backward()
    descent.step()
    for one, other in zip(watched.parameters(), alone.parameters(), strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one.grad, other.grad)


def test_all_hooks_are_removed():
    model = make()
    learn(model)
    assert hooks_of(model) == []
    observed = StepObserver(ObservedModel(model))
    assert hooks_of(model)
    observed.close()
    observed.close()
    assert hooks_of(model) == []


def test_exceptions_in_hooks_are_raised_by_finish(monkeypatch):
    def fail(*_, **__):
        raise ArithmeticError("out of luck")

    monkeypatch.setattr("brainnet.observation.layer_statistics.compute_statistics", fail)
    model = make()
    observed = StepObserver(ObservedModel(model))
    loss_of(model).backward()
    with pytest.raises(ArithmeticError, match="out of luck"):
        observed.finish(step=0, epoch=0)
    assert hooks_of(model) == []


def test_passes_without_gradients_are_ignored():
    model = make()
    _, expected = learn(make())
    observed = StepObserver(ObservedModel(model))
    loss_of(model).backward()
    with torch.no_grad():
        model(100 * INPUTS)
    observed.measure_gradients(model.parameters())
    found = observed.finish(step=0, epoch=0).resolve().reading
    assert found.layers[0].firing_rate == expected.reading.layers[0].firing_rate


def test_frozen_and_unused_layers_have_no_gradient():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.frozen = nn.Linear(4, 3).requires_grad_(False)
            self.used = nn.Linear(3, 2, bias=False)
            self.unused = nn.Linear(9, 9)

        def forward(self, inputs):
            return self.used(self.frozen(inputs))

    _, resolved = learn(Odd())
    frozen, used, unused = resolved.reading.layers
    assert frozen.gradient_norm is None
    assert frozen.update_ratio == 0.0
    assert frozen.blame is None
    assert used.bias_norm is None
    assert used.blame == 1.0
    assert unused.gradient_norm is unused.blame is None
    assert "activation/unused" not in resolved.histograms


def test_layers_of_any_model_have_their_qualified_names():
    model = nn.Sequential(
        nn.Unflatten(1, (1, 2, 2)),
        nn.Conv2d(1, 3, 2, padding=1),
        nn.BatchNorm2d(3),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(27, 2),
    )
    sums = []
    handle = model[2].register_forward_hook(lambda _m, _i, output: sums.append(output.clone()))
    _, resolved = learn(model)
    handle.remove()
    conv, linear = resolved.reading.layers
    assert (conv.name, linear.name) == ("1", "5")
    assert conv.firing_rate == pytest.approx((sums[0] > 0).double().mean().item())
    assert 0 < conv.blame < 1
    assert conv.saturated is not None


def test_shared_activations_are_assigned_to_each_layer():
    relu = nn.ReLU()
    model = nn.Sequential(nn.Linear(4, 6), relu, nn.Linear(6, 5), relu, nn.Linear(5, 2))
    with torch.no_grad():
        first = relu(model[0](INPUTS))
        second = relu(model[2](first))
    _, resolved = learn(model)
    assert [layer.firing_rate for layer in resolved.reading.layers] == [
        pytest.approx((first > 0).double().mean().item()),
        pytest.approx((second > 0).double().mean().item()),
        None,
    ]
    assert resolved.histograms["activation/0"].count == 16 * 6
    assert resolved.histograms["activation/2"].count == 16 * 5


def test_compiled_models_have_weights_and_gradients_only():
    model = make()
    assert not ObservedModel(model).is_compiled()
    model.compile(backend="eager")
    assert ObservedModel(model).is_compiled()
    _, resolved = learn(model)
    first = resolved.reading.layers[0]
    assert first.firing_rate is None
    assert first.gradient_norm > 0
    assert 0 < first.blame < 1


def test_several_optimizers_update_one_reading():
    model = make()
    first, rest = list(model.layers[0].parameters()), list(model.layers[1:].parameters())
    observed = StepObserver(ObservedModel(model))
    loss_of(model).backward()
    for parameters in (first, rest):
        observed.measure_gradients(parameters)
        torch.optim.SGD(parameters, lr=0.1).step()
    found = observed.finish(step=0, epoch=0).resolve().reading
    _, expected = learn(make())
    assert found.gradient_norm == pytest.approx(expected.reading.gradient_norm)
    assert found.predicted_decrease == pytest.approx(expected.reading.predicted_decrease, rel=1e-4)


def test_deltas_are_divided_by_the_gradient_scale():
    plain, scaled = make(), make()
    expected = learn(plain, level="full")[1].histograms["backpropagation/hidden_1"]
    observed = StepObserver(ObservedModel(scaled), level="full")
    (loss_of(scaled) * 1024).backward()
    for parameter in scaled.parameters():
        parameter.grad /= 1024
    observed.measure_gradients(scaled.parameters(), scale=torch.tensor(1024.0))
    found = observed.finish(step=0, epoch=0).resolve().histograms["backpropagation/hidden_1"]
    assert found.maximum == pytest.approx(expected.maximum)


def test_the_forward_pass_is_timed():
    began = time.perf_counter()
    _, resolved = learn(make())
    assert 0 < resolved.reading.forward_seconds < time.perf_counter() - began


def test_losses_of_brainnet_can_be_observed():
    model = make()
    with closing(StepObserver(ObservedModel(model))) as observed:
        MeanSquaredError()(model(INPUTS), TARGETS).backward()
        observed.measure_gradients(model.parameters())
        observed.loss_before = torch.tensor(3.0)
        reading = observed.finish(0, loss_after=torch.tensor(2.5)).resolve().reading
    assert reading.actual_decrease == 0.5


def test_the_loss_is_copied():
    model = make()
    with closing(StepObserver(ObservedModel(model))) as observed:
        loss = loss_of(model)
        loss.backward()
        expected = loss.item()
        observed.measure_gradients(model.parameters())
        observed.loss = loss
        pending = observed.finish(0)
        loss.detach().add_(1)
    assert pending.resolve().reading.loss == pytest.approx(expected)


def test_embeddings_are_observed():
    network = Network([3, 4, 2], embeddings={1: 12})
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    observed = StepObserver(ObservedModel(network), level="full")
    network(torch.tensor([[0.5, 7.0, -1.0], [0.0, 3.0, 1.0]])).square().sum().backward()
    observed.measure_gradients(network.parameters())
    optimizer.step()
    layers = observed.finish(step=0, epoch=0).resolve().reading.layers
    assert [layer.name for layer in layers] == ["embedding_1", "hidden_1", "output"]
    table = network.embeddings.columns["1"].value
    moved = table.grad.norm().item()
    assert moved > 0
    assert layers[0].gradient_norm == pytest.approx(moved)
