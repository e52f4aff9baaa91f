from torch import nn

from brainnet.concepts import CONCEPTS
from brainnet.observation.tensorboard import build_graph
from brainnet.structure.inspection import find_layers
from brainnet.structure.network import Network


def test_every_source_is_a_node_drawn_before():
    drawn = set()
    for node in build_graph(find_layers(Network([4, 3, 2]))):
        assert set(node.sources) <= drawn
        assert node.name not in drawn
        drawn.add(node.name)


def test_every_part_is_labelled_by_its_concept():
    labels = {node.concept for node in build_graph(find_layers(Network([4, 3, 2])))}
    wholes = {"layers", "forward pass"}  # boxes and their order, no nodes
    assert {concept.name for concept in CONCEPTS} - wholes == labels - {"inputs", "targets"}


def test_shapes_and_functions_are_noted():
    notes = {node.name: dict(node.notes) for node in build_graph(find_layers(Network([4, 3, 2])))}
    assert notes["hidden_1/weights"] == {"shape": "3 x 4"}
    assert notes["hidden_1/bias"] == {"shape": "3"}
    assert "ThresholdRamp" in notes["hidden_1/activation"]["function"]
    assert "output/activation" not in notes


def test_modules_of_others_are_boxes_within_boxes():
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2, bias=False)))
    names = [node.name for node in build_graph(find_layers(model), "MSELoss", "Adam")]
    assert names[1:3] == ["0/0/weights", "0/0/neurons"]
    assert "loss_function/MSELoss" in names
    assert names[-1] == "gradient_descent/Adam"


def test_embeddings_stand_side_by_side_between_the_inputs_and_the_first_layer():
    network = Network([4, 3, 2], embeddings={1: 3, 2: 5})
    sources = {node.name: node.sources for node in build_graph(find_layers(network))}
    assert sources["embedding_1/weights"] == sources["embedding_2/weights"] == ("inputs",)
    assert sources["hidden_1/weights"] == (
        "inputs",
        "embedding_1/neurons",
        "embedding_2/neurons",
    )
    assert sources["output/weights"] == ("hidden_1/activation",)
