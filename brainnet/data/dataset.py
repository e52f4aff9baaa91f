"""Dataset: inputs, targets and what they mean.

What inputs and answers mean must be as it was wherever a network meets data: it reads by position.
That the rows are the same matters where the run's own are meant: of others, some that were trained
on would come into the test.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, get_args

import numpy as np
import torch
from torch import Tensor

from brainnet.data.image_files import ImageEncoder
from brainnet.data.preprocessing import (
    TableEncoder,
    is_all_finite,
    sort_labels,
    warn_merged_numbers,
)
from brainnet.data.validation import join_names
from brainnet.errors import InputError
from brainnet.learning.loss import Task

InputEncoder = TableEncoder | ImageEncoder

"""What was learnt of the raw rows, as plain data: `names` of the inputs, `embedded` codes,
whether missing numbers are imputed (`preparation.imputes`), `apply` to raw rows, and `to_dict`."""

NUMBERS = "numbers"

"""The kind of columns that came as numbers: their names say all, and checkpoints stay small."""


def told_numbers(names: Sequence[str]) -> dict[str, Any]:
    """Return what is stored of columns that came as numbers."""
    return {"kind": NUMBERS, "names": list(names)}


def restore_encoder(stored: Mapping[str, Any]) -> InputEncoder:
    """Return the preparation that its `to_dict` stored.

    Example:
        >>> preparation_from_dict(Pixels(8, 8).to_dict())
        Pixels(height=8, width=8, channels=1)
        >>> preparation_from_dict(told_numbers(["x", "y"])).names
        ('x', 'y')
    """
    if stored["kind"] == NUMBERS:
        return TableEncoder.from_names(stored["names"])
    kind = ImageEncoder if stored["kind"] == "pixels" else TableEncoder
    return kind.from_dict(stored)


_CELLS_NAMED = 3

_AS_NUMBERS = {
    "inputs": "Turn words into numbers first: one column for each word, 1 where it stands.",
    "targets": "Leave out the task to tell words apart as classes.",
}


def inputs_of(values: Any) -> tuple[Tensor, tuple[str, ...]]:
    """Inputs (rows, inputs) as float32, and what they are called.

    Raises:
        InputError: they are no numbers, or no table.
    """
    given = values if isinstance(values, Tensor) else _numbers("inputs", values)
    table = tensor_of("inputs", given, torch.float32)
    columns = table.shape[-1] if table.ndim else 0
    names = names_of(values, columns) or tuple(f"input_{place}" for place in range(columns))
    if table.ndim == 2:
        tell_merged(given, names, "column")
    return table, names


def tell_merged(table: Any, names: Sequence[str], what: str) -> None:
    """Say which columns of a tensor or array (rows, columns) have numbers that float32 merges."""
    if isinstance(table, Tensor):
        if table.element_size() < 8:
            return
        table = table.detach().cpu().numpy()
    warn_merged_numbers(table, names, what, "")


def tensor_of(name: str, values: Any, dtype: torch.dtype | None = None) -> Tensor:
    """Return a copy as a tensor: later changes of the caller's must not reach the data set.

    Raises:
        InputError: they are no numbers, or no table.
    """
    if isinstance(values, Tensor):
        if values.is_complex():
            raise InputError(f"{name} must be real numbers; got {values.dtype}.")
        return values.detach().to("cpu", dtype or values.dtype, copy=True)
    array = _numbers(name, values)
    wanted = np.float32 if dtype == torch.float32 else array.dtype.newbyteorder("=")
    with np.errstate(over="ignore"):  # an infinity is told of by its row and column
        return torch.from_numpy(array.astype(wanted, order="C"))


def names_of(values: Any, columns: int) -> tuple[str, ...]:
    """What the columns of a DataFrame or a Series are called; empty where they are but counted.

    Example:
        >>> import pandas
        >>> names_of(pandas.DataFrame({"a": [1], "b": [2]}), 2), names_of([[1, 2]], 2)
        (('a', 'b'), ())
    """
    names = getattr(values, "columns", None)
    if names is None:
        name = getattr(values, "name", None)  # of a Series; a tensor's is None
        names = [] if name is None else [name]
    if not all(isinstance(name, str | int) for name in names):
        return ()
    called = tuple(map(str, names))
    counted = called == tuple(map(str, range(columns)))
    return called if len(set(called)) == len(called) == columns and not counted else ()


def classes_of(values: Any) -> tuple[Tensor, tuple[str, ...]] | None:
    """The classes (rows,) that labels in words name, and these in order; None of other values.

    Raises:
        InputError: some are words and others are none, or all are the same.

    Example:
        >>> classes_of(["kiwi", "apple", "kiwi"])
        (tensor([1, 0, 1]), ('apple', 'kiwi'))
    """
    if isinstance(values, Tensor):
        return None
    array = _array("targets", values)
    if array.dtype.kind not in "OU" or array.ndim != 1:
        return None
    labels = array.tolist()
    strange = [place for place, label in enumerate(labels) if not isinstance(label, str)]
    if len(strange) == len(labels):
        return None
    if strange:
        raise InputError(
            f"targets must be all words or all numbers; row {strange[0]} is "
            f"{labels[strange[0]]!r}, and others are words, such as {_first(labels)!r}. Leave such "
            "rows out, or give them a word."
        )
    names = sort_labels(set(labels))
    if len(names) < 2:
        raise InputError(
            f"targets must name at least two classes; all {len(labels)} are {names[0]!r}."
        )
    places = {name: place for place, name in enumerate(names)}
    return torch.tensor([places[label] for label in labels]), tuple(names)


def _first(labels: Sequence[Any]) -> str:
    return next(label for label in labels if isinstance(label, str))


def _array(name: str, values: Any) -> np.ndarray[Any, Any]:
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InputError(f"{name} must be a table with rows of one length: {error}.") from error


def _numbers(name: str, values: Any) -> np.ndarray[Any, Any]:
    array = _array(name, values)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} must be numbers; got {_read(array)}. {_AS_NUMBERS[name]}")
    return array


def _read(array: np.ndarray[Any, Any]) -> str:
    """Say what was read in place of numbers, with one of them where they are words."""
    words = [cell for cell in array.ravel()[:_CELLS_NAMED] if isinstance(cell, str)]
    return f"words ({', '.join(map(repr, map(str, words)))} ...)" if words else f"{array.dtype}"


TASKS: tuple[Task, ...] = get_args(Task)

ImageShape = tuple[int, int] | tuple[int, int, int]

"""(height, width) of a grey picture, or (channels, height, width)."""

_CELLS_NAMED_dataset = 3

_ROWS_AT_ONCE = 65536


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A table of inputs with the answer to each row.

    Shape:
        inputs: (rows, inputs)

    `inputs` is float32, or uint8 for pictures, which stay bytes until a batch is cut. `targets`
    holds the answers: the class of each row, int64 `(rows,)`, or for a regression the numbers to
    predict, float32 `(rows, targets)`. Rows are as measured: scaling comes after the split.

    Attributes:
        name: of the data, and of the folder of a run on them.
        task: "multiclass", "binary" or "regression".
        input_names: what each input is called.
        class_names: what each class is called; empty for a regression.
        image_shape: (height, width), or (channels, height, width), where a row is a picture.
        preparation: how raw rows became these inputs; None where they came as numbers.
        target_names: what each number to predict is called; empty where nobody said.
        parts: how many rows train, validate and test, where they came apart, stacked in this
            order; 0 for a part to be taken from the rows that train.
        left_out: rows of its files that lack a value, and are not among these.

    Raises:
        InputError: the parts do not fit together, or a cell is not a finite number. An input may be
            NaN where those missing are imputed (`preparation.imputes`).
    """

    name: str
    task: Task
    inputs: Tensor
    targets: Tensor
    input_names: tuple[str, ...]
    class_names: tuple[str, ...] = ()
    image_shape: ImageShape | None = None
    preparation: InputEncoder | None = None
    target_names: tuple[str, ...] = ()
    parts: tuple[int, int, int] | None = None
    left_out: int = 0

    def __post_init__(self) -> None:
        """Check everything once, so that nobody downstream has to."""
        if self.task not in TASKS:
            raise InputError(f"task must be one of {', '.join(TASKS)}; got {self.task!r}.")
        self._check_inputs()
        if self.task == "regression":
            self._check_numbers()
        else:
            self._check_classes()
        self._check_parts()

    @classmethod
    def from_arrays(
        cls,
        inputs: Any,
        targets: Any,
        *,
        name: str = "arrays",
        task: Task | None = None,
    ) -> Self:
        """Make a data set of anything NumPy can read as a table: arrays, tensors, nested lists.

        Whole-number targets are classes and must be 0, 1, 2, ... without a gap; words are classes
        of these names, in their order; targets with a decimal point are numbers to predict. `task`
        overrules that guess. The columns of a DataFrame keep their names.

        Raises:
            InputError: the arrays are no numbers, do not fit together, or the classes have a gap.

        Example:
            >>> Dataset.from_arrays([[0.0, 1.0], [2.0, 3.0]], [0, 1]).task
            'binary'
            >>> Dataset.from_arrays([[0.0, 1.0], [2.0, 3.0]], [0.5, 1.5]).targets.shape
            torch.Size([2, 1])
        """
        table, names = inputs_of(inputs)
        named = None if task == "regression" else classes_of(targets)
        answers = tensor_of("targets", targets) if named is None else named[0]
        if 0 in (*table.shape[:1], *answers.shape[:1]):
            raise InputError(
                f"there are no rows to learn from: inputs have shape {tuple(table.shape)}, targets "
                f"{tuple(answers.shape)}. Give at least a few rows, (rows, inputs), and a target "
                "for each."
            )
        if task == "regression" or (task is None and answers.is_floating_point()):
            answers = answers.unsqueeze(1) if answers.ndim == 1 else answers
            called = names_of(targets, answers.shape[-1])
            unnamed = [f"target_{place}" for place in range(answers.shape[-1])]
            tell_merged(answers, called or unnamed, "the target")
            return cls(name, "regression", table, answers.float(), names, target_names=called)
        if named is None:
            class_names = tuple(map(str, range(_classes_without_gap(answers))))
        else:
            class_names = named[1]
        task = task or classification_task(len(class_names))
        return cls(name, task, table, answers.long(), names, class_names)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.inputs)

    @property
    def target_columns(self) -> int:
        """The number of classes, or of numbers to predict."""
        return len(self.class_names) or self.targets.shape[1]

    def _check_inputs(self) -> None:
        shape, names = tuple(self.inputs.shape), self.input_names
        known = self.inputs.dtype in (torch.float32, torch.uint8)
        if len(shape) != 2 or 0 in shape or not known:
            raise InputError(
                "inputs must be a float32 table of shape (rows, inputs), with at least one of each "
                f"(uint8 for pictures); got {self.inputs.dtype} of shape {shape}. "
                "Flatten pictures to one row each: inputs.reshape(len(inputs), -1)."
            )
        if self.inputs.device.type != "cpu" or self.targets.device.type != "cpu":
            raise InputError(
                "a data set lies on the CPU; training moves its parts to the device. "
                "Pass inputs.cpu() and targets.cpu()."
            )
        if len(names) != shape[1]:
            raise InputError(f"{shape[1]} inputs need as many input_names; got {len(names)}.")
        if self.image_shape is not None and math.prod(self.image_shape) != shape[1]:
            sides = " x ".join(map(str, self.image_shape))
            raise InputError(
                f"image_shape {sides} makes {math.prod(self.image_shape)} inputs, but a row has "
                f"{shape[1]}. Give the (height, width) of the picture, or (channels, height, "
                "width), or None."
            )
        imputes = self.preparation is not None and self.preparation.imputes
        _check_finite("inputs", self.inputs, names, missing=imputes)

    def _check_parts(self) -> None:
        if self.parts is None:
            return
        train, validation, test = self.parts
        if sum(self.parts) != len(self) or train < 1 or min(validation, test) < 0:
            raise InputError(
                f"parts must be the rows that train, validate and test, {len(self)} together; "
                f"got {self.parts}."
            )

    def _check_rows(self) -> None:
        if len(self.targets) != len(self.inputs):
            raise InputError(
                f"each row of inputs needs one target; got {len(self.inputs)} rows of inputs and "
                f"{len(self.targets)} of targets."
            )

    def _check_numbers(self) -> None:
        shape = tuple(self.targets.shape)
        if len(shape) != 2 or shape[1] == 0 or self.targets.dtype != torch.float32:
            raise InputError(
                "the targets of a regression must be float32 of shape (rows, targets); "
                f"got {self.targets.dtype} of shape {shape}."
            )
        self._check_rows()
        if self.class_names:
            raise InputError("a regression has no classes: leave class_names empty.")
        if len(self.target_names) not in (0, shape[1]):
            raise InputError(
                f"{shape[1]} targets need as many target_names; got {len(self.target_names)}."
            )
        _check_finite("targets", self.targets, tuple(map(str, range(shape[1]))))

    def _check_classes(self) -> None:
        if self.targets.ndim != 1 or self.targets.dtype != torch.int64:
            raise InputError(
                "the targets of a classification must be int64 of shape (rows,), the class of each "
                f"row; got {self.targets.dtype} of shape {tuple(self.targets.shape)}."
            )
        self._check_rows()
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
    """Return the task that telling so many classes apart is."""
    return "binary" if classes == 2 else "multiclass"


def _classes_without_gap(targets: Tensor) -> int:
    found = np.unique(targets.numpy())
    if len(found) < 2 or not np.array_equal(found, np.arange(len(found))):
        listed = ", ".join(str(label) for label in found[:6].tolist())
        more = ", ..." if len(found) > 6 else ""
        raise InputError(
            "class labels must be 0, 1, 2, ... with at least two classes and no gap; "
            f"got {listed}{more}. Renumber them, or, if they are amounts to predict, "
            "make them floats."
        )
    return len(found)


def _check_finite(
    name: str, values: Tensor, columns: tuple[str, ...], *, missing: bool = False
) -> None:
    """Raise an InputError that names the first cells that are infinite or, unless allowed, NaN."""
    if not values.is_floating_point():
        return
    # By parts: `isfinite` makes copies, and a table may fill half the memory. A sum first: it
    # needs none, and no threads of torch's that wait for each other on a busy machine.
    bad = [
        found.nonzero() + torch.tensor([start, 0])
        for start, rows in zip(
            range(0, len(values), _ROWS_AT_ONCE), values.split(_ROWS_AT_ONCE), strict=True
        )
        if not is_all_finite(rows.detach().numpy())
        and (found := rows.isinf() if missing else ~rows.isfinite()).any()
    ]
    if not bad:
        return
    cells = torch.cat(bad)
    named = ", ".join(
        f"row {row} column {columns[column]!r} ({values[row, column].item()})"
        for row, column in cells[:_CELLS_NAMED_dataset].tolist()
    )
    more = ", ..." if len(cells) > _CELLS_NAMED_dataset else ""
    raise InputError(
        f"{name} must be finite float32 numbers; {len(cells)} of {values.numel()} cells are not: "
        f"{named}{more}. Fill those cells or leave out their rows."
    )


ROWS, DIGEST = "rows", "digest"

_NAMED = 6

_ROWS_AT_ONCE_identity = 65536
# Which words a split left for validation and test alone is no property of the data.
_OF_THE_SPLIT = ("unseen",)


def describe_dataset(dataset: Dataset, target_names: Sequence[str]) -> dict[str, Any]:
    """Return what raw rows need in order to be answered, and which rows these are.

    Rows that were read from files are told by their number and a checksum. Built-in ones are made
    anew for each run, by arithmetic whose last bits are those of a machine; arrays are the user's
    own to keep.
    """
    preparation = dataset.preparation
    told = {
        "preparation": (
            preparation.to_dict() if preparation else told_numbers(dataset.input_names)
        ),
        "task": dataset.task,
        "class_names": list(dataset.class_names),
        "target_names": list(target_names),
        "image_shape": dataset.image_shape and list(dataset.image_shape),
    }
    return (
        told
        if preparation is None
        else {**told, ROWS: len(dataset), DIGEST: compute_digest(dataset)}
    )


def compute_digest(dataset: Dataset) -> int:
    """Return a checksum (CRC-32) of all inputs and targets, as they lie in memory.

    Example:
        >>> rows = Dataset.from_arrays([[1.0], [2.0]], [0, 1])
        >>> digest_of(rows) == digest_of(Dataset.from_arrays([[1.0], [2.0]], [1, 0]))
        False
    """
    found = 0
    for values in (dataset.inputs, dataset.targets):
        for part in values.split(_ROWS_AT_ONCE_identity):
            found = zlib.crc32(memoryview(part.contiguous().numpy()).cast("B"), found)
    return found


def check_same_meaning(stored: Mapping[str, Any], own: Mapping[str, Any], name: str) -> None:
    """Hold what inputs and answers mean against what a network learnt.

    Args:
        stored: what `told_of` told of the data that it learnt from; older runs told less.
        own: what it tells of these.
        name: of these.

    Raises:
        InputError: they mean something else.
    """
    if "preparation" not in stored:
        return
    before, now = stored["preparation"], own["preparation"]
    # Arrays go by position, and what is in them nobody said.
    named = NUMBERS not in (before["kind"], now["kind"])
    if named:
        _check_preparation(before, now, name)
    for key, what, unnamed in (
        ("class_names", "classes", "{}"),
        ("target_names", "numbers to predict", "target_{}"),
    ):
        learnt, there = (list(each.get(key) or ()) for each in (stored, own))
        numbered = [unnamed.format(place) for place in range(len(there))]
        said = named or numbered not in (learnt, there)
        if said and learnt and there and learnt != there:
            raise _other(
                name, f"the {what} {join_names(there, _NAMED)}", join_names(learnt, _NAMED)
            )
    if named and stored["task"] != own["task"]:
        raise _other(name, f"the task {own['task']}", stored["task"])


def check_same_rows(stored: Mapping[str, Any], own: Mapping[str, Any], name: str) -> None:
    """Hold the rows of a run's own data against those that it learnt from.

    Raises:
        InputError: they are others now. Runs that did not tell, and data that do not, pass.
    """
    if DIGEST not in stored or DIGEST not in own:
        return
    advice = (
        "Restore the data as they were; or judge the network by all rows of a file that it did not "
        "learn from: brainnet evaluate RUN data.path=FILE."
    )
    if stored[ROWS] != own[ROWS]:
        raise InputError(
            f"{name} has {own[ROWS]:,} rows now, and {stored[ROWS]:,} when the network learnt from "
            f"it: the data have changed since the run, so that rows it was trained on would be "
            f"taken for others. {advice}"
        )
    if stored[DIGEST] != own[DIGEST]:
        raise InputError(
            f"{name} has as many rows as when the network learnt from it, but what stands in them "
            f"or their order is no longer the same: the data have changed since the run. {advice}"
        )


def _check_preparation(before: Mapping[str, Any], now: Mapping[str, Any], name: str) -> None:
    """Compare how raw rows become inputs, in all that both tell."""
    if before["kind"] != now["kind"]:
        kinds = {"pixels": "pictures", "columns": "rows of a table"}
        raise _other(name, kinds[now["kind"]], kinds[before["kind"]])
    if before["kind"] == "columns":
        _check_columns(before, now, name)
        return
    there, learnt = (
        f"pictures of {each['height']} x {each['width']}, {each['channels']} colours"
        for each in (now, before)
    )
    if there != learnt:
        raise _other(name, there, learnt)


def _check_columns(before: Mapping[str, Any], now: Mapping[str, Any], name: str) -> None:
    there, learnt = ([column["name"] for column in each["columns"]] for each in (now, before))
    if there != learnt:
        raise _other(name, f"the columns {join_names(there)}", join_names(learnt))
    for column, found in zip(before["columns"], now["columns"], strict=True):
        for key in column:
            if key in _OF_THE_SPLIT or _plain(column[key]) == _plain(found.get(key, column[key])):
                continue
            what = f"the {'words' if key == 'values' else key} {_said(found[key])}"
            raise _other(name, f"column {column['name']!r} with {what}", _said(column[key]))
    if now["imputes"] and not before["imputes"]:
        raise _other(name, "empty cells to fill in", "complete rows alone")


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _said(value: object) -> str:
    """What is stored of a column, in words; of many the first."""
    return (
        join_names(list(map(str, value)), _NAMED) if isinstance(value, list | tuple) else str(value)
    )


def _other(name: str, there: str, learnt: str) -> InputError:
    return InputError(
        f"{name} has {there} now, and the network learnt {learnt}: the data have changed since the "
        "run, or are read otherwise. Use data like those it learnt from."
    )


class DatasetProperties:
    """Tells of a data set that something holds: its task, its sizes, and what all is called."""

    dataset: Dataset

    @property
    def task(self) -> Task:
        """What is to be learnt: "multiclass", "binary" or "regression"."""
        return self.dataset.task

    @property
    def inputs(self) -> int:
        """The number of inputs, which is what the network's first layer reads."""
        return self.dataset.inputs.shape[1]

    @property
    def targets(self) -> int:
        """The number of classes, or of numbers to predict."""
        return self.dataset.target_columns

    @property
    def input_names(self) -> tuple[str, ...]:
        """What each input is called."""
        return self.dataset.input_names

    @property
    def class_names(self) -> tuple[str, ...]:
        """What each class is called; empty for a regression."""
        return self.dataset.class_names

    @property
    def target_names(self) -> tuple[str, ...]:
        """What each number to predict is called; empty for classes."""
        if self.class_names or self.dataset.target_names:
            return self.dataset.target_names
        return tuple(f"target_{column}" for column in range(self.targets))

    @property
    def image_shape(self) -> ImageShape | None:
        """(height, width), or (channels, height, width), where a row of inputs is a picture."""
        return self.dataset.image_shape

    @property
    def preparation(self) -> InputEncoder:
        """How raw rows become inputs; numbers do as they are."""
        return self.dataset.preparation or TableEncoder.from_names(self.input_names)

    @cached_property  # written with every checkpoint, and never changed
    def told(self) -> dict[str, Any]:
        """What the data are, apart from how they are scaled, as primitives and lists of them."""
        return describe_dataset(self.dataset, self.target_names)
