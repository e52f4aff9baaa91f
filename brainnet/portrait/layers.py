"""Layers: the sizes of a trained network, and what each stage has understood of the rows."""

from dataclasses import dataclass

import torch
from torch import Tensor

from brainnet.learning.loss import Task
from brainnet.portrait.neurons import activation_name
from brainnet.portrait.subject import Rows, Subject
from brainnet.structure.anatomy import Place, places

RIDGE = 0.1
"""What holds the sums of `straight line` small, as a share of the signals' mean square."""


@dataclass(frozen=True, slots=True)
class LayerTold:
    """One layer.

    Attributes:
        name: the layer's.
        kind: its class.
        inputs: signals that it reads, or their channels, or the codes that it knows.
        neurons: neurons that it has.
        numbers: how many numbers of it learn.
        activation: the class, or None where its sums are its answers.
        readable: how well the right answer can be read off what it says, by the simplest means, on
            rows the network never learned from; see `Layers.measure`. None where that is not known.
    """

    name: str
    kind: str
    inputs: int
    neurons: int
    numbers: int
    activation: str | None
    readable: float | None


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers of a network, and what each makes of the rows.

    Attributes:
        inputs: numbers of a row.
        outputs: numbers of an answer.
        numbers: how many numbers learn in all.
        layers: one by one.
        measure: what `readable` counts: "nearest class mean" (the share of rows nearer to the mean
            of their own class than to that of another), or "straight line" (R² of the best sum of
            its signals, by ridge regression), learned on the training rows and judged on rows
            never seen.
        before: the same of the inputs as they come in.
    """

    inputs: int | None
    outputs: int | None
    numbers: int
    layers: tuple[LayerTold, ...]
    measure: str | None
    before: float | None


def layers_of(subject: Subject) -> Layers:
    """Sizes, and what each layer makes of the rows."""
    found = places(subject.network)
    learned, unseen = subject.learned, subject.unseen
    readable: dict[str, float] = {}
    before = measure = None
    if learned is not None and unseen is not None and subject.thought is not None:
        task = subject.question.task
        measure = "straight line" if task == "regression" else "nearest class mean"
        before = _readable(learned.inputs, unseen.inputs, learned, unseen, task)
        pairs = zip(subject.thought.layers, subject.thought_of(unseen).layers, strict=True)
        for seen, new in pairs:
            readable[seen.name] = _readable(
                seen.output.flatten(1), new.output.flatten(1), learned, unseen, task
            )
    told = tuple(
        LayerTold(
            name=place.name,
            kind=type(place.module).__name__,
            inputs=place.weights.shape[1] if place.weights.ndim > 1 else 1,
            neurons=len(place.weights),
            numbers=_learning(place),
            activation=activation_name(place),
            readable=readable.get(place.name),
        )
        for place in found
    )
    numbers = sum(each.numel() for each in subject.network.parameters() if each.requires_grad)
    sketch = subject.sketch
    inputs = None if sketch is None else sketch.inputs.shape[-1]
    outputs = None if sketch is None else sketch.output.shape[-1]
    return Layers(inputs, outputs, numbers, told, measure, before)


def _readable(seen: Tensor, new: Tensor, learned: Rows, unseen: Rows, task: Task) -> float:
    """How well the right answers can be read off signals by the simplest means."""
    if task == "regression":
        return _straight_line(seen, new, learned.targets, unseen.targets)
    labels = learned.targets.unique()
    means = torch.stack([seen[learned.targets == label].mean(dim=0) for label in labels])
    nearest = labels[torch.cdist(new.double(), means.double()).argmin(dim=1)]
    return float((nearest == unseen.targets).double().mean())


def _straight_line(seen: Tensor, new: Tensor, targets: Tensor, right: Tensor) -> float:
    """R² on new rows of the best sum of signals for the seen ones, by ridge regression."""
    mean, middle = seen.double().mean(dim=0), targets.double().mean(dim=0)
    signals = seen.double() - mean
    spread = signals.T @ signals
    small = RIDGE * spread.diagonal().mean().clamp(min=1e-12)
    # Held small: with more signals than a few, a plain fit would learn the training rows by heart.
    system = spread + small * torch.eye(len(spread), dtype=torch.float64)
    factors = torch.linalg.solve(system, signals.T @ (targets.double() - middle))
    wrong = (new.double() - mean) @ factors + middle - right.double()
    around = right.double() - right.double().mean(dim=0)
    return float(1 - wrong.square().sum() / around.square().sum().clamp(min=1e-12))


def _learning(place: Place) -> int:
    return sum(each.numel() for each in place.module.parameters() if each.requires_grad)
