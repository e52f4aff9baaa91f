import torch
from torch import nn
from torch.nn.utils import prune

from brainnet.observation.capabilities import (
    MODE_INVARIANT_TYPES,
    ObservedModel,
    is_readable,
)
from brainnet.structure.network import Network


def test_containers_are_the_called_modules_around_layers():
    layer = nn.Linear(2, 2)
    inner = nn.Sequential(nn.ReLU(), layer)
    model = nn.Sequential(nn.ModuleList([nn.Tanh()]), inner)
    assert ObservedModel(model).containers == [model, inner, layer]


def test_a_module_list_is_no_container_because_it_is_not_called():
    network = Network([2, 3, 2])
    containers = ObservedModel(network).containers
    assert containers[0] is network
    assert network.layers not in containers
    assert all(layer in containers for layer in network.layers)


def test_a_model_is_inspected_again_only_if_it_changed():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    observed_model = ObservedModel(model)
    assert observed_model.is_current()
    model[0].weight = nn.Parameter(torch.zeros(2, 2))
    assert not observed_model.is_current()
    observed_model = ObservedModel(model)
    model.append(nn.Linear(2, 1))
    assert not observed_model.is_current()


def test_pruned_and_lazy_weights_are_inspected_every_time():
    model = nn.Sequential(nn.Linear(2, 2))
    prune.l1_unstructured(model[0], "weight", amount=1)
    assert not ObservedModel(model).is_current()
    assert not ObservedModel(nn.Sequential(nn.LazyLinear(3))).is_current()


def test_compiled_parts_are_detected_at_any_time():
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2)))
    observed_model = ObservedModel(model)
    assert not observed_model.is_compiled()
    model[0].compile(backend="eager")
    assert observed_model.is_compiled()


def test_mode_invariant_modules_do_the_same_in_training_mode():
    torch.manual_seed(0)
    tried = 0
    for kind in sorted(MODE_INVARIANT_TYPES, key=lambda kind: kind.__name__):
        try:
            module = kind()
            inputs = torch.randn(3, 4)
            trained = module.train()(inputs.clone())
        except (TypeError, RuntimeError, ValueError, NotImplementedError, IndexError, UserWarning):
            continue  # needs arguments
        assert torch.equal(trained, module.eval()(inputs.clone())), kind
        assert torch.equal(trained, module.train()(inputs.clone())), kind
        tried += 1
    assert tried > 15


def test_integers_and_lazy_tensors_are_not_readable():
    assert not is_readable(torch.zeros(3, dtype=torch.int8))
    assert not is_readable(torch.zeros(3, device="meta"))
    assert not is_readable(nn.LazyLinear(2).weight)
    assert is_readable(torch.zeros(3, dtype=torch.bfloat16))
