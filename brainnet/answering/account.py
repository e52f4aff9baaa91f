"""Account: what a run has to say of itself: of each concept, and of why a row got its answer."""

from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from operator import index
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from brainnet.answering.history import History
from brainnet.answering.one_row import alone, row_of
from brainnet.answering.own_rows import PARTS, OwnRows
from brainnet.answering.picture_rows import picture_of
from brainnet.answering.right_answer import right_answer
from brainnet.answering.rows import measured
from brainnet.concepts import Concept, find_concept
from brainnet.data.columns import Columns
from brainnet.data.pixels import Pixels
from brainnet.data.preparation import Preparation
from brainnet.data.reading import open_rows
from brainnet.data.scaling import Scaling
from brainnet.errors import InputError
from brainnet.explanation import Explanation
from brainnet.figures import figure
from brainnet.portrait.portrait import needs_rows
from brainnet.portrait.subject import Rows, Subject, rows_looked_at
from brainnet.portrait.telling import overview_of, portrait_of
from brainnet.reasons.answer import Question
from brainnet.reasons.columns import by_column
from brainnet.reasons.neighbours import Neighbour, nearest
from brainnet.reasons.reasons import reasons_for
from brainnet.reasons.row import RowTold
from brainnet.reasons.telling import tell_row

NO_NEIGHBOURS = "Which training rows are most like it: the rows of the run cannot be had again."


@dataclass(frozen=True, eq=False)
class Account:
    """A network with what it was asked, the rows that it learnt from, and how it learned.

    Attributes:
        network: in evaluation mode.
        preparation: how raw rows become inputs as measured.
        scaling: how these are scaled.
        question: what the network was asked, and how its outputs are to be read.
        own: the rows of the run.
        history: how it learned.

    Example:
        >>> import tempfile
        >>> from brainnet import Network, fit, load
        >>> with tempfile.TemporaryDirectory() as runs:
        ...     run = fit(Network([4, 8, 3]), "iris", folder=f"{runs}/iris", progress=False)
        ...     told = load(run.folder).account().row(0)
        >>> told.part, told.reasons.answer.right, len(told.columns)
        ('train', 'setosa', 4)
    """

    network: nn.Module
    preparation: Preparation
    scaling: Scaling
    question: Question
    own: OwnRows
    history: History

    @cached_property
    def subject(self) -> Subject:
        """All that a portrait of the run is drawn from; without rows where these are not stored."""
        return replace(self._without_rows, rows=self._rows())

    def subject_of(self, concept: Concept | None) -> Subject:
        """As much of the subject as a concept is told from; all of it where None."""
        return self.subject if needs_rows(concept, self.network) else self._without_rows

    @cached_property
    def _without_rows(self) -> Subject:
        return Subject(
            deepcopy(self.network),  # which others may be asking meanwhile
            self.question,
            self.history.facts(),
            readings=self.history.readings(self.network),
        )

    def _rows(self) -> tuple[Rows, ...]:
        """Some rows of each part; none where they are not stored."""
        if self.own.missing is not None:
            return ()
        data = self.own.data
        row, _ = data.gathered(torch.tensor([0]))
        count = rows_looked_at(self.network, row)
        parts = [(part, data.numbers(part)[:count]) for part in PARTS]
        return tuple(
            Rows(part, numbers, *data.gathered(numbers)) for part, numbers in parts if len(numbers)
        )

    def explanation(
        self,
        concept: Concept | str | None = None,
        *,
        row: Any = None,  # noqa: ANN401
    ) -> Explanation:
        """Tell of the run in words; see `brainnet.explain`.

        Raises:
            InputError: there is no such concept or row.
        """
        if row is not None:
            if concept is not None:
                raise InputError("a row is explained as a whole: give a row, or a concept.")
            whole = hasattr(row, "__index__") and getattr(row, "ndim", 0) == 0
            if whole:
                return tell_row(self.row(index(row)))
            files = isinstance(self.preparation, Pixels) and isinstance(row, list | tuple)
            files = files and all(isinstance(each, str | Path) for each in row)
            return tell_row(self.raw_row(row if files else alone(row)))
        if concept is None:
            return overview_of(self.subject)
        found = find_concept(concept) if isinstance(concept, str) else concept
        return portrait_of(self.subject_of(found), found)

    def row(self, number: int) -> RowTold:
        """Tell why one row of the run's data got its answer.

        Args:
            number: from 0, in the order in which the data hold their rows, whatever part they are.

        Raises:
            InputError: there is no such row, or the rows are not stored.
        """
        data = self.own.data
        rows = len(data.dataset)
        if not 0 <= number < rows:
            raise InputError(
                f"{data.dataset.name} has rows 0 to {rows - 1:,}; got {number}. Rows are "
                "counted from 0, in the order in which the data hold them."
            )
        inputs, target = data.gathered(torch.tensor([number]))
        values, part = data.dataset.inputs[number], self.own.part_of(number)
        return self._told(
            inputs, values, target, source=data.dataset.name, number=number, part=part
        )

    def row_of_file(self, path: Path, number: int | None = None) -> RowTold:
        """Tell why one row of a file gets its answer.

        Args:
            path: a table with the columns that the run learnt from, and others where it likes; the
                right answer is read from it where it stands there. Of a run on pictures, a picture,
                or a folder, an IDX file or an array of them.
            number: of the row, from 0; None where the file is one picture.

        Raises:
            InputError: there is no such row, it lacks a column or a value, or the file is of
                another kind.
        """
        if isinstance(self.preparation, Pixels):
            picture, file, place = picture_of(self.preparation, path, number)
            return self.raw_row(picture, source=str(file), number=place)
        if number is None:
            open_rows(path)  # which refuses what is no table, a picture say, in words of its own
            raise InputError(f"which row of {path}? Say --row N (in Python, number), from 0.")
        rows = row_of(
            path,
            number,
            self.preparation,
            self.own.target_columns,
            classes=self.question.task != "regression",
            header=(self.own.config.get("data") or {}).get("header"),
        )
        try:
            return self.raw_row(rows, source=str(path), number=number)
        except InputError as error:
            raise InputError(f"{error} (--row counts from 0: this is --row {number}.)") from error

    def raw_row(
        self,
        rows: Any,  # noqa: ANN401
        *,
        source: str = "a row of yours",
        number: int | None = None,
    ) -> RowTold:
        """Tell why a raw row gets its answer.

        Args:
            rows: one row in any form that `Trained.inputs` takes; of several the first.
            source: where it is from.
            number: which row it is there, from 0.

        Raises:
            InputError: it lacks a column or a value.
        """
        found = measured(rows, self.preparation)
        inputs = self.scaling.apply(found)[:1]
        target, untold = None, None
        if isinstance(self.preparation, Columns):
            columns, decimal = self.own.target_columns, self.preparation.decimal
            target, untold = right_answer(self.question, rows, columns, decimal=decimal)
        return self._told(
            inputs, found[0], target, source=source, number=number, part=None, untold=untold
        )

    def _told(
        self,
        inputs: Tensor,
        values: Tensor,
        target: Tensor | None,
        *,
        source: str,
        number: int | None,
        part: str | None,
        untold: str | None = None,
    ) -> RowTold:
        like = next(self.network.parameters())
        reasons = reasons_for(
            self.network,
            inputs.to(like),
            self.question,
            right=None if target is None else _like(target, like),
            values=tuple(None if each != each else each for each in values.float().tolist()),
            neighbours=self._neighbours(inputs[0], number if part is not None else None),
            untold=[
                *([] if untold is None else [untold]),
                *([] if self.own.missing is None else [NO_NEIGHBOURS]),
            ],
        )
        columns = self.preparation.columns if isinstance(self.preparation, Columns) else ()
        return RowTold(
            run=self.history.name,
            source=source,
            row=number,
            rows=len(self.own.data.dataset) if part is not None else None,
            part=part,
            reasons=reasons,
            note=self.own.note() if part is not None else None,
            columns=by_column(reasons.inputs, columns),
        )

    def _neighbours(self, row: Tensor, own: int | None) -> list[Neighbour]:
        """The training rows nearest to a row, where they are stored."""
        if self.own.missing is not None:
            return []
        codes = tuple(getattr(self.preparation, "embedded", {}))
        found = nearest(row, self.own.training(), codes=codes, without=own)
        targets = self.own.data.dataset.targets
        return [Neighbour(number, apart, self._name(targets[number])) for number, apart in found]

    def _name(self, target: Tensor) -> str:
        """A right answer in words: its class, or its numbers in their own units."""
        if self.question.task != "regression":
            return self.question.labels.outputs[int(target)]
        return ", ".join(figure(value) for value in target.tolist())


def _like(target: Tensor, like: Tensor) -> Tensor:
    """A target where the network computes, in its numbers; classes stay whole."""
    return target.to(like) if target.is_floating_point() else target.to(like.device)
