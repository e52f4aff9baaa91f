"""Targets: how the target column of a table becomes classes or numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn, Self, cast

import numpy as np
import torch
from torch import Tensor

from brainnet.data.column_types import infer_column
from brainnet.data.dataset import classification_task
from brainnet.data.preprocessing import (
    add_labels,
    factorize_texts,
    is_typed,
    parse_numbers,
    sort_labels,
    warn_merged_numbers,
)
from brainnet.data.table_files import MISSING_MARKERS, Frame
from brainnet.data.validation import Cells, Numbers, join_names, reject_cells, report_warning
from brainnet.errors import InputError
from brainnet.learning.loss import Task

# Whole numbers are classes if there are no more different ones than this.
_MAX_NUMERIC_CLASSES = 20


@dataclass(frozen=True, slots=True)
class TargetEncoder:
    """Encodes target columns as classes, or without `class_names` as numbers to predict."""

    names: tuple[str, ...]
    class_names: tuple[str, ...] = ()
    decimal: str = "."

    @property
    def text_names(self) -> tuple[str, ...]:
        """Columns whose cells must be read as written: classes keep their names."""
        return self.names if self.class_names else ()

    def learn_classes(self, frame: Frame) -> Self:
        """Return an encoder that knows the classes in these raw rows, too."""
        if not self.class_names:
            return self
        missing = _find_missing_labels(self.class_names, self.decimal)
        names = add_labels(self.class_names, frame[self.names[0]], missing)
        return replace(self, class_names=names)

    def encode(self, frame: Frame) -> Numbers:
        """Return the targets of raw rows, float64 (rows, targets); NaN where one is missing."""
        if not self.class_names:
            return _encode_numbers(frame, self.names, self.decimal)
        cells = frame[self.names[0]]
        positions, labels = factorize_texts(cells)
        codes = {name: code for code, name in enumerate(self.class_names)}
        known = codes.keys() | _find_missing_labels(self.class_names, self.decimal)
        is_unknown = np.array([label not in known for label in labels], bool)[positions]
        wanted = f"the classes {join_names(self.class_names, 6)}"
        hint = "The network knows no others: correct them, or leave these rows out."
        reject_cells(self.names[0], cells, is_unknown, wanted, hint)
        encoded = np.array([codes.get(label, np.nan) for label in labels], np.float64)
        return encoded[positions].reshape(-1, 1)


def infer_target(
    head: Frame, names: Sequence[str], task: str | None, decimal: str = "."
) -> TargetEncoder:
    """Return the encoder of target columns, by the first rows as written; None infers the task."""
    if len(names) > 1 and task not in (None, "regression"):
        raise InputError(
            f"data.task={task} needs one target; got {len(names)} ({join_names(names)}). Name "
            "one, or set data.task=regression to predict numbers."
        )
    cells = head[names[0]]
    has_classes = task not in (None, "regression")
    if len(names) == 1 and task is None:
        has_classes = _look_like_classes(names[0], cells, decimal)
    if not has_classes:
        warn_merged_numbers(_encode_numbers(head, names, decimal), names, "the target")
        return TargetEncoder(tuple(names), (), decimal)
    missing = _find_missing_labels(factorize_texts(cells)[1], decimal)
    labels = sort_labels(add_labels((), cells, missing))
    if not labels:
        raise InputError(
            f"the target {names[0]!r} is empty in the first {len(head):,} rows. Choose another "
            "target, or remove these rows."
        )
    return TargetEncoder(tuple(names), tuple(labels), decimal)


def finish_targets(
    draft: TargetEncoder, encoded: Numbers, task: str | None, path: Path
) -> tuple[Task, Tensor, TargetEncoder]:
    """Return the task, the targets and the encoder of all rows of a file.

    `encoded` are the targets of these rows as `draft` encodes them, float32 (rows, targets).
    """
    if draft.class_names:
        codes = encoded[:, 0].astype(np.int64)
        # Dropped rows may have had labels that no other row has.
        labels = [draft.class_names[code] for code in np.unique(codes)]
        # A file in the order of its target has few different numbers at first.
        if task is not None or _are_classes(_parse_labels(labels, draft.decimal)):
            return _finish_classes(draft, labels, codes, task, path)
        numbers = _parse_labels(draft.class_names, draft.decimal)
        encoded = numbers[codes].astype(np.float32).reshape(-1, 1)
    for name, values in zip(draft.names, encoded.T, strict=True):
        if (values == values[0]).all():
            _reject_constant(name, f"{values[0]:g}", len(values), path)
    return "regression", torch.from_numpy(encoded), replace(draft, class_names=())


def _finish_classes(
    draft: TargetEncoder, labels: Sequence[str], codes: Numbers, task: str | None, path: Path
) -> tuple[Task, Tensor, TargetEncoder]:
    names, name, rows = sort_labels(labels), draft.names[0], len(codes)
    if len(names) == 1:
        _reject_constant(name, names[0], rows, path)
    if len(names) > max(rows / 2, min(20, rows - 1)):
        raise InputError(
            f"the target {name!r} has {len(names):,} different values in {rows:,} rows "
            f"({join_names(labels[:3])}, ...), but each class needs several rows. Choose "
            "another target, or add rows; data.task=regression predicts numbers."
        )
    if task == "binary" and len(names) != 2:
        raise InputError(
            f"data.task=binary needs two classes; the target {name!r} has {len(names)}: "
            f"{join_names(names, 6)}. Leave data.task out."
        )
    if task is None and len(names) > 2 and _parse_labels(names, draft.decimal).max() >= 0:
        report_warning(
            f"the target {name!r} has {len(names)} whole numbers, read as classes; "
            "data.task=regression predicts the number."
        )
    for label in MISSING_MARKERS & {*names}:
        report_warning(
            f"{label!r} is a class of the target {name!r}. If it marks missing targets, empty "
            "these cells and set data.missing=drop."
        )
    if task in (None, "classification"):
        task = classification_task(len(names))
    positions = {label: position for position, label in enumerate(names)}
    order = np.array([positions.get(label, -1) for label in draft.class_names])
    return (
        cast(Task, task),
        torch.from_numpy(order[codes]),
        replace(draft, class_names=tuple(names)),
    )


def _reject_constant(name: str, value: str, rows: int, path: Path) -> NoReturn:
    raise InputError(
        f"the target {name!r} of {path} is {value} in all {rows:,} rows, so there is nothing to "
        "learn. Add rows with another value, or choose another target (data.target=...)."
    )


def _parse_labels(labels: Sequence[str], decimal: str) -> Numbers:
    import pandas

    return parse_numbers(pandas.Series(list(labels), dtype=object), decimal)[0]


def _find_missing_labels(labels: Sequence[str], decimal: str) -> frozenset[str]:
    """Return the texts that stand for a missing target: NA does so among numbers only."""
    others = [label for label in labels if label not in MISSING_MARKERS]
    are_numbers = bool(others) and not np.isnan(_parse_labels(others, decimal)).any()
    return MISSING_MARKERS if are_numbers else frozenset({""})


def _encode_numbers(frame: Frame, names: Sequence[str], decimal: str) -> Numbers:
    """Return numbers to predict, float64 (rows, targets), all of which fit into float32."""
    encoded = np.empty((len(frame), len(names)))
    hint = (
        "Correct the cell, or empty it and set data.missing=drop. For classes, name one target and "
        "set data.task=classification."
    )
    for position, name in enumerate(names):
        values, wrong = parse_numbers(frame[name], decimal)
        with np.errstate(over="ignore"):
            wrong |= np.isinf(values.astype(np.float32))
        reject_cells(name, frame[name], wrong, "finite numbers to predict", hint)
        encoded[:, position] = values
    return encoded


def _look_like_classes(name: str, cells: Cells, decimal: str) -> bool:
    """Return whether the first cells of a target are texts or a few whole numbers."""
    kind = infer_column(name, cells, decimal).kind
    if kind == "date":
        raise InputError(
            f"the target {name!r} contains dates, and a network predicts numbers or classes. Turn "
            "it into a number first, such as the number of days until then."
        )
    if kind == "boolean" or (kind == "category" and not is_typed(cells)):
        # Digits with leading zeros are classes, too.
        return True
    numbers = parse_numbers(cells, decimal)[0]
    return _are_classes(numbers[np.isfinite(numbers)])


def _are_classes(numbers: Numbers) -> bool:
    """Return whether labels are classes: texts (NaN as numbers), or a few whole numbers."""
    if np.isnan(numbers).any() or not len(numbers):
        return True
    return not (numbers % 1).any() and len(np.unique(numbers)) <= _MAX_NUMERIC_CLASSES
