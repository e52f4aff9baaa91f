"""Portrait: the eleven concepts with one run's own numbers; plain data, to be told or stored."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from torch import nn

from brainnet import concepts
from brainnet.concepts import Concept
from brainnet.portrait.blame import blame_of, gradient_of
from brainnet.portrait.descent import descent_of, rate_of
from brainnet.portrait.layers import layers_of
from brainnet.portrait.loss import loss_of
from brainnet.portrait.neurons import activations_of, neurons_of
from brainnet.portrait.subject import Subject
from brainnet.portrait.weights import biases_of, weights_of
from brainnet.reasons.reasons import Reasons, reasons_for
from brainnet.structure.network import Network


@dataclass(frozen=True, slots=True)
class Thought:
    """One row thought through.

    Attributes:
        row: its number in the data.
        part: what the run used it for.
        reasons: its way through the network.
        seconds: how long a forward pass of a batch typically took in training.
    """

    row: int
    part: str
    reasons: Reasons
    seconds: float | None


def thought_of(subject: Subject) -> Thought | None:
    """The first row that the network never learned from, thought through; None without rows."""
    rows = subject.unseen
    if rows is None:
        return None
    reasons = reasons_for(
        subject.network, rows.inputs[:1], subject.question, right=rows.targets[:1]
    )
    spent = [each.forward_seconds for each in subject.readings if each.forward_seconds is not None]
    return Thought(int(rows.numbers[0]), rows.part, reasons, median(spent) if spent else None)


PORTRAYED: dict[Concept, Callable[[Subject], object]] = {
    concepts.LAYERS: layers_of,
    concepts.NEURONS: neurons_of,
    concepts.WEIGHTS: weights_of,
    concepts.BIASES: biases_of,
    concepts.ACTIVATION_FUNCTION: activations_of,
    concepts.FORWARD_PASS: thought_of,
    concepts.LOSS_FUNCTION: loss_of,
    concepts.BACKPROPAGATION: blame_of,
    concepts.GRADIENT: gradient_of,
    concepts.GRADIENT_DESCENT: descent_of,
    concepts.LEARNING_RATE: rate_of,
}
"""What a run's own numbers for each concept are made by; None where they cannot be had."""

NO_ROWS_NEEDED = (
    concepts.WEIGHTS,
    concepts.BIASES,
    concepts.GRADIENT_DESCENT,
    concepts.LEARNING_RATE,
)
"""What checkpoint and folder alone tell of."""


def needs_rows(concept: Concept | None, network: nn.Module) -> bool:
    """Whether rows are looked at for a concept, or for all where None: to read them may take long.

    Which layer listens to which is seen by any numbers that a `Network` is given; a network of
    another class may take none but its own rows.
    """
    if concept == concepts.WEIGHTS:
        return not isinstance(network, Network)
    return concept not in NO_ROWS_NEEDED
