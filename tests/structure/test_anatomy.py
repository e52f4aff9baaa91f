"""Which part of a model is which concept, in our networks and in PyTorch's."""

import torch
from torch import nn

from brainnet.structure.inspection import find_layers, find_weight_matrices, unwrap_compiled
from brainnet.structure.layer import Layer
from brainnet.structure.network import Network


def test_our_network_by_its_own_names() -> None:
    network = Network([4, 3, 2], bias=False)
    found = find_layers(network)
    assert [place.name for place in found] == ["hidden_1", "output"]
    assert found[0].weights is network.layers[0].weights.value
    assert found[0].activation is network.layers[0].activation
    assert found[0].bias is None


def test_a_convolutional_model_by_qualified_names() -> None:
    model = nn.Sequential()
    model.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    model.head = nn.Linear(16, 2)
    found = find_layers(model)
    assert [place.name for place in found] == ["features.0", "head"]
    assert isinstance(found[0].activation, nn.ReLU)
    assert found[0].between == (model.features[1],)
    assert (found[1].activation, found[1].between) == (None, ())


def test_layers_of_ours_in_a_model_of_theirs() -> None:
    model = nn.Sequential(Layer(4, 3), Layer(3, 2))  # both are called "layer"
    assert [place.name for place in find_layers(model)] == ["0", "1"]


def test_a_shared_module_counts_once() -> None:
    shared = nn.Linear(3, 3)
    assert len(find_layers(nn.Sequential(shared, nn.ReLU(), shared))) == 1


def test_one_activation_may_follow_several_layers() -> None:
    relu = nn.ReLU()
    found = find_layers(nn.Sequential(nn.Linear(3, 3), relu, nn.Linear(3, 3), relu))
    assert [place.activation for place in found] == [relu, relu]


def test_a_reparametrised_layer_is_still_a_layer() -> None:
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)))
    assert [place.name for place in find_layers(model)] == ["0"]
    assert find_layers(model)[0].weights.shape == torch.Size([2, 3])


def test_a_model_without_weights() -> None:
    assert find_layers(nn.ReLU()) == []


def test_a_compiled_model_and_the_model_itself() -> None:
    for model in (nn.Sequential(nn.Linear(2, 1)), nn.Sequential()):  # an empty one is not true
        assert unwrap_compiled(torch.compile(model, backend="eager")) is model
        assert unwrap_compiled(model) is model


def test_what_a_layer_has_beside_its_weights_is_seen_too():
    class Adapted(nn.Linear):
        def __init__(self):
            super().__init__(4, 3)
            self.down, self.up = nn.Parameter(torch.ones(2, 4)), nn.Parameter(torch.ones(3, 2))

    model = nn.ModuleDict({"a": Adapted(), "b": nn.Linear(3, 2)})
    model["c"] = nn.Embedding(3, 2)
    model["c"].weight = model["b"].weight  # tied
    assert [place.name for place in find_weight_matrices(model, find_layers(model))] == [
        "a.down",
        "a.up",
    ]


def test_no_two_places_have_one_name():
    model = nn.ModuleDict({"net": Network([2, 3, 1]), "hidden_1": nn.Embedding(4, 2)})
    found = find_layers(model)
    names = [place.name for place in (*found, *find_weight_matrices(model, found))]
    assert names == ["hidden_1", "output", "hidden_1.weight"]
