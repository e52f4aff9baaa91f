"""Loss: the first sting of a run and its last, what guessing would cost, and who stings most."""

from dataclasses import dataclass
from statistics import median

import torch

from brainnet.portrait.curves import Curve, curve_of
from brainnet.portrait.subject import Part, Rows, Subject

WORST = 3
"""Rows that are told, with the largest stings."""

MARGIN = 0.01
"""Of what guessing costs: a loss that is lower by less is no better."""


@dataclass(frozen=True, slots=True)
class Sting:
    """One row that stings: its number in the data, and how much."""

    row: int
    part: str
    loss: float


@dataclass(frozen=True, slots=True)
class EndTold:
    """The loss at the end of the training, beside what guessing would cost on the same rows.

    Attributes:
        part: whose loss it is: "validation" where there is such a part, else "train".
        loss: of all its rows.
        guessing: what it would cost there to give always the same answer, the best for the training
            rows. None without rows.
        beats_guessing: whether it is lower by more than a hundredth of that.
    """

    part: Part
    loss: float
    guessing: float | None
    beats_guessing: bool | None

    @property
    def tag(self) -> str:
        """The name of its curve."""
        return f"loss/{self.part}"


@dataclass(frozen=True, slots=True)
class LossTold:
    """The loss, from the first guess to the end.

    Attributes:
        name: the class.
        curve: that of the batches that were looked at.
        first: of the first batch, before anything was learned.
        last: of the last batch that was looked at.
        guessing: what it would cost on the training rows to give always the same answer: the share
            of each class; of numbers their mean or their median, whichever costs less. None without
            rows.
        end: the loss at the end, over a whole part of the rows, beside that of guessing there. The
            last batch is a few rows, easy or hard by chance, and says nothing of that. None where
            the training did not come to measure it.
        metrics: losses at the end, by tag.
        typical: the median sting of the rows never learned from.
        worst: of these, the rows that sting most.
        worst_share: share of all their stings that these rows have.
    """

    name: str
    curve: Curve
    first: float | None
    last: float | None
    guessing: float | None
    end: EndTold | None
    metrics: dict[str, float]
    typical: float | None
    worst: tuple[Sting, ...]
    worst_share: float | None


def loss_of(subject: Subject) -> LossTold:
    """The first sting, the last, and who stings most now."""
    curve = curve_of(subject.readings, lambda each: each.loss)
    unseen = [rows for rows in subject.rows if rows.part != "train"]
    stings = [
        Sting(number, rows.part, loss)
        for rows in unseen
        for number, loss in zip(
            rows.numbers.tolist(), subject.loss_of_rows[rows.part].tolist(), strict=True
        )
    ]
    stings.sort(key=lambda each: -each.loss)
    total = sum(each.loss for each in stings)
    worst = tuple(stings[:WORST])
    return LossTold(
        name=type(subject.question.loss).__name__,
        curve=curve,
        first=curve.values[0] if curve.values else None,
        last=curve.values[-1] if curve.values else None,
        guessing=guessing(subject),
        end=_end_of(subject),
        metrics=dict(sorted(subject.facts.metrics.items())),
        typical=median(each.loss for each in stings) if stings else None,
        worst=worst,
        worst_share=sum(each.loss for each in worst) / total if total > 0 else None,
    )


def _end_of(subject: Subject) -> EndTold | None:
    """The loss of the validation rows at the end, else that of the training rows."""
    for part in ("validation", "train"):
        loss = subject.facts.metrics.get(f"loss/{part}")
        if loss is None:
            continue
        rows = next((each for each in subject.rows if each.part == part), None)
        cost = None if rows is None else guessing(subject, rows)
        # No number is no better: a comparison with NaN is false.
        better = None if cost is None else loss < (1 - MARGIN) * cost
        return EndTold(part, loss, cost, better)
    return None


def guessing(subject: Subject, judged: Rows | None = None) -> float | None:
    """What it costs to give always the same answer, one that knows no row.

    Of classes that is the share of each among the training rows. Of numbers it is their mean, the
    best guess where the square of a mistake counts, or their median, the best where its size does:
    whichever costs less.

    Args:
        subject: whose training rows say which answer that is.
        judged: the rows on which it is given; None for the training rows.
    """
    rows, question = subject.learned, subject.question
    if rows is None:
        return None
    right = (rows if judged is None else judged).targets
    with torch.no_grad():
        if question.task == "regression":
            middles = (rows.targets.mean(dim=0), rows.targets.median(dim=0).values)
            costs = [question.loss(each.expand_as(right), right) for each in middles]
            return min(map(float, costs))
        counts = torch.bincount(rows.targets, minlength=max(2, len(question.labels.outputs)))
        shares = (counts.double() / counts.sum()).clamp(min=1e-12).float()
        outputs = 1 if subject.thought is None else subject.thought.output.shape[-1]
        always = shares.log().unsqueeze(0)
        if outputs == 1:
            always = (shares[1].log() - shares[0].log()).reshape(1, 1)
        return float(question.loss(always.expand(len(right), -1), right))
