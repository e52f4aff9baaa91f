import pytest
import torch
from torch import nn

from brainnet.observation.probe import isolated_eval
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
def test_it_answers_as_in_evaluation_and_is_left_as_it_was(make):
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


def test_parts_that_were_in_evaluation_stay_there_and_all_return_after_an_error():
    module = normed()
    module[1].eval()
    with pytest.raises(ZeroDivisionError), isolated_eval(module):
        raise ZeroDivisionError
    assert [part.training for part in module.modules()] == [True, True, False, True]


def test_a_network_that_does_the_same_in_training_is_not_told_to_evaluate():
    network = Network([3, 4, 2])
    with isolated_eval(network):
        assert all(part.training for part in network.modules())
        network.register_forward_hook(lambda *_: None)
    with isolated_eval(network):
        assert not any(part.training for part in network.modules())


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
    """Keeps its first part in evaluation, whatever it is told."""

    def train(self, mode=True):
        super().train(mode)
        self[0].eval()
        return self


def test_a_module_that_changes_its_weights_in_evaluation_gets_them_back_to_the_last_bit():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Sequential(Merging(), nn.Dropout()), Frozen(nn.BatchNorm1d(2)))
    module.train()
    merging = module[0][0]
    weights = merging.weight.detach().clone()
    modes = [part.training for part in module.modules()]
    for _ in range(5):
        with isolated_eval(module):
            assert merging.merged
            module(torch.randn(4, 3))
        assert not merging.merged
    assert torch.equal(merging.weight, weights)
    assert [part.training for part in module.modules()] == modes == [*[True] * 5, False]


def test_a_module_merged_before_stays_merged():
    module = nn.Sequential(Merging(), nn.Dropout())
    module[0].eval()
    weights = module[0].weight.detach().clone()
    with isolated_eval(module):
        assert module[0].merged
    assert module[0].merged
    assert torch.equal(module[0].weight, weights)
    assert [part.training for part in module.modules()] == [True, False, True]


def test_what_a_ramp_counts_for_others_is_not_added_to():
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


def test_under_autocast_it_is_asked_with_its_weights_as_they_are():
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
