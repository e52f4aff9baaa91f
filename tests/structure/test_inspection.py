"""Inspection: layers, weight matrices and activations of brainnet's and of other models."""

import torch
from torch import nn
from torch.nn.utils import prune

from brainnet.structure.inspection import (
    ModelInspection,
    find_layers,
    find_weight_matrices,
    unwrap_compiled,
)
from brainnet.structure.layer import Layer
from brainnet.structure.network import Network


def test_layers_of_a_network_have_its_names() -> None:
    network = Network([4, 3, 2], bias=False)
    layers = find_layers(network)
    assert [layer.name for layer in layers] == ["hidden_1", "output"]
    assert layers[0].weights is network.layers[0].weights.value
    assert layers[0].activation is network.layers[0].activation
    assert layers[0].bias is None


def test_layers_of_a_convolutional_model_have_qualified_names() -> None:
    model = nn.Sequential()
    model.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    model.head = nn.Linear(16, 2)
    layers = find_layers(model)
    assert [layer.name for layer in layers] == ["features.0", "head"]
    assert isinstance(layers[0].activation, nn.ReLU)
    assert layers[0].between == (model.features[1],)
    assert (layers[1].activation, layers[1].between) == (None, ())


def test_layers_with_equal_names_get_qualified_names() -> None:
    model = nn.Sequential(Layer(4, 3), Layer(3, 2))  # both are called "layer"
    assert [layer.name for layer in find_layers(model)] == ["0", "1"]


def test_shared_layer_is_listed_once() -> None:
    shared = nn.Linear(3, 3)
    assert len(find_layers(nn.Sequential(shared, nn.ReLU(), shared))) == 1


def test_one_activation_may_follow_several_layers() -> None:
    relu = nn.ReLU()
    layers = find_layers(nn.Sequential(nn.Linear(3, 3), relu, nn.Linear(3, 3), relu))
    assert [layer.activation for layer in layers] == [relu, relu]


def test_parametrized_layer_is_a_layer() -> None:
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)))
    assert [layer.name for layer in find_layers(model)] == ["0"]
    assert find_layers(model)[0].weights.shape == torch.Size([2, 3])


def test_pruned_layers_are_trained_through_their_original_tensors() -> None:
    layer = Layer(3, 2)
    prune.l1_unstructured(layer.weights, "value", amount=1)
    weights, bias = find_layers(layer)[0].find_parameters()
    assert weights is layer.weights.value_orig
    assert bias is layer.bias.value


def test_model_without_weights_has_no_layers() -> None:
    assert find_layers(nn.ReLU()) == []


def test_unwrap_compiled_returns_the_original_model() -> None:
    # An empty Sequential is falsy.
    for model in (nn.Sequential(nn.Linear(2, 1)), nn.Sequential()):
        assert unwrap_compiled(torch.compile(model, backend="eager")) is model
        assert unwrap_compiled(model) is model


def test_further_parameters_of_a_layer_are_weight_matrices() -> None:
    class Adapted(nn.Linear):
        def __init__(self):
            super().__init__(4, 3)
            self.down, self.up = nn.Parameter(torch.ones(2, 4)), nn.Parameter(torch.ones(3, 2))

    model = nn.ModuleDict({"a": Adapted(), "b": nn.Linear(3, 2)})
    model["c"] = nn.Embedding(3, 2)
    model["c"].weight = model["b"].weight  # tied
    matrices = find_weight_matrices(model, find_layers(model))
    assert [matrix.name for matrix in matrices] == ["a.down", "a.up"]


def test_layers_and_matrices_have_distinct_names() -> None:
    model = nn.ModuleDict({"net": Network([2, 3, 1]), "hidden_1": nn.Embedding(4, 2)})
    layers = find_layers(model)
    names = [layer.name for layer in (*layers, *find_weight_matrices(model, layers))]
    assert names == ["hidden_1", "output", "hidden_1.weight"]


def test_inspection_lists_the_parts_of_the_original_model() -> None:
    model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 2), nn.ReLU())
    inspection = ModelInspection(torch.compile(model, backend="eager"))
    assert inspection.model is model
    assert inspection.modules == [model, *model]
    assert [layer.name for layer in inspection.layers] == ["1"]
    assert [matrix.name for matrix in inspection.matrices] == ["0"]


def test_inspection_is_outdated_after_structural_changes() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU()), nn.Linear(2, 1))

    def is_outdated() -> bool:
        outdated = not inspection.is_current()
        assert ModelInspection(model).is_current()
        return outdated

    inspection = ModelInspection(model)
    assert inspection.is_current()
    model[0].weight.data.zero_()
    assert inspection.is_current()
    model[1][0] = nn.Tanh()
    assert is_outdated()
    inspection = ModelInspection(model)
    model[2].weight = nn.Parameter(torch.ones(1, 2))
    assert is_outdated()
    inspection = ModelInspection(model)
    prune.l1_unstructured(model[0], "weight", amount=1)
    assert is_outdated()
    inspection = ModelInspection(model)
    del model[1]
    assert is_outdated()
