import torch
from torch import nn

from brainnet.observation.capabilities import STEADY_TYPES, find_parameter_holders, list_modules
from brainnet.structure.network import Network


def test_parts_are_all_modules_each_once():
    shared = nn.Linear(2, 2)
    model = nn.Sequential(shared, nn.Sequential(nn.ReLU(), shared), Network([2, 3, 1]))
    found = list(list_modules(model))
    assert len(found) == len(set(found))
    assert found[0] is model
    assert set(found) == set(model.modules())


def test_holders_are_the_way_down_to_what_is_wanted():
    wanted = nn.Linear(2, 2)
    inner = nn.Sequential(nn.ReLU(), wanted)
    model = nn.Sequential(nn.Linear(2, 2), inner)
    assert find_parameter_holders(model, [wanted]) == [model, inner, wanted]


def test_steady_modules_do_the_same_in_training():
    torch.manual_seed(0)
    tried = 0
    for kind in sorted(STEADY_TYPES, key=lambda kind: kind.__name__):
        try:
            module = kind()
            inputs = torch.randn(3, 4)
            trained = module.train()(inputs.clone())
        except (TypeError, RuntimeError, ValueError, NotImplementedError, IndexError, UserWarning):
            continue  # one that needs arguments
        assert torch.equal(trained, module.eval()(inputs.clone())), kind
        assert torch.equal(trained, module.train()(inputs.clone())), kind
        tried += 1
    assert tried > 15


def test_a_list_that_nobody_calls_holds_nothing():
    wanted = nn.Linear(2, 2)
    network = Network([2, 3, 2])
    network.layers.append(wanted)
    assert find_parameter_holders(network, [wanted]) == [network, wanted]
