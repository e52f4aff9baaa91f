import pytest
import torch
from torch import nn

from brainnet.observation.probe import (
    _MAX_WEIGHTS_TIMES_ROWS,
    _MIN_ROWS,
    ProbeBatch,
    isolated_eval,
    limit_rows,
)
from brainnet.structure.network import Network


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, inputs):
        return self.layer(inputs) * (100 if self.training else 1)


def normed():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU())


def hooked():
    return nn.utils.spectral_norm(nn.Linear(3, 2))  # by a hook that draws nearer at each call


@pytest.mark.parametrize(
    "make",
    [
        Own,
        normed,
        hooked,
        lambda: nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5)),
        lambda: nn.Sequential(nn.Linear(3, 2), nn.RReLU()),
        lambda: Network([3, 4, 2]),
    ],
)
def test_isolated_eval_evaluates_and_restores_all_state(make):
    torch.manual_seed(0)
    module, inputs = make(), torch.randn(5, 3)
    module.eval()
    expected = module(inputs)
    module.train()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    draws = torch.get_rng_state()
    with isolated_eval(module):
        found = module(inputs)
    assert torch.equal(found, expected)
    assert not found.requires_grad
    assert all(part.training for part in module.modules())
    assert torch.equal(torch.get_rng_state(), draws)
    for name, value in module.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_modes_are_restored_after_an_error():
    module = normed()
    module[1].eval()
    with pytest.raises(ZeroDivisionError), isolated_eval(module):
        raise ZeroDivisionError
    assert [part.training for part in module.modules()] == [True, True, False, True]


def test_mode_invariant_networks_keep_their_mode():
    network = Network([3, 4, 2])
    with isolated_eval(network):
        assert all(part.training for part in network.modules())
        network.register_forward_hook(lambda *_: None)
    with isolated_eval(network):
        assert not network.training
    assert network.training


class Merging(nn.Linear):
    """Adds its side branch to its weights for evaluation, as LoRA layers do."""

    def __init__(self):
        super().__init__(3, 2)
        self.side = nn.Parameter(torch.randn(2, 3))
        self.merged = False

    def train(self, mode=True):
        super().train(mode)
        if mode == self.merged:
            self.weight.data += -self.side if mode else self.side
            self.merged = not mode
        return self

    def forward(self, inputs):
        answer = super().forward(inputs)
        return answer if self.merged else answer + inputs @ self.side.T


class Frozen(nn.Sequential):
    """Keeps its first part in evaluation mode at all times."""

    def train(self, mode=True):
        super().train(mode)
        self[0].eval()
        return self


def test_weights_that_change_with_the_mode_stay_as_they_are():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Sequential(Merging(), nn.Dropout()), Frozen(nn.BatchNorm1d(2)))
    module.train()
    merging = module[0][0]
    weights = merging.weight.detach().clone()
    modes = [part.training for part in module.modules()]
    for _ in range(5):
        with isolated_eval(module):
            module(torch.randn(4, 3))
        assert not merging.merged
        assert torch.equal(merging.weight, weights)
    assert [part.training for part in module.modules()] == modes == [*[True] * 5, False]


def test_modules_already_in_evaluation_mode_keep_their_state():
    module = nn.Sequential(Merging(), nn.Dropout())
    module[0].eval()
    weights = module[0].weight.detach().clone()
    with isolated_eval(module):
        assert module[0].merged
    assert module[0].merged
    assert torch.equal(module[0].weight, weights)
    assert [part.training for part in module.modules()] == [True, False, True]


def test_counting_ramps_do_not_count_the_evaluation():
    network = Network([3, 4, 2])
    ramp = network.layers[0].activation
    ramp.start_counting(4)
    network(torch.randn(5, 3))
    counted = ramp.read_counters()
    with isolated_eval(network):
        network(torch.randn(7, 3))
    assert ramp.read_counters() == counted
    network(torch.randn(5, 3))
    assert ramp.counts.sum() == 10 * 4


def test_autocast_cache_is_neither_used_nor_changed():
    layer, inputs = nn.Linear(3, 2), torch.randn(5, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        first = layer(inputs)
        with torch.no_grad():
            layer.weight.add_(1.0)
        with isolated_eval(layer):
            found = layer(inputs)
        again = layer(inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = layer(inputs)
    assert torch.equal(found, expected)
    assert torch.equal(again, first)  # theirs is as it was


@pytest.mark.parametrize(
    ("rows", "side", "asked"),
    [(256, 8, 256), (10**6, 256, 256), (256, 4096, _MIN_ROWS), (5, 4096, 5)],
)
def test_large_networks_are_evaluated_on_fewer_rows(rows, side, asked):
    with torch.device("meta"):
        model = nn.Linear(side, side, bias=False)
    assert limit_rows(rows, model) == asked
    assert asked * side * side <= max(_MAX_WEIGHTS_TIMES_ROWS, _MIN_ROWS * side * side)


def test_models_without_known_weights_are_evaluated_on_all_rows():
    assert limit_rows(300, nn.ReLU()) == limit_rows(300, nn.LazyLinear(2)) == 300


def test_probe_gradients_equal_those_of_backward_and_leave_grad_alone():
    torch.manual_seed(0)
    model, inputs, targets = nn.Linear(3, 1), torch.randn(6, 3), torch.randn(6, 1)
    probe = ProbeBatch(model, nn.functional.mse_loss, inputs, targets)
    loss, slopes = probe.compute_gradients(model.parameters())
    assert all(weight.grad is None for weight in model.parameters())
    nn.functional.mse_loss(model(inputs), targets).backward()
    assert torch.equal(loss, probe.compute_loss())
    assert all(torch.equal(slopes[weight], weight.grad) for weight in model.parameters())
