import pytest
import torch
from torch import nn

from brainnet.observation.untouched import untouched
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
    with untouched(module):
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
    with pytest.raises(ZeroDivisionError), untouched(module):
        raise ZeroDivisionError
    assert [part.training for part in module.modules()] == [True, True, False, True]


def test_a_network_that_does_the_same_in_training_is_not_told_to_evaluate():
    network = Network([3, 4, 2])
    with untouched(network):
        assert all(part.training for part in network.modules())
        network.register_forward_hook(lambda *_: None)
    with untouched(network):
        assert not any(part.training for part in network.modules())
