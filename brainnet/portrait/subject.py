"""Subject: the one run that a portrait is drawn of, with all that is looked at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from brainnet.observation.reading import Reading
from brainnet.observation.untouched import untouched
from brainnet.reasons.answer import Question
from brainnet.structure.forward_pass import ForwardPass, trace

Part = str
"""Which rows: "train", "validation" or "test"."""

ROWS = 4096
"""Rows of each part that are looked at; of a large table the first in random order."""

SIGNALS = 1 << 27
"""Numbers that all rows of a part may take on their way through the layers: 512 MB of float32."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Some rows of a run's data.

    Attributes:
        part: what the run used them for.
        numbers: each row's number in the data, from 0, (rows,).
        inputs: scaled, (rows, inputs).
        targets: as the loss takes them.
    """

    part: Part
    numbers: Tensor
    inputs: Tensor
    targets: Tensor


def rows_looked_at(network: nn.Module, row: Tensor) -> int:
    """How many rows of a part to look at: `ROWS`, fewer where `SIGNALS` are not enough for them.

    Args:
        network: any module from inputs to outputs; it is left as it is.
        row: one of them, scaled, (1, inputs).

    Example:
        >>> rows_looked_at(nn.Linear(3, 2), torch.zeros(1, 3))
        4096
        >>> rows_looked_at(nn.Linear(300_000, 2), torch.zeros(1, 300_000))
        447
    """
    with untouched(network):
        thought = trace(network, row.to(next(network.parameters())))
    kept = [(each.inputs, each.pre_activation, each.output) for each in thought.layers]
    numbers = sum({id(each): each.numel() for layer in kept for each in layer}.values())
    return max(1, min(ROWS, SIGNALS // numbers))


@dataclass(frozen=True, slots=True)
class Facts:
    """What a run's configuration and summary say of how it learned.

    Attributes:
        name: of the run.
        checkpoint: the file of the weights.
        optimizer: the class.
        learning_rate: that it was given; None where nobody says.
        schedule: the class, or None for a rate that stays.
        batch_size: rows of a step.
        steps: taken in all.
        epochs: passes over the training rows.
        metrics: what came of it, by tag.
        failure: why it failed, as in "the loss became nan at step 1"; None where it did not.
    """

    name: str = "this run"
    checkpoint: str | None = None
    optimizer: str | None = None
    learning_rate: float | None = None
    schedule: str | None = None
    batch_size: int | None = None
    steps: int | None = None
    epochs: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    failure: str | None = None


@dataclass(frozen=True, eq=False)
class Subject:
    """A trained network, rows that it learned from and rows it did not, and how it learned.

    Attributes:
        network: any module from inputs to outputs; it is left as it is.
        question: what it was asked.
        facts: about the run.
        rows: of each part, some; empty where they are not stored.
        readings: what was seen during training; empty where nobody looked.
    """

    network: nn.Module
    question: Question
    facts: Facts = field(default_factory=Facts)
    rows: tuple[Rows, ...] = ()
    readings: tuple[Reading, ...] = ()

    @cached_property
    def learned(self) -> Rows | None:
        """The training rows."""
        return next((rows for rows in self.rows if rows.part == "train"), None)

    @cached_property
    def unseen(self) -> Rows | None:
        """The rows that it never learned from: those of the test, else those of the validation."""
        parts = {rows.part: rows for rows in self.rows}
        return parts.get("test", parts.get("validation"))

    @cached_property
    def thought(self) -> ForwardPass | None:
        """What the network makes of the training rows, layer by layer."""
        return None if self.learned is None else self.thought_of(self.learned)

    @cached_property
    def sketch(self) -> ForwardPass | None:
        """One forward pass that shows which layer reads which, of rows or of anything; else None.

        Random numbers, so that no two layers say the same by chance.
        """
        inputs = len(self.question.labels.inputs)
        if self.thought is not None or not inputs:
            return self.thought
        row = torch.randn(1, inputs, generator=torch.Generator().manual_seed(0))
        with untouched(self.network):
            return trace(self.network, row.to(next(self.network.parameters())))

    def thought_of(self, rows: Rows) -> ForwardPass:
        """What the network makes of rows, layer by layer."""
        with untouched(self.network):
            like = next(self.network.parameters())
            return trace(self.network, rows.inputs.to(like))

    @cached_property
    def loss_of_rows(self) -> dict[Part, Tensor]:
        """The sting of each row, one by one, of every part."""
        found = {}
        with torch.no_grad():
            for rows in self.rows:
                output = self.thought_of(rows).output
                pairs = zip(output.split(1), rows.targets.split(1), strict=True)
                stings = [self.question.loss(said, right) for said, right in pairs]
                found[rows.part] = torch.stack(stings)
        return found
