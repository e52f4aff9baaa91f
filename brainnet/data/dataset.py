"""Dataset: the rows a network learns from, checked before anything is built on them."""

import math
from dataclasses import dataclass
from typing import Any, Self, get_args

import numpy as np
import torch
from torch import Tensor

from brainnet.data.arrays import classes_of, inputs_of, names_of, tell_merged, tensor_of
from brainnet.data.columns import all_finite
from brainnet.data.preparation import Preparation
from brainnet.errors import InputError
from brainnet.learning.loss import Task

TASKS: tuple[Task, ...] = get_args(Task)

ImageShape = tuple[int, int] | tuple[int, int, int]
"""(height, width) of a grey picture, or (channels, height, width)."""

_CELLS_NAMED = 3
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
    preparation: Preparation | None = None
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
        inputs: Any,  # noqa: ANN401 - whatever NumPy can read as a table
        targets: Any,  # noqa: ANN401
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
        if not all_finite(rows.detach().numpy())
        and (found := rows.isinf() if missing else ~rows.isfinite()).any()
    ]
    if not bad:
        return
    cells = torch.cat(bad)
    named = ", ".join(
        f"row {row} column {columns[column]!r} ({values[row, column].item()})"
        for row, column in cells[:_CELLS_NAMED].tolist()
    )
    more = ", ..." if len(cells) > _CELLS_NAMED else ""
    raise InputError(
        f"{name} must be finite float32 numbers; {len(cells)} of {values.numel()} cells are not: "
        f"{named}{more}. Fill those cells or leave out their rows."
    )
