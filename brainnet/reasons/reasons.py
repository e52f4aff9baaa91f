"""Reasons: why a network gave one row its answer; plain numbers, to be told or stored."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from brainnet.learning.backpropagation import backpropagate
from brainnet.reasons.answer import Answer, Question, answer_of
from brainnet.reasons.damage import Damage, LayerDamage, most_damaging, shares
from brainnet.reasons.influence import Influence, Score, influences
from brainnet.reasons.labels import Labels, sources_of, targets_of
from brainnet.reasons.neighbours import Neighbour
from brainnet.reasons.sums import LayerSteps, steps_of
from brainnet.reasons.way import Carried, on_the_way
from brainnet.structure.forward_pass import ForwardPass, trace

CUT = (
    "What each input carried, and what ran through the layers: no slope comes back from the answer "
    "to the inputs. A part of the network computes without gradients (torch.no_grad, detach) or "
    "answers in jumps."
)
COARSE = (
    "All that each input carried, and all that ran through the layers: on the way to this row the "
    "network jumps, turns more sharply than the smallest steps, or has a part that passes no "
    "gradients back (torch.no_grad, detach)."
)


@dataclass(frozen=True, slots=True)
class Reasons:
    """Why one row got its answer.

    Attributes:
        answer: what was said.
        score: how strongly, against what, and where that came from.
        inputs: each input's part in the score, in the order of the inputs.
        layers: the row's way, layer by layer.
        damage: where the answer is wrong, the weights that did most to make it so.
        blame: with it, each layer's share of the blame.
        nearest: the training rows most like it.
        image_shape: (height, width) or (channels, height, width) where the row is a picture.
        untold: what could not be told, in sentences.
    """

    answer: Answer
    score: Score
    inputs: tuple[Influence, ...]
    layers: tuple[LayerSteps, ...]
    damage: tuple[Damage, ...] = ()
    blame: tuple[LayerDamage, ...] = ()
    nearest: tuple[Neighbour, ...] = ()
    image_shape: tuple[int, ...] | None = None
    untold: tuple[str, ...] = ()


def reasons_for(
    network: nn.Module,
    row: Tensor,
    question: Question,
    *,
    right: Tensor | None = None,
    values: Sequence[float | str | None] = (),
    neighbours: Sequence[Neighbour] = (),
    untold: Sequence[str] = (),
) -> Reasons:
    """Follow one row through a network to its answer, and back from there to what it came from.

    The network is left as it is: a copy thinks, in evaluation mode.

    Args:
        network: any module from (1, inputs) to (1, outputs).
        row: scaled as the network learned it, (1, inputs).
        question: what it was asked.
        right: the target, as the loss takes it, where it is known: (1,) or (1, targets).
        values: the row as measured.
        neighbours: the training rows most like it.
        untold: what could not be found out, in sentences.

    Raises:
        ValueError: where no layer with weights took part.

    Example:
        >>> from brainnet.learning.loss import CrossEntropy
        >>> from brainnet.structure.network import Network
        >>> loss, labels = CrossEntropy(), Labels(("x",), ("tea", "coffee"))
        >>> question = Question("multiclass", loss, labels, loss.answer, loss.probabilities)
        >>> found = reasons_for(Network([1, 2, 2]), torch.ones(1, 1), question)
        >>> sorted([found.score.answer, str(found.score.rival)])
        ['coffee', 'tea']
        >>> [layer.name for layer in found.layers]
        ['hidden_1', 'output']
    """
    own = deepcopy(network).eval()
    for parameter in own.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    with torch.enable_grad():
        thought = trace(own, row.detach().clone().requires_grad_(True))
        aim = _aim(thought, question, right)
        carried = on_the_way(own, thought.inputs.detach(), aim.score)
        parts = influences(thought, aim.score, carried, question.labels, values)
        before = trace(own, torch.zeros_like(row))  # code 0 brings zeros as well
        steps = _steps(thought, before, question.labels, aim, carried)
        stung = None if right is None else question.loss(thought.output, right)
        answer = answer_of(thought, question, right, stung)
        damage: tuple[Damage, ...] = ()
        blame: tuple[LayerDamage, ...] = ()
        if stung is not None and answer.correct is not True and stung.requires_grad:
            traced = backpropagate(stung, thought)
            damage, blame = most_damaging(traced, thought, question.labels), shares(traced)
    score = _score(aim, thought, before, parts, question.zero)
    return Reasons(
        answer=answer,
        score=score,
        inputs=parts,
        layers=steps,
        damage=damage,
        blame=blame,
        nearest=tuple(neighbours),
        image_shape=question.image_shape,
        untold=(*untold, *_missed(score, carried)),
    )


@dataclass(frozen=True, slots=True)
class _Aim:
    """What the score is made of: a factor for each output, and what is added."""

    answer: str
    rival: str | None
    factors: list[float]
    shift: float
    compete: list[int]  # outputs whose sums are told

    def score(self, outputs: Tensor) -> Tensor:
        """The score of each row, (rows,), without what is added."""
        return outputs.flatten(1) @ outputs.new_tensor(self.factors)


def _score(
    aim: _Aim,
    thought: ForwardPass,
    before: ForwardPass,
    parts: Sequence[Influence],
    zero: str,
) -> Score:
    """How strongly the network was for its answer."""
    with torch.no_grad():
        outputs = (thought.output, before.output)
        value, start = (float(aim.score(each)) + aim.shift for each in outputs)
    return Score(
        answer=aim.answer,
        rival=aim.rival,
        value=value,
        start=start,
        zero=zero,
        carried=sum(part.carried for part in parts),
        factor=None if aim.rival is not None else sum(aim.factors),
        shift=None if aim.rival is not None else aim.shift,
    )


def _missed(score: Score, carried: Carried) -> tuple[str, ...]:
    """Why what the inputs carried is not what the score rose by, where it is not."""
    if not score.missed:
        return ()
    if carried.cut:
        return (CUT,)
    return (COARSE,)


def _aim(thought: ForwardPass, question: Question, right: Tensor | None) -> _Aim:
    """Ask for what the answer stands out by: against another class, or as a number."""
    outputs = thought.output.detach().flatten().tolist()
    factors = [0.0] * len(outputs)
    if question.task == "regression":
        chosen = _told_number(outputs, right)
        scaling = question.target_scaling
        factors[chosen] = 1.0 if scaling is None else scaling.scale[chosen]
        shift = 0.0 if scaling is None else scaling.shift[chosen]
        name = question.labels.of_outputs(len(outputs))[chosen]
        return _Aim(name, None, factors, shift, [chosen])
    answer = int(question.answers(thought.output.detach()))
    if len(outputs) == 1:  # one output tells two classes apart: positive for the second
        factors[0] = 1.0 if answer == 1 else -1.0
        pair = question.labels.classes(2)
        return _Aim(pair[answer], pair[1 - answer], factors, 0.0, [0])
    labels = question.labels.of_outputs(len(outputs))
    order = sorted(range(len(outputs)), key=lambda each: -outputs[each])
    second = next(each for each in order if each != answer)
    # A wrong answer is held against the right one.
    rival = second if right is None or int(right) == answer else int(right)
    factors[answer], factors[rival] = 1.0, -1.0
    return _Aim(labels[answer], labels[rival], factors, 0.0, [answer, rival])


def _told_number(outputs: list[float], right: Tensor | None) -> int:
    """Of several numbers the one missed most or, where that is not known, the most unusual."""
    known = [0.0] * len(outputs) if right is None else right.flatten().tolist()
    return max(range(len(outputs)), key=lambda each: abs(outputs[each] - known[each]))


def _steps(
    thought: ForwardPass, before: ForwardPass, labels: Labels, aim: _Aim, carried: Carried
) -> tuple[LayerSteps, ...]:
    sources = sources_of(thought, labels)
    steps = []
    for depth, (layer, zero) in enumerate(zip(thought.layers, before.layers, strict=True)):
        last = depth == len(thought.layers) - 1 and layer.output.shape == thought.output.shape
        targets = targets_of(thought.model, layer.place, labels, last=last)
        ran = carried.layers.get(layer.name, torch.zeros(layer.output.shape[1:]))
        chosen = aim.compete if last else None
        steps.append(steps_of(layer, zero, sources[depth], targets, ran, chosen))
    return tuple(steps)
