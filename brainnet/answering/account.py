"""Account: what a run has to say of itself: of each concept, and of why a row got its answer."""

import math
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from brainnet.answering.asked import facts_of, question_of, readings_of
from brainnet.answering.right_answer import right_answer
from brainnet.answering.rows import frame_of
from brainnet.building.build import Build
from brainnet.building.data import data_from
from brainnet.building.targets import Consent, allowed_roots
from brainnet.concepts import Concept, find_concept
from brainnet.data.columns import Columns
from brainnet.data.module import DataModule, Part
from brainnet.data.notes import told_before
from brainnet.data.pixels import Pixels
from brainnet.data.reading import open_rows
from brainnet.data.scaling import Scaling
from brainnet.data.signs import agreed
from brainnet.errors import InputError
from brainnet.explanation import Explanation
from brainnet.figures import figure
from brainnet.portrait.subject import Rows, Subject, rows_looked_at
from brainnet.portrait.telling import overview_of, portrait_of
from brainnet.reasons.answer import Question
from brainnet.reasons.columns import by_column
from brainnet.reasons.neighbours import Neighbour, nearest
from brainnet.reasons.reasons import reasons_for
from brainnet.reasons.row import RowTold
from brainnet.reasons.telling import tell_row

if TYPE_CHECKING:  # which gives an account of itself
    from brainnet.answering.trained import Trained

PARTS: tuple[Part, ...] = ("train", "validation", "test")

NO_NEIGHBOURS = "Which training rows are most like it: the rows of the run cannot be had again."

_ROWS_AT_ONCE = 16_384


@dataclass(frozen=True, eq=False)
class Account:
    """A trained network with the rows and the readings of its run.

    Attributes:
        trained: the network, and what it takes to answer raw rows.
        consent: which classes the run may name, beside the built-in ones; those of the environment
            variable BRAINNET_ALLOW where None.

    Example:
        >>> import tempfile
        >>> from brainnet import Network, fit, load
        >>> with tempfile.TemporaryDirectory() as runs:
        ...     run = fit(Network([4, 8, 3]), "iris", folder=f"{runs}/iris", progress=False)
        ...     told = Account(load(run.folder)).row(0)
        >>> told.part, told.reasons.answer.right, len(told.columns)
        ('train', 'setosa', 4)
    """

    trained: "Trained"
    consent: Consent | None = None

    @cached_property
    def data(self) -> DataModule:
        """The run's rows, split and scaled as it did.

        Raises:
            InputError: they were handed over in Python and are not stored, or are gone.
        """
        described = self.trained.config.get("data") or {}
        if described.get("_target_") is None:
            raise InputError(
                f"the rows of this run ({described.get('name', 'arrays')}) were handed over in "
                "Python and are not stored. A row can still be explained: with --input FILE from a "
                "file of the same columns, in Python with explain(trained, row=ROW)."
            )
        build = Build(self.consent or Consent(roots=allowed_roots()))
        with told_before():
            data = data_from(self.trained.config, build)
        told = {
            **self.trained.learnt,
            "scaling": self.trained.scaling.to_dict(),
            "target_scaling": self.trained.target_scaling.to_dict(),
        }
        if data.inputs != len(self.trained.scaling.shift):
            raise InputError(
                f"{data.dataset.name} has {data.inputs} inputs now, and the network learnt from "
                f"{len(self.trained.scaling.shift)}: the data have changed since the run."
            )
        alike = _alike(data.scaling, self.trained.scaling)
        data.scale_as(told)
        try:
            data.check_unchanged(told)
        except InputError:
            alike = False
        self.__dict__["changed"] = not alike
        return data

    @cached_property
    def question(self) -> Question:
        """What the network was asked, and how its outputs are to be read."""
        return question_of(self.trained)

    @cached_property
    def subject(self) -> Subject:
        """All that a portrait of the run is drawn from; without rows where these are not stored."""
        rows: tuple[Rows, ...] = ()
        if self.without_rows is None:
            row, _ = self.data.gathered(torch.tensor([0]))
            count = rows_looked_at(self.trained.network, row)
            parts = [(part, self.data.numbers(part)[:count]) for part in PARTS]
            rows = tuple(
                Rows(part, numbers, *self.data.gathered(numbers))
                for part, numbers in parts
                if len(numbers)
            )
        return Subject(
            deepcopy(self.trained.network),  # which others may be asking meanwhile
            self.question,
            facts_of(self.trained),
            rows,
            readings_of(self.trained),
        )

    @property
    def target_columns(self) -> list[str]:
        """The columns of a table that hold the right answers, where the run learnt from one."""
        described = (self.trained.config.get("data") or {}).get("target")
        return [described] if isinstance(described, str) else list(described or ())

    @cached_property
    def without_rows(self) -> str | None:
        """Why the rows of the run cannot be had again; None where they can."""
        try:
            return None if len(self.data.dataset) else "there are none"
        except InputError as error:
            return str(error)

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
            files = isinstance(self.trained.preparation, Pixels) and isinstance(row, list | tuple)
            files = files and all(isinstance(each, str | Path) for each in row)
            return tell_row(self.raw_row(row if files else _alone(row)))
        if concept is None:
            return overview_of(self.subject)
        return portrait_of(
            self.subject, find_concept(concept) if isinstance(concept, str) else concept
        )

    def row(self, number: int) -> RowTold:
        """Tell why one row of the run's data got its answer.

        Args:
            number: from 0, in the order in which the data hold their rows, whatever part they are.

        Raises:
            InputError: there is no such row, or the rows are not stored.
        """
        rows = len(self.data.dataset)
        if not 0 <= number < rows:
            raise InputError(
                f"{self.data.dataset.name} has rows 0 to {rows - 1:,}; got {number}. Rows are "
                "counted from 0, in the order in which the data hold them."
            )
        place = torch.tensor([number])
        inputs, target = self.data.gathered(place)
        part = next(part for part in PARTS if bool((self.data.numbers(part) == number).any()))
        measured = self.data.dataset.inputs[number].float()
        return self._told(
            inputs, measured, target, source=self.data.dataset.name, number=number, part=part
        )

    def row_of_file(self, path: Path, number: int | None = None) -> RowTold:
        """Tell why one row of a file gets its answer.

        Args:
            path: a table with the columns that the run learnt from, and others where it likes; the
                right answer is read from it where it stands there. Of a run on pictures, a picture.
            number: of the row, from 0; of a picture None.

        Raises:
            InputError: there is no such row, it lacks a column or a value, or the file is of
                another kind.
        """
        if isinstance(self.trained.preparation, Pixels):
            if number is not None:
                raise InputError(
                    f"the run learnt from pictures, and {path} is one: no row {number}."
                )
            return self.raw_row(path, source=str(path))
        if number is None:
            open_rows(path)  # which refuses what is no table, a picture say, in words of its own
            raise InputError(f"which row of {path}? Say --row N (in Python, number), from 0.")
        rows = row_of(path, number, self)
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
        inputs = self.trained.inputs(rows)[:1]
        preparation = self.trained.preparation
        raw, target, untold = rows, None, None
        if isinstance(preparation, Columns):
            raw = frame_of(rows, preparation.raw_names)
            target, untold = right_answer(self.trained, rows, self.target_columns)
        measured = torch.from_numpy(preparation.apply(raw))[0].float()
        return self._told(
            inputs, measured, target, source=source, number=number, part=None, untold=untold
        )

    def _told(
        self,
        inputs: Tensor,
        measured: Tensor,
        target: Tensor | None,
        *,
        source: str,
        number: int | None,
        part: Part | None,
        untold: str | None = None,
    ) -> RowTold:
        like = next(self.trained.network.parameters())
        values = tuple(None if each != each else each for each in measured.tolist())
        reasons = reasons_for(
            self.trained.network,
            inputs.to(like),
            self.question,
            right=None if target is None else _like(target, like),
            values=values,
            neighbours=self._neighbours(inputs[0], number if part is not None else None),
            untold=[
                *([] if untold is None else [untold]),
                *([] if self.without_rows is None else [NO_NEIGHBOURS]),
            ],
        )
        preparation = self.trained.preparation
        columns = preparation.columns if isinstance(preparation, Columns) else ()
        return RowTold(
            run=str(self.trained.run.folder.path),
            source=source,
            row=number,
            rows=len(self.data.dataset) if part is not None else None,
            part=part,
            reasons=reasons,
            note=self._note() if part is not None else None,
            columns=by_column(reasons.inputs, columns),
        )

    def _note(self) -> str | None:
        """How the rows of the run are counted, where its files hold others, or several do."""
        if self.__dict__.get("changed"):
            return (
                "The data have changed since the run: its training rows are others now, and so "
                "may be what it used this row for."
            )
        described = self.trained.config.get("data") or {}
        told: list[str] = []
        if self.data.dataset.left_out:
            left_out = self.data.dataset.left_out
            are = "1 row is" if left_out == 1 else f"{left_out:,} rows are"
            told.append(f"{are} not counted: the run left out what has an empty cell.")
        if described.get("validation_path") or described.get("test_path"):
            told.append("The files are counted through: for training, validation, test.")
        return " ".join(told) or None

    def _neighbours(self, row: Tensor, own: int | None) -> list[Neighbour]:
        """The training rows nearest to a row, where they are stored."""
        if self.without_rows is not None:
            return []
        codes = tuple(getattr(self.trained.preparation, "embedded", {}))
        found = nearest(row, self._training(), codes=codes, without=own)
        targets = self.data.dataset.targets
        return [Neighbour(number, apart, self._name(targets[number])) for number, apart in found]

    def _training(self) -> Iterator[tuple[Tensor, Tensor]]:
        for numbers in self.data.numbers("train").split(_ROWS_AT_ONCE):
            yield numbers, self.data.gathered(numbers)[0]

    def _name(self, target: Tensor) -> str:
        """A right answer in words: its class, or its numbers in their own units."""
        if self.trained.task != "regression":
            return self.trained.class_names[int(target)]
        return ", ".join(figure(value) for value in target.tolist())


def row_of(path: Path, number: int, account: Account) -> Any:  # noqa: ANN401 - a pandas DataFrame
    """Read one row of a file of rows, as a table of one row.

    Raises:
        InputError: there is no such row, or the file is no table.
    """
    if number < 0:
        raise InputError(f"rows are counted from 0; got {number}.")
    trained = account.trained
    texts = [*getattr(trained.preparation, "text_names", ())]
    texts += account.target_columns if trained.task != "regression" else ()
    file = open_rows(path)
    if isinstance(trained.preparation, Columns):
        _, file = agreed(trained.preparation, file)
    rows = 0
    for part in file.chunks(text=texts):
        if number < rows + len(part):
            return part.iloc[[number - rows]]
        rows += len(part)
    raise InputError(
        f"{path} has rows 0 to {rows - 1:,}; got {number}. Rows are counted from 0, without the "
        "line that names the columns."
    )


def _alone(row: Any) -> Any:  # noqa: ANN401 - whatever somebody holds a row in
    """A row given as plain values, as a table of one."""
    numbers = getattr(row, "ndim", None) == 1 and not hasattr(row, "to_frame")
    if hasattr(row, "to_frame") and getattr(row, "ndim", None) == 1:  # of a DataFrame
        return row.to_frame().T
    if not isinstance(row, list | tuple) or not row:
        return [row] if numbers else row
    if any(isinstance(cell, str) for cell in row) and not any(map(_is_row, row)):
        return [np.array(row, dtype=object)]  # as a plain array, its numbers would be words too
    return row if _is_row(row[0]) else [row]


def _is_row(cell: Any) -> bool:  # noqa: ANN401
    several = isinstance(cell, Sequence | Mapping) and not isinstance(cell, str)
    return several or getattr(cell, "ndim", 0) > 0


def _like(target: Tensor, like: Tensor) -> Tensor:
    """A target where the network computes, in its numbers; classes stay whole."""
    return target.to(like) if target.is_floating_point() else target.to(like.device)


def _alike(one: Scaling, other: Scaling) -> bool:
    """Whether the same rows were measured, give or take the rounding of another machine."""
    numbers = [(*each.shift, *each.scale) for each in (one, other)]
    return one.kind == other.kind and all(
        math.isclose(mine, theirs, rel_tol=1e-4, abs_tol=1e-6)
        for mine, theirs in zip(*numbers, strict=True)
    )
