"""Explain a run, or the prediction of one row."""

import math
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from brainnet.concepts import Concept, find_concept
from brainnet.config.components import build_datamodule
from brainnet.config.instantiate import TargetAllowList
from brainnet.data.datamodule import DataModule, PartName
from brainnet.data.image_files import ImageEncoder
from brainnet.data.preprocessing import TableEncoder
from brainnet.data.targets import TargetEncoder
from brainnet.data.validation import format_count, parse_names, suppress_warnings
from brainnet.errors import InputError
from brainnet.explanation.explanation import Explanation
from brainnet.explanation.formatting import format_number
from brainnet.explanation.report import report_concept, summarize_run
from brainnet.explanation.row_explanation import (
    Neighbor,
    PredictionTask,
    RowExplanation,
    explain_row,
    find_nearest_rows,
    group_by_column,
)
from brainnet.explanation.row_text import format_row
from brainnet.explanation.run_data import InspectedRows, RunData
from brainnet.inference.inputs import as_single_row, build_frame, encode_rows, read_image, read_row
from brainnet.observation.probe import isolated_eval
from brainnet.observation.reading import Reading
from brainnet.observation.recording import READINGS_FILE, read_recording
from brainnet.structure.forward_pass import trace
from brainnet.structure.inspection import find_layers
from brainnet.training.checkpoint_files import NETWORK_PREFIX
from brainnet.training.run_directory import RunDirectory

if TYPE_CHECKING:
    from brainnet.inference.trained_model import TrainedModel

PARTS: tuple[PartName, ...] = ("train", "validation", "test")
_CHUNK_ROWS = 16_384
# Rows of each part that a report inspects, and values that these may have in all layers: 512 MB.
_MAX_ROWS, _MAX_SIGNALS = 4096, 1 << 27
_NO_NEIGHBORS = "The nearest training rows: the rows of the run are not available."


def read_readings(directory: RunDirectory, network: nn.Module) -> tuple[Reading, ...]:
    """Return the observed steps of a run; empty if the training was not observed."""
    if not (directory.path / READINGS_FILE).exists():
        return ()
    # The training module contains the network, so that its layers have longer names there.
    names = {f"{NETWORK_PREFIX}{layer.name}": layer.name for layer in find_layers(network)}
    readings = []
    for reading in read_recording(directory.path):
        layers = [
            replace(layer, name=names.get(layer.name, layer.name)) for layer in reading.layers
        ]
        readings.append(replace(reading, layers=tuple(layers)))
    return tuple(readings)


def read_target(
    task: PredictionTask, rows: Any, columns: Sequence[str], *, decimal: str = "."
) -> Tensor | None:
    """Read the target of a raw row, as the loss takes it, or of the first of several rows."""
    row = rows[0] if isinstance(rows, list | tuple) and rows else rows
    names = {
        str(name) for name in (row if isinstance(row, Mapping) else getattr(row, "columns", ()))
    }
    # Other rows have no column names.
    if not columns or not names.issuperset(columns):
        return None
    frame = build_frame(row, columns).head(1)
    classes = () if task.task == "regression" else tuple(task.names.outputs)
    values = TargetEncoder(tuple(columns), classes, decimal).encode(frame)
    if np.isnan(values).any():
        return None
    if classes:
        return torch.from_numpy(values[:, 0].astype(np.int64))
    numbers = torch.from_numpy(values.astype(np.float32))
    return numbers if task.target_scaling is None else task.target_scaling.apply(numbers)


@dataclass(frozen=True, eq=False)
class RowExplainer:
    """Explains a run in its own numbers, and the predictions of single rows.

    Attributes:
        trained: the model of the run.
        allow_list: further classes that the data of the run may name; None for those of the
            environment variable BRAINNET_ALLOW.

    Example:
        >>> import tempfile
        >>> from brainnet import Network, fit, load
        >>> with tempfile.TemporaryDirectory() as runs:
        ...     run = fit(Network([4, 8, 3]), "iris", folder=f"{runs}/iris", progress=False)
        ...     row = load(run.folder).build_explainer().explain_row(0)
        >>> row.part, row.prediction.true_class, len(row.columns)
        ('train', 'setosa', 4)
    """

    trained: "TrainedModel"
    allow_list: TargetAllowList | None = None

    @cached_property
    def task(self) -> PredictionTask:
        """How to read inputs and outputs of the network."""
        return self.trained.build_prediction_task()

    @cached_property
    def run_data(self) -> RunData:
        """The data of the report, whose rows are read when they are needed."""
        trained, directory = self.trained, self.trained.run.folder
        return RunData(
            # A copy, because other threads may use the network.
            network=deepcopy(trained.network),
            task=self.task,
            name=str(directory.path),
            checkpoint=trained.checkpoint.name,
            config=trained.config,
            # A run that was killed has no summary.
            summary=directory.read_summary() if directory.has_summary else {},
            load_rows=self._inspect_rows,
            readings=read_readings(directory, trained.network),
        )

    @cached_property
    def data(self) -> DataModule:
        """The rows of the run, split and scaled as there; an InputError if they are not stored."""
        trained, options = self.trained, self._data_options
        if options.get("_target_") is None:
            raise InputError(
                f"the rows of this run ({options.get('name', 'arrays')}) were passed in Python and "
                "are not stored. Explain a row of a file with the same columns: --input FILE, or "
                "in Python explain(trained, row=ROW)."
            )
        allow_list = self.allow_list or TargetAllowList()
        # The warnings about the data were printed by the training.
        with suppress_warnings():
            data = build_datamodule(trained.config, allow_list)
        if data.dataset.input_count != len(trained.scaling.shift):
            raise InputError(
                f"{data.dataset.name} has {data.dataset.input_count} inputs now, and "
                f"{len(trained.scaling.shift)} when the network was trained: the data have changed "
                "since the run."
            )
        # Even if the rows changed, the network needs the scaling of its training.
        data.apply_scaling(trained.data_state)
        return data

    @cached_property
    def obstacle(self) -> str | None:
        """Why the rows of the run are not available; None if they are."""
        try:
            _ = self.data
        except InputError as error:
            return str(error)
        return None

    @property
    def target_columns(self) -> list[str]:
        """Names of the target columns of a table; empty for other data."""
        return parse_names(self._data_options.get("target"))

    @property
    def _data_options(self) -> Mapping[str, Any]:
        return self.trained.config.get("data") or {}

    def explain(self, concept: Concept | str | None = None, *, row: Any = None) -> Explanation:
        """Explain the run, a concept or a row as text; see `brainnet.explain`."""
        if row is None:
            if concept is None:
                return summarize_run(self.run_data)
            concept = find_concept(concept) if isinstance(concept, str) else concept
            return report_concept(self.run_data, concept)
        if concept is not None:
            raise InputError("a row is explained as a whole: pass a row or a concept.")
        # A tensor with one row also has `__index__`.
        if hasattr(row, "__index__") and getattr(row, "ndim", 0) == 0:
            return format_row(self.explain_row(index(row)))
        # A list of files is one row per image; any other list is the cells of one row.
        is_image = isinstance(self.trained.encoder, ImageEncoder)
        is_files = isinstance(row, list | tuple) and all(isinstance(f, str | Path) for f in row)
        return format_row(
            self.explain_raw_row(row if is_image and is_files else as_single_row(row))
        )

    def explain_row(self, number: int) -> RowExplanation:
        """Explain the prediction of the row of the run's data with this index, from 0."""
        data = self.data
        rows, source = len(data.dataset), data.dataset.name
        if not 0 <= number < rows:
            raise InputError(
                f"{source} has rows 0 to {rows - 1:,}; got {number}. Rows are counted from 0, in "
                "the order of the data."
            )
        inputs, target = data.gather(torch.tensor([number]))
        explained = self._explain(inputs, data.dataset.inputs[number], target, exclude=number)
        part = next(part for part in PARTS if number in data.row_indices(part))
        note = self._describe_counting()
        return replace(explained, source=source, row=number, rows=rows, part=part, note=note)

    def explain_file_row(self, path: Path, number: int | None = None) -> RowExplanation:
        """Explain the prediction of a row of a table with the columns of the run, or of an image.

        `number` counts from 0; it is None if the file is one image. Target columns may be missing.
        """
        encoder, options = self.trained.encoder, self._data_options
        if isinstance(encoder, ImageEncoder):
            image, file, position = read_image(encoder, path, number)
            return replace(self.explain_raw_row(image), source=str(file), row=position)
        # A table always has several rows, an image file usually one.
        if number is None:
            raise InputError(f"choose a row of {path}: --row N (in Python, number), from 0.")
        header, csv = options.get("header"), options.get("csv")
        rows = read_row(path, number, encoder, self.target_columns, header=header, csv=csv)
        try:
            explained = self.explain_raw_row(rows)
        except InputError as error:
            raise InputError(f"{error} (This is --row {number}, counted from 0.)") from error
        return replace(explained, source=str(path), row=number)

    def explain_raw_row(self, rows: Any) -> RowExplanation:
        """Explain the prediction of one row in any form that `TrainedModel.predict` takes."""
        encoder = self.trained.encoder
        values, target = encode_rows(rows, encoder), None
        if isinstance(encoder, TableEncoder):
            target = read_target(self.task, rows, self.target_columns, decimal=encoder.decimal)
        inputs = self.trained.scaling.apply(values)[:1]
        return self._explain(inputs, values[0], target)

    def _explain(
        self, inputs: Tensor, values: Tensor, target: Tensor | None, *, exclude: int | None = None
    ) -> RowExplanation:
        """Explain scaled inputs (1, inputs) with unscaled values (inputs,) and their target."""
        network, encoder = self.trained.network, self.trained.encoder
        like = next(network.parameters())
        if target is not None:
            target = target.to(like) if target.is_floating_point() else target.to(like.device)
        explanation = explain_row(
            network,
            inputs.to(like),
            self.task,
            target=target,
            values=tuple(None if math.isnan(v) else v for v in values.float().tolist()),
            neighbors=self._find_neighbors(inputs[0], exclude),
            # What cannot be determined is listed, not omitted.
            limitations=() if self.obstacle is None else (_NO_NEIGHBORS,),
        )
        columns = encoder.columns if isinstance(encoder, TableEncoder) else ()
        grouped = group_by_column(explanation.inputs, columns)
        return replace(explanation, run=str(self.trained.run.folder.path), columns=grouped)

    def _find_neighbors(self, row: Tensor, exclude: int | None) -> list[Neighbor]:
        """Return the nearest training rows, if the rows of the run are available."""
        if self.obstacle is not None:
            return []
        nearest = find_nearest_rows(
            row,
            self._iterate_training_rows(),
            codes=tuple(self.trained.encoder.embeddings),
            exclude=exclude,
        )
        targets = self.data.dataset.targets
        return [Neighbor(n, distance, self._name_target(targets[n])) for n, distance in nearest]

    def _iterate_training_rows(self) -> Iterator[tuple[Tensor, Tensor]]:
        # In chunks, because the differences to all rows may not fit into memory.
        for indices in self.data.row_indices("train").split(_CHUNK_ROWS):
            yield indices, self.data.gather(indices)[0]

    def _name_target(self, target: Tensor) -> str:
        if self.trained.task != "regression":
            return self.trained.class_names[int(target)]
        return ", ".join(format_number(value) for value in target.tolist())

    def _inspect_rows(self) -> tuple[InspectedRows, ...]:
        """Return rows of each part for the report, if the rows of the run are available."""
        if self.obstacle is not None:
            return ()
        data, network = self.data, self.trained.network
        row = data.gather(torch.tensor([0]))[0].to(next(network.parameters()))
        with isolated_eval(network):
            layers = trace(network, row).layers
        tensors = (part for x in layers for part in (x.inputs, x.pre_activation, x.output))
        # A layer without activation has one tensor for its sums and its outputs.
        signals = sum({id(tensor): tensor.numel() for tensor in tensors}.values())
        count = max(1, min(_MAX_ROWS, _MAX_SIGNALS // signals))
        parts = [(part, data.row_indices(part)[:count]) for part in PARTS]
        return tuple(
            InspectedRows(part, indices, *data.gather(indices))
            for part, indices in parts
            if len(indices)
        )

    def _describe_counting(self) -> str | None:
        """Return how the rows are counted, if that is not obvious."""
        try:
            self.data.check_unchanged(self.trained.data_state)
        except InputError:
            return "The data have changed since the run: this may be another row, of another part."
        notes, dropped = [], self.data.dataset.dropped_rows
        if dropped:
            notes.append(f"Not counted: {format_count(dropped, 'row')} dropped for an empty cell.")
        if self._data_options.get("validation_path") or self._data_options.get("test_path"):
            notes.append("Rows are counted through the training, validation and test files.")
        return " ".join(notes) or None
