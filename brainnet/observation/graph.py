"""Graph: the network and what trains it as one drawing, each node a concept."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from brainnet import concepts
from brainnet.structure.anatomy import Place
from brainnet.structure.embedding import Embedding


@dataclass(frozen=True, slots=True)
class Node:
    """One box of the drawing.

    Attributes:
        name: where it stands; slashes make boxes within boxes.
        concept: what it is.
        sources: names of the nodes that it receives from.
        notes: what a reader may want to know of it, such as its shape.
    """

    name: str
    concept: str
    sources: tuple[str, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()


def concept_graph(
    places: Sequence[Place], loss: str = "loss", optimizer: str = "optimizer"
) -> list[Node]:
    """The concepts as they work together: forward to the loss, and back to a step.

    Layers are joined in the order in which the model names them, which in a network of ours, and
    in any `nn.Sequential`, is the order of the forward pass. Embeddings stand side by side.

    Args:
        places: the layers.
        loss: what the loss function is called.
        optimizer: what does the steps.

    Example:
        >>> from brainnet.structure.anatomy import places
        >>> [node.name for node in concept_graph(places(nn.Linear(2, 1)))][:4]
        ['inputs', 'Linear/weights', 'Linear/bias', 'Linear/neurons']
    """
    nodes = [Node("inputs", "inputs")]
    seen = ["inputs"]
    for place in places:
        looked_up = isinstance(place.module, Embedding)  # one beside the other, each in the inputs
        nodes += _layer(place, ("inputs",) if looked_up else tuple(seen))
        seen = [*seen, nodes[-1].name] if looked_up else [nodes[-1].name]
    answer = nodes[-1].name
    # A box each, though of one node: TensorBoard shortens the names of single nodes.
    sting = f"loss_function/{loss}"
    blame, slope = "backpropagation/blame", "gradient/slope"
    step = f"gradient_descent/{optimizer}"
    return [
        *nodes,
        Node("targets", "targets"),
        Node(sting, concepts.LOSS_FUNCTION.name, (answer, "targets")),
        Node(blame, concepts.BACKPROPAGATION.name, (sting,)),
        Node(slope, concepts.GRADIENT.name, (blame,)),
        Node("learning_rate/step_size", concepts.LEARNING_RATE.name),
        Node(step, concepts.GRADIENT_DESCENT.name, (slope, "learning_rate/step_size")),
    ]


def _layer(place: Place, sources: tuple[str, ...]) -> list[Node]:
    """Weights and biases meet in the neurons, which react through the activation function."""
    box = place.name.replace(".", "/")
    shape = (("shape", " x ".join(map(str, place.weights.shape))),)
    nodes = [Node(f"{box}/weights", concepts.WEIGHTS.name, sources, shape)]
    if place.bias is not None:
        shape = (("shape", str(len(place.bias))),)
        nodes.append(Node(f"{box}/bias", concepts.BIASES.name, (), shape))
    sums = Node(f"{box}/neurons", concepts.NEURONS.name, tuple(node.name for node in nodes))
    nodes.append(sums)
    if not isinstance(place.activation, (nn.Identity, type(None))):
        note = (("function", repr(place.activation)),)
        nodes.append(
            Node(f"{box}/activation", concepts.ACTIVATION_FUNCTION.name, (sums.name,), note)
        )
    return nodes
