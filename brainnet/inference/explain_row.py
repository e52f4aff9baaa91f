"""Explain a run, or one row of its data."""

import math
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from operator import index
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from brainnet.concepts import Concept, find_concept
from brainnet.config.components import build_datamodule
from brainnet.config.instantiate import TargetAllowList, read_allowed_roots
from brainnet.data.datamodule import DataModule, Part
from brainnet.data.dataset import InputEncoder
from brainnet.data.image_files import ImageEncoder
from brainnet.data.preprocessing import TableEncoder
from brainnet.data.scaling import Scaling
from brainnet.data.table_files import open_table
from brainnet.data.targets import TargetEncoder
from brainnet.data.validation import join_names, parse_names, suppress_warnings
from brainnet.errors import InputError
from brainnet.explanation.explanation import Explanation
from brainnet.explanation.formatting import format_number
from brainnet.explanation.report import needs_rows, report_concept, summarize_run
from brainnet.explanation.row_explanation import (
    ExplainedRow,
    Neighbor,
    PredictionTask,
    explain_row,
    find_nearest_rows,
    group_by_column,
)
from brainnet.explanation.row_text import format_row
from brainnet.explanation.run_data import InspectedRows, RunData, RunFacts, count_inspected_rows
from brainnet.inference.inputs import as_single_row, encode_rows, read_image, read_row
from brainnet.observation.reading import Reading
from brainnet.observation.recording import READINGS_FILE, read_recording
from brainnet.structure.inspection import find_layers
from brainnet.training.checkpoint_files import NETWORK_PREFIX
from brainnet.training.run_directory import RunDirectory


@dataclass(frozen=True, slots=True)
class History:
    """What a run left behind beside its weights, read when it is asked for.

    Attributes:
        folder: of the run.
        config: of the run.
        checkpoint: the file of the weights.
    """

    folder: RunDirectory
    config: Mapping[str, Any]
    checkpoint: Path

    @property
    def name(self) -> str:
        """What the run is called: its folder."""
        return str(self.folder.path)

    def facts(self) -> RunFacts:
        """What configuration and summary say of how the network learned."""
        summary: dict[str, Any] = self.folder.read_summary() if self.folder.has_summary else {}
        optimizer = self.config.get("optimizer") or {}
        schedule = self.config.get("schedule") or {}
        metrics = {
            tag: value
            for tag, value in (summary.get("metrics") or {}).items()
            if isinstance(value, int | float)
        }
        return RunFacts(
            name=self.name,
            checkpoint=self.checkpoint.name,
            optimizer=_last_word(optimizer.get("_target_") or optimizer.get("function")),
            learning_rate=optimizer.get("lr"),
            schedule=_last_word(schedule.get("_target_") or schedule.get("function")),
            steps=summary.get("steps"),
            epochs=summary.get("epochs"),
            metrics=metrics,
            failure=summary.get("reason") if summary.get("state") == "failed" else None,
        )

    def readings(self, network: nn.Module) -> tuple[Reading, ...]:
        """What was seen of the network during training; empty where nobody looked."""
        if not (self.folder.path / READINGS_FILE).exists():
            return ()
        # The module that trains has the network in it, and its layers by such names.
        own = {f"{NETWORK_PREFIX}{place.name}": place.name for place in find_layers(network)}
        return tuple(
            replace(
                reading,
                layers=tuple(
                    replace(layer, name=own.get(layer.name, layer.name))
                    for layer in reading.layers
                ),
            )
            for reading in read_recording(self.folder.path)
        )


def _last_word(path: object) -> str | None:
    return None if path is None else str(path).rpartition(".")[2]


PARTS: tuple[Part, ...] = ("train", "validation", "test")

_ROWS_AT_ONCE = 16_384


@dataclass(frozen=True, eq=False)
class OwnRows:
    """The rows of a run, read when they are asked for.

    Attributes:
        config: of the run.
        learnt: what its checkpoint tells of the data; see `DataModule.state_dict`.
        scaling: how the inputs were scaled.
        target_scaling: how the numbers to predict were scaled.
        consent: which classes the run may name, beside the built-in ones; those of the environment
            variable BRAINNET_ALLOW where None.
    """

    config: Mapping[str, Any]
    learnt: Mapping[str, Any]
    scaling: Scaling
    target_scaling: Scaling
    consent: TargetAllowList | None = None

    @property
    def data(self) -> DataModule:
        """The rows, split and scaled as the run did.

        Raises:
            InputError: they were handed over in Python and are not stored, or are gone.
        """
        return self._read[0]

    @property
    def changed(self) -> bool:
        """Whether the data hold other rows than those of the run."""
        return self._read[1]

    @cached_property
    def missing(self) -> str | None:
        """Why the rows cannot be had again; None where they can."""
        try:
            return None if len(self.data.dataset) else "there are none"
        except InputError as error:
            return str(error)

    @property
    def target_columns(self) -> list[str]:
        """The columns of a table that hold the right answers, where the run learnt from one."""
        return parse_names(self._described.get("target"))

    def part_of(self, number: int) -> Part:
        """What the run used the row of this number for."""
        return next(part for part in PARTS if bool((self.data.row_indices(part) == number).any()))

    def training(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the numbers of the training rows, and their inputs (rows, inputs), scaled."""
        for numbers in self.data.row_indices("train").split(_ROWS_AT_ONCE):
            yield numbers, self.data.gather(numbers)[0]

    def note(self) -> str | None:
        """How the rows are counted, where the files hold others, or several do."""
        if self.changed:
            return (
                "The data have changed since the run: its training rows are others now, and so "
                "may be what it used this row for."
            )
        told: list[str] = []
        if self.data.dataset.dropped_rows:
            left_out = self.data.dataset.dropped_rows
            are = "1 row is" if left_out == 1 else f"{left_out:,} rows are"
            told.append(f"{are} not counted: the run left out what has an empty cell.")
        if self._described.get("validation_path") or self._described.get("test_path"):
            told.append("The files are counted through: for training, validation, test.")
        return " ".join(told) or None

    @property
    def _described(self) -> Mapping[str, Any]:
        return self.config.get("data") or {}

    @cached_property
    def _read(self) -> tuple[DataModule, bool]:
        """The rows, and whether they changed since the run."""
        if self._described.get("_target_") is None:
            raise InputError(
                f"the rows of this run ({self._described.get('name', 'arrays')}) were handed over "
                "in Python and are not stored. A row can still be explained: with --input FILE "
                "from a file of the same columns, in Python with explain(trained, row=ROW)."
            )
        allow_list = self.consent or TargetAllowList(roots=read_allowed_roots())
        with suppress_warnings():
            data = build_datamodule(self.config, allow_list)
        if data.inputs != len(self.scaling.shift):
            raise InputError(
                f"{data.dataset.name} has {data.inputs} inputs now, and the network learnt from "
                f"{len(self.scaling.shift)}: the data have changed since the run."
            )
        return data, not self._scaled_as_then(data)

    def _scaled_as_then(self, data: DataModule) -> bool:
        """Scale rows as the run did; returns whether they are still the same."""
        told = {
            **self.learnt,
            "scaling": self.scaling.to_dict(),
            "target_scaling": self.target_scaling.to_dict(),
        }
        same = _alike(data.scaling, self.scaling)
        data.apply_scaling(told)
        try:
            data.check_unchanged(told)
        except InputError:
            return False
        return same


def _alike(one: Scaling, other: Scaling) -> bool:
    """Whether the same rows were measured, give or take the rounding of another machine."""
    numbers = [(*each.shift, *each.scale) for each in (one, other)]
    return one.kind == other.kind and all(
        math.isclose(mine, theirs, rel_tol=1e-4, abs_tol=1e-6)
        for mine, theirs in zip(*numbers, strict=True)
    )


_TOLD = 6


def right_answer(
    task: PredictionTask,
    rows: Any,
    columns: Sequence[str],
    *,
    decimal: str = "",
) -> tuple[Tensor | None, str | None]:
    """Read the right answer to a raw row, the first of several.

    Args:
        task: how to read the outputs of the network.
        rows: a DataFrame, a mapping of columns or of cells, or a list of such mappings.
        columns: that hold the right answers.
        decimal: sign of the numbers in words, as `TableEncoder` has it.

    Returns:
        The target as the loss takes it, (1,) or (1, targets), or None where nothing stands there;
        and a sentence where something stands there that is no answer.
    """
    import pandas as pd  # here, not above: half a second, and training on arrays needs none of it

    if isinstance(rows, list | tuple) and rows and isinstance(rows[0], Mapping):
        rows = rows[0]
    try:
        cells = [_first(rows[name]) for name in columns]
    except (KeyError, IndexError, TypeError):
        return None, None
    if not cells:
        return None, None
    frame = pd.DataFrame({name: [cell] for name, cell in zip(columns, cells, strict=True)})
    classes = task.names.outputs if task.task != "regression" else ()
    answers = TargetEncoder(tuple(columns), tuple(classes), decimal)
    try:
        found = answers.encode(frame)
    except InputError:
        known = f"none of the classes {join_names(classes, _TOLD)}" if classes else "no number"
        told = join_names(
            [f"{name} {cell}" for name, cell in zip(columns, cells, strict=True)], _TOLD
        )
        return None, f"Whether that is right: beside the inputs stands {told}, which is {known}."
    if np.isnan(found).any():
        return None, None
    if classes:
        return torch.from_numpy(found[:, 0].astype(np.int64)), None
    numbers = torch.from_numpy(found.astype(np.float32))
    scaling = task.target_scaling
    return numbers if scaling is None else scaling.apply(numbers), None


def _first(values: Any) -> Any:
    """The first cell of a column; a single cell is itself."""
    if np.ndim(values) == 0:
        return values.item() if hasattr(values, "item") else values
    return getattr(values, "iloc", values)[0]


NO_NEIGHBOURS = "Which training rows are most like it: the rows of the run cannot be had again."


@dataclass(frozen=True, eq=False)
class RowExplainer:
    """A network with what it was asked, the rows that it learnt from, and how it learned.

    Attributes:
        network: in evaluation mode.
        encoder: how raw rows become inputs as measured.
        scaling: how these are scaled.
        task: how to read the outputs of the network.
        own: the rows of the run.
        history: how it learned.

    Example:
        >>> import tempfile
        >>> from brainnet import Network, fit, load
        >>> with tempfile.TemporaryDirectory() as runs:
        ...     run = fit(Network([4, 8, 3]), "iris", folder=f"{runs}/iris", progress=False)
        ...     told = load(run.folder).account().row(0)
        >>> told.part, told.explanation.prediction.true_class, len(told.columns)
        ('train', 'setosa', 4)
    """

    network: nn.Module
    encoder: InputEncoder
    scaling: Scaling
    task: PredictionTask
    own: OwnRows
    history: History

    @cached_property
    def subject(self) -> RunData:
        """All that a portrait of the run is drawn from; without rows where these are not stored."""
        return replace(self._without_rows, rows=self._rows())

    def subject_of(self, concept: Concept | None) -> RunData:
        """As much of the subject as a concept is told from; all of it where None."""
        return self.subject if needs_rows(concept, self.network) else self._without_rows

    @cached_property
    def _without_rows(self) -> RunData:
        return RunData(
            deepcopy(self.network),  # which others may be asking meanwhile
            self.task,
            self.history.facts(),
            readings=self.history.readings(self.network),
        )

    def _rows(self) -> tuple[InspectedRows, ...]:
        """Some rows of each part; none where they are not stored."""
        if self.own.missing is not None:
            return ()
        data = self.own.data
        row, _ = data.gather(torch.tensor([0]))
        count = count_inspected_rows(self.network, row)
        parts = [(part, data.row_indices(part)[:count]) for part in PARTS]
        return tuple(
            InspectedRows(part, numbers, *data.gather(numbers))
            for part, numbers in parts
            if len(numbers)
        )

    def explanation(
        self,
        concept: Concept | str | None = None,
        *,
        row: Any = None,
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
                return format_row(self.row(index(row)))
            files = isinstance(self.encoder, ImageEncoder) and isinstance(row, list | tuple)
            files = files and all(isinstance(each, str | Path) for each in row)
            return format_row(self.raw_row(row if files else as_single_row(row)))
        if concept is None:
            return summarize_run(self.subject)
        found = find_concept(concept) if isinstance(concept, str) else concept
        return report_concept(self.subject_of(found), found)

    def row(self, number: int) -> ExplainedRow:
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
        inputs, target = data.gather(torch.tensor([number]))
        values, part = data.dataset.inputs[number], self.own.part_of(number)
        return self._told(
            inputs, values, target, source=data.dataset.name, number=number, part=part
        )

    def row_of_file(self, path: Path, number: int | None = None) -> ExplainedRow:
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
        if isinstance(self.encoder, ImageEncoder):
            picture, file, place = read_image(self.encoder, path, number)
            return self.raw_row(picture, source=str(file), number=place)
        if number is None:
            open_table(path)  # which refuses what is no table, a picture say, in words of its own
            raise InputError(f"which row of {path}? Say --row N (in Python, number), from 0.")
        data = self.own.config.get("data") or {}
        rows = read_row(
            path,
            number,
            self.encoder,
            self.own.target_columns,
            header=data.get("header"),
            csv=data.get("csv"),
        )
        try:
            return self.raw_row(rows, source=str(path), number=number)
        except InputError as error:
            raise InputError(f"{error} (--row counts from 0: this is --row {number}.)") from error

    def raw_row(
        self,
        rows: Any,
        *,
        source: str = "a row of yours",
        number: int | None = None,
    ) -> ExplainedRow:
        """Tell why a raw row gets its answer.

        Args:
            rows: one row in any form that `Trained.inputs` takes; of several the first.
            source: where it is from.
            number: which row it is there, from 0.

        Raises:
            InputError: it lacks a column or a value.
        """
        found = encode_rows(rows, self.encoder)
        inputs = self.scaling.apply(found)[:1]
        target, untold = None, None
        if isinstance(self.encoder, TableEncoder):
            columns, decimal = self.own.target_columns, self.encoder.decimal
            target, untold = right_answer(self.task, rows, columns, decimal=decimal)
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
    ) -> ExplainedRow:
        like = next(self.network.parameters())
        explanation = explain_row(
            self.network,
            inputs.to(like),
            self.task,
            target=None if target is None else _like(target, like),
            values=tuple(None if each != each else each for each in values.float().tolist()),
            neighbors=self._neighbours(inputs[0], number if part is not None else None),
            limitations=[
                *([] if untold is None else [untold]),
                *([] if self.own.missing is None else [NO_NEIGHBOURS]),
            ],
        )
        columns = self.encoder.columns if isinstance(self.encoder, TableEncoder) else ()
        return ExplainedRow(
            run=self.history.name,
            source=source,
            row=number,
            rows=len(self.own.data.dataset) if part is not None else None,
            part=part,
            explanation=explanation,
            note=self.own.note() if part is not None else None,
            columns=group_by_column(explanation.inputs, columns),
        )

    def _neighbours(self, row: Tensor, own: int | None) -> list[Neighbor]:
        """The training rows nearest to a row, where they are stored."""
        if self.own.missing is not None:
            return []
        codes = tuple(getattr(self.encoder, "embeddings", {}))
        found = find_nearest_rows(row, self.own.training(), codes=codes, exclude=own)
        targets = self.own.data.dataset.targets
        return [Neighbor(number, apart, self._name(targets[number])) for number, apart in found]

    def _name(self, target: Tensor) -> str:
        """A right answer in words: its class, or its numbers in their own units."""
        if self.task.task != "regression":
            return self.task.names.outputs[int(target)]
        return ", ".join(format_number(value) for value in target.tolist())


def _like(target: Tensor, like: Tensor) -> Tensor:
    """A target where the network computes, in its numbers; classes stay whole."""
    return target.to(like) if target.is_floating_point() else target.to(like.device)
