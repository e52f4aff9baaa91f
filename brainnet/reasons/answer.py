"""Answer: what a network was asked, what it said, and what would have been right."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from brainnet.data.scaling import Scaling
from brainnet.learning.loss import Task
from brainnet.reasons.labels import Labels
from brainnet.structure.forward_pass import ForwardPass


@dataclass(frozen=True, slots=True)
class Question:
    """All that is known of what a network was asked, besides the row.

    Attributes:
        task: what it is to learn.
        loss: from outputs and targets to one number.
        labels: names of inputs, and of the classes or the numbers to predict.
        answers: from outputs (rows, outputs) to classes (rows,) or numbers (rows, targets).
        probabilities: from outputs to shares (rows, classes); None where there are none.
        target_scaling: how the numbers of a regression were scaled.
        image_shape: of a row that is a picture.
        zero: what a row of zeros stands for, scaled.
    """

    task: Task
    loss: nn.Module
    labels: Labels
    answers: Callable[[Tensor], Tensor]
    probabilities: Callable[[Tensor], Tensor | None]
    target_scaling: Scaling | None = None
    image_shape: tuple[int, ...] | None = None
    zero: str = "a row of zeros"


@dataclass(frozen=True, slots=True)
class Share:
    """How sure the network is of one class, from 0 to 1; None where it only says which it is."""

    name: str
    probability: float | None


@dataclass(frozen=True, slots=True)
class Number:
    """One number of a prediction, in the units of the data; `right` where that is known."""

    name: str
    value: float
    right: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the network said, and what would have been right.

    Attributes:
        outputs: of the network, as they are.
        classes: of a classification, each class, the most probable first.
        numbers: of a regression, each target.
        right: the right class, where it is known.
        correct: whether that was the answer; None where it is not known, or of numbers.
        loss: how much the mistake stings; None where the right answer is not known.
    """

    outputs: tuple[float, ...]
    classes: tuple[Share, ...]
    numbers: tuple[Number, ...]
    right: str | None
    correct: bool | None
    loss: float | None


def answer_of(
    thought: ForwardPass, question: Question, right: Tensor | None, stung: Tensor | None
) -> Answer:
    """What a thought says, in the words of the question."""
    outputs = thought.output.detach()
    loss = None if stung is None else float(stung.detach())
    told = tuple(outputs.flatten().tolist())
    if question.task == "regression":
        return Answer(told, (), _numbers(outputs.flatten(), question, right), None, None, loss)
    said, sure = int(question.answers(outputs)), question.probabilities(outputs)
    names = question.labels.classes(max(2, len(told)))
    classes = [Share(names[said], None)]
    if sure is not None:
        pairs = sorted(zip(sure.flatten().tolist(), names, strict=True), key=lambda pair: -pair[0])
        classes = [Share(name, probability) for probability, name in pairs]
    known = None if right is None else int(right)
    return Answer(
        outputs=told,
        classes=tuple(classes),
        numbers=(),
        right=None if known is None else names[known],
        correct=None if known is None else known == said,
        loss=loss,
    )


def _numbers(outputs: Tensor, question: Question, right: Tensor | None) -> tuple[Number, ...]:
    """The predicted numbers in units of the data, beside the right ones."""
    names = question.labels.of_outputs(len(outputs))
    scaling = question.target_scaling
    pair = [outputs] if right is None else [outputs, right.flatten()]
    told = [(each if scaling is None else scaling.undo(each)).tolist() for each in pair]
    known = told[1] if right is not None else [None] * len(names)
    return tuple(Number(*each) for each in zip(names, told[0], known, strict=True))
