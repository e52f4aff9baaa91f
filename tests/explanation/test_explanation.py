"""Explanations of concepts, neurons, layers, networks and forward passes."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from brainnet.concepts import CONCEPTS, LAYERS, LOSS_FUNCTION, WEIGHTS
from brainnet.errors import InputError
from brainnet.explanation.explanation import IN_SHORT, explain, wrap_text
from brainnet.explanation.worked_example import describe_concept
from brainnet.learning.backpropagation import backpropagate
from brainnet.learning.loss import CrossEntropy
from brainnet.structure.layer import Layer
from brainnet.structure.network import Network
from brainnet.structure.neuron import Neuron

EACH = pytest.mark.parametrize("concept", CONCEPTS, ids=lambda concept: concept.slug)


def small_network():
    network = Network([3, 2, 2])
    hidden, output = network.layers
    with torch.no_grad():
        hidden.weights.value.copy_(torch.tensor([[0.5, -0.25, 0.0], [2.0, 0.0, 1.0]]))
        hidden.bias.value.copy_(torch.tensor([0.1, -0.5]))
        output.weights.value.copy_(torch.tensor([[1.0, -1.0], [0.0, 0.5]]))
        output.bias.value.copy_(torch.tensor([0.0, 0.25]))
    return network


def describe(thing):
    return "\n".join(explain(thing).lines)


@EACH
def test_concepts_are_found_by_name_and_slug(concept):
    explanation = explain(concept.name)
    assert explanation == explain(concept)
    assert explanation == explain(concept.slug)
    assert explanation.concept is concept
    assert explanation.lines == describe_concept(concept)
    for part in (concept.analogy, concept.definition):
        assert part in explanation.text
    for part in (concept.formula, concept.home, concept.reference):
        assert any(part in paragraph for paragraph in explanation.text)


@EACH
def test_print_out_is_at_most_80_characters_wide(concept):
    text = str(explain(concept))
    assert max(map(len, text.splitlines())) <= 80
    assert repr(explain(concept)) == text


def test_overview_lists_all_concepts():
    overview = explain()
    assert overview.concept is None
    assert set(IN_SHORT) == set(CONCEPTS)
    listed = [line[2:22].strip() for line in overview.lines if line.startswith("  ")]
    assert listed == [concept.name for concept in CONCEPTS]


def test_unknown_names_get_a_suggestion():
    with pytest.raises(InputError, match="Did you mean weights"):
        explain("wieghts")


def test_objects_without_a_concept_are_rejected():
    with pytest.raises(TypeError, match=r"a neuron, a layer, a network.*got Linear"):
        explain(nn.Linear(2, 2))


def test_class_is_explained_as_its_concept():
    assert explain(CrossEntropy) == explain(LOSS_FUNCTION)
    assert explain(Layer) == explain(LAYERS)


def test_neuron():
    neuron = small_network().layers[0].neuron(1)
    assert explain(neuron).title == "neuron 1"
    assert describe(neuron).splitlines() == [
        "It has 3 inputs:",
        "  input 0     weight   2.000  ████████████████████",
        "  input 2     weight   1.000  ██████████░░░░░░░░░░",
        "  input 1     weight   0.000  ░░░░░░░░░░░░░░░░░░░░",
        "Its bias: -0.500, calm. If all inputs are 0, its output is 0.000.",
    ]


def test_neuron_with_many_inputs():
    lines = explain(Neuron(inputs=40)).lines
    assert lines[0] == "It has 40 inputs; the 5 strongest:"
    assert len(lines) == 7


def test_neuron_without_bias_and_with_unusual_weights():
    neuron = Neuron(inputs=2, bias=False)
    assert "Its bias: none" in describe(neuron)
    nn.init.zeros_(neuron.own_weights.value)
    assert "weight   0.000" in describe(neuron)
    nn.init.constant_(neuron.own_weights.value, float("nan"))
    assert "weight not finite" in describe(neuron)


def test_network_layer_and_forward_pass_show_their_print_out():
    network = small_network()
    forward_pass = network.trace(torch.rand(1, 3))
    for thing, title in (
        (network, "network"),
        (network.layers[0], "hidden_1"),
        (forward_pass, "forward pass"),
    ):
        explanation = explain(thing)
        assert explanation.title == title
        assert explanation.text == (thing.concept.definition,)
        assert explanation.lines == tuple(f"  {line}" for line in str(thing).splitlines())


def test_other_objects_show_their_print_out():
    network = small_network()
    assert explain(network.layers[0].weights).concept is WEIGHTS
    forward_pass = network.trace(torch.rand(1, 3))
    blame = backpropagate(CrossEntropy()(forward_pass.output, torch.tensor([1])), forward_pass)
    assert explain(blame).lines == tuple(f"  {line}" for line in str(blame).splitlines())


def test_explaining_changes_no_parameter():
    network = small_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for thing in (network, network.layers[0], network.layers[0].neuron(0)):
        explain(thing)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_preformatted_lines_are_not_wrapped():
    assert wrap_text("a b", "  a b", "", width=1) == ["a", "b", "  a b", ""]


def test_explaining_a_concept_imports_no_torch():
    code = "import sys, brainnet; brainnet.explain('weights'); print('torch' in sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert process.stdout.strip() == "False"
