"""Dataset: inputs, targets and what they mean.

A network reads its inputs by position. Therefore the meaning of inputs and targets is stored with
a run, and compared with the data before the network is used on them again.
"""

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, get_args

import numpy as np
import torch
from torch import Tensor

from brainnet.data.image_files import ImageEncoder
from brainnet.data.preprocessing import TableEncoder, sort_labels, warn_merged_numbers
from brainnet.data.validation import join_names
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
    "targets": "Omit `task` to use text labels as classes.",
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
        task: "multiclass", "binary" or "regression".
        input_names: one name per input.
        class_names: one name per class; empty for regression.
        image_shape: (height, width) or (channels, height, width) if a row is an image.
        encoder: converts raw rows to inputs; None if the inputs were numbers already.
        target_names: one name per number to predict; empty if unknown.
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
        if self.task not in TASKS:
            raise InputError(f"task must be one of {', '.join(TASKS)}; got {self.task!r}.")
        self._check_inputs()
        if self.task == "regression":
            self._check_numeric_targets()
        else:
            self._check_class_targets()

    @classmethod
    def from_arrays(
        cls,
        inputs: Any,
        targets: Any,
        *,
        name: str = "arrays",
        task: Task | None = None,
    ) -> Self:
        """Create a data set from anything NumPy reads as a table: arrays, tensors, nested lists.

        Whole-number targets are classes and must be 0, 1, 2, ... without a gap; text labels are
        classes in sorted order; targets with a decimal point are numbers to predict. `task`
        overrides this. The columns of a DataFrame keep their names.

        Raises:
            InputError: the arrays are not numeric, do not fit together, or the classes have a gap.

        Example:
            >>> Dataset.from_arrays([[0.0, 1.0], [2.0, 3.0]], [0, 1]).task
            'binary'
            >>> Dataset.from_arrays([[0.0, 1.0], [2.0, 3.0]], [0.5, 1.5]).targets.shape
            torch.Size([2, 1])
        """
        table = _to_tensor("inputs", inputs, torch.float32)
        columns = table.shape[-1] if table.ndim else 0
        names = _get_names(inputs, columns) or tuple(f"input_{i}" for i in range(columns))
        warn_merged_numbers(_to_rows(inputs), names, "column", "")
        # For a regression, text labels are an error that `_to_tensor` reports.
        labels = None if task == "regression" else _encode_labels(targets)
        values, class_names = labels or (_to_tensor("targets", targets), ())
        if 0 in (*table.shape[:1], *values.shape[:1]):
            raise InputError(
                f"there are no rows: inputs have shape {tuple(table.shape)}, targets "
                f"{tuple(values.shape)}. Pass at least a few rows, (rows, inputs), and one target "
                "per row."
            )
        if task == "regression" or (task is None and values.is_floating_point()):
            values = values.unsqueeze(1) if values.ndim == 1 else values
            target_names = _get_names(targets, values.shape[-1])
            numbered = [f"target_{i}" for i in range(values.shape[-1])]
            warn_merged_numbers(_to_rows(targets), target_names or numbered, "the target", "")
            return cls(name, "regression", table, values.float(), names, target_names=target_names)
        class_names = class_names or tuple(map(str, range(_count_classes(values))))
        task = task or classification_task(len(class_names))
        return cls(name, task, table, values.long(), names, class_names)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.inputs)

    @property
    def target_columns(self) -> int:
        """Number of classes, or of numbers to predict."""
        return len(self.class_names) or self.targets.shape[1]

    def _check_inputs(self) -> None:
        shape, names = tuple(self.inputs.shape), self.input_names
        if len(shape) != 2 or 0 in shape or self.inputs.dtype not in (torch.float32, torch.uint8):
            raise InputError(
                "inputs must be a float32 table of shape (rows, inputs), with at least one of each "
                f"(uint8 for images); got {self.inputs.dtype} of shape {shape}. "
                "Flatten images to one row each: inputs.reshape(len(inputs), -1)."
            )
        # Splits and checksums use NumPy, which cannot read other devices.
        if self.inputs.device.type != "cpu" or self.targets.device.type != "cpu":
            raise InputError(
                "a data set is stored on the CPU; training moves its parts to the device. "
                "Pass inputs.cpu() and targets.cpu()."
            )
        if len(names) != shape[1]:
            raise InputError(f"{shape[1]} inputs need as many input_names; got {len(names)}.")
        if self.image_shape is not None and math.prod(self.image_shape) != shape[1]:
            sides = " x ".join(map(str, self.image_shape))
            raise InputError(
                f"image_shape {sides} has {math.prod(self.image_shape)} pixels, but a row has "
                f"{shape[1]}. Pass (height, width), (channels, height, width) or None."
            )
        if len(self.targets) != len(self.inputs):
            raise InputError(
                f"each row of inputs needs one target; got {len(self.inputs)} rows of inputs and "
                f"{len(self.targets)} of targets."
            )
        sizes = self.part_sizes or (len(self), 0, 0)
        if sum(sizes) != len(self) or sizes[0] < 1 or min(sizes) < 0:
            raise InputError(
                "part_sizes must be the numbers of training, validation and test rows, "
                f"{len(self)} together; got {self.part_sizes}."
            )
        allow_nan = self.encoder is not None and self.encoder.imputes
        _check_finite("inputs", self.inputs, names, allow_nan=allow_nan)

    def _check_numeric_targets(self) -> None:
        shape = tuple(self.targets.shape)
        if len(shape) != 2 or shape[1] == 0 or self.targets.dtype != torch.float32:
            raise InputError(
                "the targets of a regression must be float32 of shape (rows, targets); "
                f"got {self.targets.dtype} of shape {shape}."
            )
        if self.class_names:
            raise InputError("a regression has no classes: leave class_names empty.")
        if len(self.target_names) not in (0, shape[1]):
            raise InputError(
                f"{shape[1]} targets need as many target_names; got {len(self.target_names)}."
            )
        _check_finite("targets", self.targets, tuple(map(str, range(shape[1]))))

    def _check_class_targets(self) -> None:
        if self.targets.ndim != 1 or self.targets.dtype != torch.int64:
            raise InputError(
                "the targets of a classification must be int64 of shape (rows,), the class of each "
                f"row; got {self.targets.dtype} of shape {tuple(self.targets.shape)}."
            )
        classes = len(self.class_names)
        if classes < 2 or (self.task == "binary" and classes != 2):
            wanted = "exactly two" if self.task == "binary" else "at least two"
            raise InputError(f"a {self.task} task needs {wanted} class_names; got {classes}.")
        low, high = int(self.targets.min()), int(self.targets.max())
        if low < 0 or high >= classes:
            raise InputError(
                f"with {classes} classes, targets must be from 0 to {classes - 1}; "
                f"got {low} to {high}."
            )


def classification_task(classes: int) -> Task:
    """Return the task with this number of classes: "binary" for two, else "multiclass"."""
    return "binary" if classes == 2 else "multiclass"


def _read_array(name: str, values: Any) -> np.ndarray[Any, Any]:
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InputError(f"{name} must be a table with rows of one length: {error}.") from error


def _to_tensor(name: str, values: Any, dtype: torch.dtype | None = None) -> Tensor:
    """Return a copy as a CPU tensor, so that later changes by the caller have no effect."""
    if isinstance(values, Tensor):
        if values.is_complex():
            raise InputError(f"{name} must be real numbers; got {values.dtype}.")
        return values.detach().to("cpu", dtype or values.dtype, copy=True)
    array = _read_array(name, values)
    if array.dtype.kind not in "biuf":
        texts = [str(cell) for cell in array.ravel()[:_MAX_LISTED_CELLS] if isinstance(cell, str)]
        received = f"text ({', '.join(map(repr, texts))} ...)" if texts else str(array.dtype)
        raise InputError(f"{name} must be numbers; got {received}. {_CONVERSION_HINTS[name]}")
    # Files may have the other byte order, which torch does not support.
    array_type = np.float32 if dtype == torch.float32 else array.dtype.newbyteorder("=")
    # An overflow becomes an infinity, which is reported with its row and column.
    with np.errstate(over="ignore"):
        return torch.from_numpy(array.astype(array_type, order="C"))


def _get_names(values: Any, columns: int) -> tuple[str, ...]:
    """Return the column names of a DataFrame or Series, or () if they are missing or numbers."""
    names = getattr(values, "columns", None)
    if names is None:
        # A Series has a `name`, which may be None as that of a tensor is.
        name = getattr(values, "name", None)
        names = [] if name is None else [name]
    if not all(isinstance(name, str | int) for name in names):
        return ()
    texts = tuple(map(str, names))
    # A DataFrame without names counts its columns, as `input_0` does already.
    is_counted = texts == tuple(map(str, range(columns)))
    return texts if len(set(texts)) == len(texts) == columns and not is_counted else ()


def _to_rows(values: Any) -> np.ndarray[Any, Any]:
    """Return values of any dtype as an array (rows, columns)."""
    array = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
    return (
        array.reshape(len(array), -1)
        if array.ndim in (1, 2) and array.size
        else np.zeros((1, 0), np.int8)
    )


def _encode_labels(values: Any) -> tuple[Tensor, tuple[str, ...]] | None:
    """Return text labels as classes (rows,) with their names, or None if they are not text."""
    if isinstance(values, Tensor):
        return None
    array = _read_array("targets", values)
    if array.dtype.kind not in "OU" or array.ndim != 1:
        return None
    labels = array.tolist()
    other = [row for row, label in enumerate(labels) if not isinstance(label, str)]
    if len(other) == len(labels):
        return None
    if other:
        text = next(label for label in labels if isinstance(label, str))
        raise InputError(
            f"targets must be all text or all numbers; row {other[0]} is {labels[other[0]]!r}, and "
            f"others are text, such as {text!r}. Leave such rows out, or give them a text label."
        )
    # Sorted, so that the codes do not depend on the order of the rows.
    names = sort_labels(set(labels))
    if len(names) < 2:
        raise InputError(
            f"targets must contain at least two classes; all {len(labels)} are {names[0]!r}."
        )
    codes = {name: code for code, name in enumerate(names)}
    return torch.tensor([codes[label] for label in labels]), tuple(names)


def _count_classes(targets: Tensor) -> int:
    labels = np.unique(targets.numpy())
    if len(labels) < 2 or not np.array_equal(labels, np.arange(len(labels))):
        listed = join_names([str(label) for label in labels.tolist()], _MAX_LISTED_NAMES)
        raise InputError(
            "class labels must be 0, 1, 2, ... with at least two classes and no gap; "
            f"got {listed}. Renumber them, or convert them to floats if they are amounts to "
            "predict."
        )
    return len(labels)


def _iterate_chunks(values: Tensor) -> Iterator[tuple[int, Tensor]]:
    for start in range(0, len(values), _CHUNK_ROWS):
        yield start, values[start : start + _CHUNK_ROWS].detach()


def _check_finite(
    name: str, values: Tensor, columns: tuple[str, ...], *, allow_nan: bool = False
) -> None:
    """Raise an InputError that lists the first cells that are infinite or (unless allowed) NaN."""
    if not values.is_floating_point():
        return
    wrong = []
    for start, rows in _iterate_chunks(values):
        # A finite sum proves that all cells are finite, and needs no copy of the rows.
        if not math.isfinite(rows.sum()):
            is_wrong = rows.isinf() if allow_nan else ~rows.isfinite()
            wrong.append(is_wrong.nonzero() + torch.tensor([start, 0]))
    cells = torch.cat(wrong) if wrong else torch.empty(0, 2, dtype=torch.int64)
    if not len(cells):
        return
    listed = ", ".join(
        f"row {row} column {columns[column]!r} ({values[row, column].item()})"
        for row, column in cells[:_MAX_LISTED_CELLS].tolist()
    )
    more = ", ..." if len(cells) > _MAX_LISTED_CELLS else ""
    raise InputError(
        f"{name} must be finite float32 numbers; {len(cells)} of {values.numel()} cells are not: "
        f"{listed}{more}. Fill in those cells or leave out their rows."
    )


def restore_encoder(stored: Mapping[str, Any]) -> InputEncoder:
    """Return the encoder that was stored by `to_dict` or by `describe_dataset`.

    Example:
        >>> restore_encoder(ImageEncoder(8, 8).to_dict())
        ImageEncoder(height=8, width=8, channels=1)
        >>> restore_encoder({"kind": "numbers", "names": ["x", "y"]}).names
        ('x', 'y')
    """
    if stored["kind"] == _NUMBERS:
        return TableEncoder.from_names(stored["names"])
    encoder = ImageEncoder if stored["kind"] == "pixels" else TableEncoder
    return encoder.from_dict(stored)


def describe_dataset(dataset: Dataset, target_names: Sequence[str]) -> dict[str, Any]:
    """Return what inputs and targets mean, and a checksum of rows from files, as plain data.

    Built-in data are generated again for each run, with last bits that depend on the machine, and
    arrays belong to the caller; neither gets a checksum.
    """
    encoder = dataset.encoder
    names = {"kind": _NUMBERS, "names": list(dataset.input_names)}
    description: dict[str, Any] = {
        "encoder": names if encoder is None else encoder.to_dict(),
        "task": dataset.task,
        "class_names": list(dataset.class_names),
        "target_names": list(target_names),
        "image_shape": dataset.image_shape and list(dataset.image_shape),
    }
    # CRC-32 detects accidental changes; deliberate ones are not the concern.
    if encoder is not None:
        checksum = 0
        for values in (dataset.inputs, dataset.targets):
            for _, rows in _iterate_chunks(values):
                checksum = zlib.crc32(rows.contiguous().numpy().data, checksum)
        description |= {"rows": len(dataset), "checksum": checksum}
    return description


def check_same_meaning(stored: Mapping[str, Any], current: Mapping[str, Any], name: str) -> None:
    """Compare the meaning of inputs and targets with that of the training data.

    Args:
        stored: `describe_dataset` of the training data.
        current: `describe_dataset` of the data to use.
        name: of the data to use.

    Raises:
        InputError: they differ.
    """
    learned, found = _summarize_meaning(stored), _summarize_meaning(current)
    # Arrays are used by position, because their columns have no reliable names.
    is_named = _NUMBERS not in (stored["encoder"]["kind"], current["encoder"]["kind"])
    for key, before in learned.items():
        now = found.get(key, before)
        # Counted names mean that the names are unknown, as for arrays.
        is_counted = not is_named and any(
            names in ([str(i) for i in range(len(now))], [f"target_{i}" for i in range(len(now))])
            for names in (before, now)
        )
        # The kind of data of an array says nothing, because it has no encoder.
        comparable = is_named or key in ("classes", "targets")
        if comparable and before and now and before != now and not is_counted:
            listed = [
                join_names(each, _MAX_LISTED_NAMES) if isinstance(each, list) else each
                for each in (before, now)
            ]
            raise InputError(
                f"{name}: {key} changed from {listed[0]} to {listed[1]} since the run, or the data "
                "are read differently. Use data like the training data."
            )


def _summarize_meaning(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that gives inputs and targets a meaning, with labels for messages."""
    encoder = description["encoder"]
    summary: dict[str, Any] = {"kind of data": encoder["kind"]}
    if encoder["kind"] == "pixels":
        summary["image size"] = f"{encoder['height']} x {encoder['width']}"
        summary["number of channels"] = str(encoder["channels"])
    elif encoder["kind"] == "columns":
        summary["columns"] = [column["name"] for column in encoder["columns"]]
        for column in encoder["columns"]:
            for key, value in column.items():
                # Which categories have no training row is a property of the split.
                if key != "unseen":
                    label = (
                        f"{'categories' if key == 'values' else key} of column {column['name']!r}"
                    )
                    is_list = isinstance(value, list | tuple)
                    summary[label] = [*map(str, value)] if is_list else str(value)
    return summary | {
        "classes": list(description["class_names"]),
        "targets": list(description["target_names"]),
        "task": description["task"],
    }


def check_same_rows(stored: Mapping[str, Any], current: Mapping[str, Any], name: str) -> None:
    """Compare the rows of a run's own data with those it was trained on.

    Raises:
        InputError: the rows changed. Data without a checksum pass.
    """
    if "checksum" not in stored or "checksum" not in current:
        return
    rows, trained_rows = current["rows"], stored["rows"]
    if rows != trained_rows:
        change = f"{rows:,} rows now, and {trained_rows:,} when the network was trained"
    elif stored["checksum"] != current["checksum"]:
        change = "as many rows as in training, but their values or their order changed"
    else:
        return
    raise InputError(
        f"{name} has {change}: training rows could be used for the test. Restore the data, or "
        "evaluate on all rows of a file that the network was not trained on: "
        "brainnet evaluate RUN data.path=FILE."
    )
