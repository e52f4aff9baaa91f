"""Dataset: inputs, targets and what they mean.

A network reads its inputs by position. Therefore the meaning of inputs and targets is stored with
a run, and compared with the data before the network is used on them again.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, get_args

import numpy as np
import torch
from torch import Tensor

from brainnet.data.image_files import ImageEncoder
from brainnet.data.preprocessing import TableEncoder, sort_labels, warn_merged_numbers
from brainnet.data.validation import check_one_of, join_names
from brainnet.errors import InputError
from brainnet.learning.loss import Task

InputEncoder = TableEncoder | ImageEncoder
"""Converts raw rows to inputs: a fitted encoder that is stored with a run as plain data."""

TASKS: tuple[Task, ...] = get_args(Task)
ImageShape = tuple[int, int] | tuple[int, int, int]
"""(height, width) of a grayscale image, or (channels, height, width)."""

# Stored instead of an encoder for inputs that were numbers already: names are all there is to know.
_NUMBERS = "numbers"
_MAX_LISTED_CELLS = 3
_MAX_LISTED_NAMES = 6

# Checks and checksums work on chunks, because a table may fill half of the memory.
_CHUNK_ROWS = 65536

_CONVERSION_HINTS = {
    "inputs": "Convert text to numbers first, with one 0/1 column per category.",
    "targets": "Omit `task` to use labels as classes; all must be text.",
}


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A table of inputs with one target per row, before scaling.

    Shape:
        inputs: (rows, inputs)

    `inputs` is float32, or uint8 for images, which stay bytes until they are batched. `targets` is
    the class of each row, int64 `(rows,)`, or the numbers to predict, float32 `(rows, targets)`.

    Attributes:
        name: of the data; also the name of the directory of its runs.
        class_names: one name per class; empty for regression.
        encoder: converts raw rows to inputs; None if the inputs were numbers already.
        target_names: one name per number to predict, by default `target_0`, `target_1`, ...; empty
            for classes.
        part_sizes: numbers of training, validation and test rows if the parts were given
            separately, stacked in this order; 0 for a part to be drawn from the training rows.
        dropped_rows: number of rows of the files that were left out for an empty cell.

    Raises:
        InputError: the parts do not fit together, or a cell is not finite. An input may be NaN if
            the encoder imputes missing numbers.
    """

    name: str
    task: Task
    inputs: Tensor
    targets: Tensor
    input_names: tuple[str, ...]
    class_names: tuple[str, ...] = ()
    image_shape: ImageShape | None = None
    encoder: InputEncoder | None = None
    target_names: tuple[str, ...] = ()
    part_sizes: tuple[int, int, int] | None = None
    dropped_rows: int = 0

    def __post_init__(self) -> None:
        """Check everything once, so that later code does not have to."""
        check_one_of("task", self.task, TASKS)
        is_regression = self.task == "regression"
        _check_tensor("inputs", self.inputs, (torch.float32, torch.uint8), 2)
        dtype, dimensions = (torch.float32, 2) if is_regression else (torch.int64, 1)
        _check_tensor("targets", self.targets, (dtype,), dimensions)
        self._check_counts()
        allow_nan = self.encoder is not None and self.encoder.imputes
        _check_finite("inputs", self.inputs, self.input_names, allow_nan=allow_nan)
        _check_finite("targets", self.targets, self.target_names)

    @classmethod
    def from_arrays(
        cls, inputs: Any, targets: Any, *, name: str = "arrays", task: Task | None = None
    ) -> Self:
        """Create a data set from anything NumPy reads as a table: arrays, tensors, nested lists.

        Whole-number targets are classes and must be 0, 1, 2, ... without a gap; text labels are
        classes in sorted order; targets with a decimal point are numbers to predict. `task`
        overrides this. The columns of a DataFrame keep their names. Arrays that are not numeric, do
        not fit together, or have classes with a gap, are an InputError.

        Example:
            >>> Dataset.from_arrays([[0.0, 1.0], [2.0, 3.0]], [0, 1]).task
            'binary'
            >>> Dataset.from_arrays([[0.0, 1.0], [2.0, 3.0]], [0.5, 1.5]).targets.shape
            torch.Size([2, 1])
        """
        table, values = _read_array("inputs", inputs), _read_array("targets", targets)
        # For a regression, text labels are an error that `_check_numbers` reports.
        labels = None if task == "regression" else _encode_labels(values)
        values, class_names = labels or (_check_numbers("targets", values), ())
        table = _check_numbers("inputs", table)
        _require(
            table.size > 0 and values.size > 0,
            f"there are no rows: inputs have shape {table.shape}, targets {values.shape}. Pass at "
            "least a few rows, (rows, inputs), and one target per row.",
        )
        names = _get_names(inputs, "input", table.shape[-1] if table.ndim else 0)
        if table.ndim == 2:
            warn_merged_numbers(table, names, "column", "")
        rows = _to_float32(table)
        if task == "regression" or (task is None and values.dtype.kind == "f"):
            values = values[:, None] if values.ndim == 1 else values
            target_names = _get_names(targets, "target", values.shape[-1])
            warn_merged_numbers(values, target_names, "the target", "")
            numbers = _to_float32(values)
            return cls(name, "regression", rows, numbers, names, target_names=target_names)
        if not class_names:
            codes = np.unique(values)
            class_names = tuple(map(str, range(len(codes))))
            _require(
                np.array_equal(codes, np.arange(len(codes))),
                "class labels must be 0, 1, 2, ... with no gap; got "
                f"{join_names(list(map(str, codes)), _MAX_LISTED_NAMES)}. Renumber them, or "
                "convert them to floats if they are amounts to predict.",
            )
        task = task or classification_task(len(class_names))
        classes = torch.from_numpy(values.astype(np.int64))
        return cls(name, task, rows, classes, names, class_names)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.inputs)

    @property
    def input_count(self) -> int:
        """Number of inputs of the network."""
        return self.inputs.shape[1]

    @property
    def target_count(self) -> int:
        """Number of classes, or of numbers to predict."""
        return len(self.class_names) or self.targets.shape[1]

    def _check_counts(self) -> None:
        """Check that the numbers of rows, names, classes and pixels agree."""
        (rows, columns), classes = self.inputs.shape, len(self.class_names)
        targets = self.targets.shape[1] if self.task == "regression" else 0
        if targets and not self.target_names:
            object.__setattr__(self, "target_names", _number_names("target", targets))
        for name, given, needed in (
            ("rows of targets", len(self.targets), rows),
            ("input_names", len(self.input_names), columns),
            ("target_names", len(self.target_names), targets),
            ("pixels in image_shape", math.prod(self.image_shape or (columns,)), columns),
            ("rows in part_sizes", sum(self.part_sizes or (rows,)), rows),
        ):
            _require(
                given == needed,
                f"a data set of {rows} rows with {columns} inputs needs {needed} {name}; got "
                f"{given}.",
            )
        sizes = self.part_sizes or (rows, 0, 0)
        _require(
            sizes[0] > 0 and min(sizes) >= 0,
            f"part_sizes must be numbers of rows, with a training row; got {sizes}.",
        )
        least, most = {"regression": (0, 0), "binary": (2, 2)}.get(self.task, (2, classes))
        more = "" if most == least else " or more"
        _require(
            least <= classes <= most,
            f"a {self.task} task needs {least}{more} class_names; got {classes}.",
        )
        low, high = (int(self.targets.min()), int(self.targets.max())) if classes else (0, -1)
        _require(
            low >= 0 and high < classes,
            f"targets must be classes from 0 to {classes - 1}; got {low} to {high}.",
        )


def _check_tensor(
    name: str, values: Tensor, dtypes: tuple[torch.dtype, ...], dimensions: int
) -> None:
    # On the CPU, because splits and checksums use NumPy.
    _require(
        values.dtype in dtypes
        and values.ndim == dimensions
        and values.numel() > 0
        and values.device.type == "cpu",
        f"{name} must be {' or '.join(map(str, dtypes))} on the CPU, with {dimensions} dimensions "
        f"and at least one row; got {values.dtype} of shape {tuple(values.shape)} on "
        f"{values.device}. Flatten images to rows: inputs.reshape(len(inputs), -1).",
    )


def _require(is_valid: bool, message: str) -> None:
    if not is_valid:
        raise InputError(message)


def _number_names(kind: str, count: int) -> tuple[str, ...]:
    return tuple(f"{kind}_{position}" for position in range(count))


def classification_task(classes: int) -> Task:
    """Return the task with this number of classes: "binary" for two, else "multiclass"."""
    return "binary" if classes == 2 else "multiclass"


def _read_array(name: str, values: Any) -> np.ndarray[Any, Any]:
    if isinstance(values, Tensor):
        # NumPy has no bfloat16.
        values = values.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InputError(f"{name} must be a table with rows of one length: {error}.") from error


def _check_numbers(name: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if array.dtype.kind not in "biuf":
        cells = ", ".join(map(repr, array.ravel()[:_MAX_LISTED_CELLS].tolist()))
        raise InputError(
            f"{name} must be numbers; got {cells} ... ({array.dtype}). {_CONVERSION_HINTS[name]}"
        )
    return array


def _to_float32(array: np.ndarray[Any, Any]) -> Tensor:
    """Return a copy, so that later changes by the caller have no effect."""
    # An overflow becomes an infinity, which is reported with its row and column.
    with np.errstate(over="ignore"):
        return torch.from_numpy(array.astype(np.float32, order="C"))


def _get_names(values: Any, kind: str, columns: int) -> tuple[str, ...]:
    """Return the column names of a DataFrame or Series, or numbered names if it has none."""
    # The name of a Series may be None, as that of a tensor is.
    names = list(getattr(values, "columns", [getattr(values, "name", None)]))
    has_names = all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    return tuple(names) if has_names and len(names) == columns else _number_names(kind, columns)


def _encode_labels(
    array: np.ndarray[Any, Any],
) -> tuple[np.ndarray[Any, Any], tuple[str, ...]] | None:
    """Return text labels as classes (rows,) with their names, or None if they are not text."""
    labels = array.tolist() if array.dtype.kind in "OU" and array.ndim == 1 else []
    if not labels or not all(isinstance(label, str) for label in labels):
        return None
    # Sorted, so that the codes do not depend on the order of the rows.
    names = sort_labels(set(labels))
    codes = {name: code for code, name in enumerate(names)}
    return np.array([codes[label] for label in labels]), tuple(names)


def _check_finite(
    name: str, values: Tensor, columns: Sequence[str], *, allow_nan: bool = False
) -> None:
    """Raise an InputError if a cell is infinite or (unless allowed) NaN."""
    if not values.is_floating_point():
        return
    for chunk, rows in enumerate(values.detach().split(_CHUNK_ROWS)):
        # A finite sum proves that all cells are finite, and needs no copy of the rows.
        if math.isfinite(rows.sum()):
            continue
        for row, column in (rows.isinf() if allow_nan else ~rows.isfinite()).nonzero().tolist():
            raise InputError(
                f"{name} must be finite float32 numbers; row {chunk * _CHUNK_ROWS + row} column "
                f"{columns[column]!r} is {rows[row, column].item()}. Fill in such cells, or leave "
                "out their rows."
            )


def restore_encoder(stored: Mapping[str, Any]) -> InputEncoder:
    """Return the encoder that was stored by `to_dict` or by `describe_dataset`."""
    if stored["kind"] == _NUMBERS:
        return TableEncoder.from_names(stored["names"])
    encoder = ImageEncoder if stored["kind"] == "pixels" else TableEncoder
    return encoder.from_dict(stored)


def describe_dataset(dataset: Dataset) -> dict[str, Any]:
    """Return what inputs and targets mean, and a checksum of rows from files, as plain data."""
    encoder = dataset.encoder
    names = {"kind": _NUMBERS, "names": list(dataset.input_names)}
    description: dict[str, Any] = {
        "encoder": names if encoder is None else encoder.to_dict(),
        "task": dataset.task,
        "class_names": list(dataset.class_names),
        "target_names": list(dataset.target_names),
        "image_shape": dataset.image_shape and list(dataset.image_shape),
    }
    # No checksum of built-in data, whose last bits depend on the machine, nor of arrays, which
    # belong to the caller. CRC-32 detects accidental changes; deliberate ones are not the concern.
    if encoder is not None:
        checksum = 0
        for values in (dataset.inputs, dataset.targets):
            for rows in values.detach().split(_CHUNK_ROWS):
                checksum = zlib.crc32(rows.contiguous().numpy().data, checksum)
        description |= {"rows": len(dataset), "checksum": checksum}
    return description


def check_same_meaning(stored: Mapping[str, Any], current: Mapping[str, Any], name: str) -> None:
    """Raise an InputError unless two results of `describe_dataset` have the same meaning."""
    before, now = _summarize_meaning(stored), _summarize_meaning(current)
    if ["numbers"] in (before["kind of data"], now["kind of data"]):
        # Arrays are used by position, as their columns have no reliable names; neither have classes
        # and targets that were only counted.
        both = {key: (before[key], now[key]) for key in ("classes", "targets")}
        keys = [key for key, names in both.items() if not any(map(_are_counted, names))]
    else:
        keys = [key for key in before if key in now]
    for key in keys:
        if before[key] != now[key]:
            old, new = (join_names(values, _MAX_LISTED_NAMES) for values in (before[key], now[key]))
            raise InputError(
                f"{name}: {key} changed from {old} to {new} since the run, or the data are read "
                "differently. Use data like the training data."
            )


def _are_counted(names: list[str]) -> bool:
    numbers = [str(position) for position in range(len(names))]
    return names in (numbers, [f"target_{number}" for number in numbers])


def _summarize_meaning(description: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return everything that gives inputs and targets a meaning, with labels for messages."""
    encoder = description["encoder"]
    summary = {
        "kind of data": encoder["kind"],
        "columns": [column["name"] for column in encoder.get("columns", ())],
        "height": encoder.get("height"),
        "width": encoder.get("width"),
        "number of channels": encoder.get("channels"),
        "classes": description["class_names"],
        "targets": description["target_names"],
        "task": description["task"],
    }
    for column in encoder.get("columns", ()):
        for key, value in column.items():
            # Which categories have no training row is a property of the split.
            if key != "unseen":
                summary[f"{key} of column {column['name']!r}"] = value
    return {
        label: [*map(str, value)] if isinstance(value, list | tuple) else [str(value)]
        for label, value in summary.items()
    }
