"""Targets: how the target column of a table becomes classes or numbers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from brainnet.data.cells import (
    MISSING_NUMBERS,
    Numbers,
    coded,
    date_format,
    is_date,
    is_typed,
    parse_numbers,
    parse_texts,
)
from brainnet.data.dataset import classification_task
from brainnet.data.preprocessing import Spread, in_order
from brainnet.data.validation import join_names, reject_cells, report_warning
from brainnet.errors import InputError
from brainnet.learning.loss import Task

NOTHING = frozenset({""})

"""What stands where an answer is not known, among words."""

_NO_FRACTION = {
    "": re.compile(r"[.,]0?$"),
    ".": re.compile(r"\.0*$"),
    ",": re.compile(r",0*$"),
}


def are_numbers(labels: Sequence[str], decimal: str) -> bool:
    """Whether there are labels, and all of them numbers."""
    return bool(labels) and not np.isnan(values_of(labels, decimal)).any()


def missing_among(labels: Sequence[str], decimal: str) -> frozenset[str]:
    """What stands where an answer is not known: among numbers also NA and the like."""
    said = [label for label in labels if label not in MISSING_NUMBERS]
    return MISSING_NUMBERS if are_numbers(said, decimal) else NOTHING


def values_of(labels: Sequence[str], decimal: str) -> Numbers:
    """The numbers that labels are; NaN for words."""
    import pandas

    return parse_numbers(pandas.Series(list(labels), dtype=object), decimal)[0]


def class_names_of(labels: Sequence[str], decimal: str) -> list[str]:
    """What classes are called: as they are written; whole numbers without a decimal point."""
    return (
        [whole(label, decimal) for label in labels] if are_numbers(labels, decimal) else [*labels]
    )


def whole(label: str, decimal: str) -> str:
    """A number without a fraction of zeros; 1,000 is more than one where it may be."""
    return _NO_FRACTION[decimal].sub("", label)


# Whole numbers are taken for classes where there are no more different ones than this.
_MOST_CLASSES_OF_NUMBERS = 20

_MOST_CLASSES = 100_000

_SHARE_OF_NUMBERS = 0.8

_HINT = (
    "Correct the cell, or empty it and set data.missing=drop. Words can be told apart: one target "
    "alone, with data.task=classification."
)

_FEW_CLASSES = 20


@dataclass(frozen=True, slots=True)
class TargetEncoder:
    """The answers to all rows: `targets` as a Dataset holds them, from columns of these `names`."""

    task: Task
    targets: Tensor
    class_names: tuple[str, ...]
    names: tuple[str, ...]
    decimal: str = ""
    """The decimal sign of texts, where it is known."""
    missing: frozenset[str] | None = None
    """What stands where an answer is not known; None follows from the names of the classes."""

    def encode(self, frame: Any) -> Numbers:
        """Make numbers of the targets of other rows, float64 (rows, targets); NaN where missing.

        Raises:
            InputError: a class is none of these, or a cell no finite number.
        """
        if not self.class_names:
            return _numbers_of(frame, self.names, self.decimal)
        name = self.names[0]
        labels = told = parse_texts(frame[name])
        if are_numbers(self.class_names, self.decimal):
            labels = told.map(lambda label: whole(label, self.decimal), "ignore")
            labels = told.where(told.isin(self.class_names), labels)
        places = {label: float(place) for place, label in enumerate(self.class_names)}
        found: Numbers = labels.map(places).to_numpy(dtype=np.float64)
        missing = self.missing or missing_among(self.class_names, self.decimal)
        wrong = np.isnan(found) & ~told.fillna("").isin(missing).to_numpy(dtype=bool)
        known = f"the classes {join_names(self.class_names, 6)}"
        hint = "The network knows no others: correct them, or leave these rows out."
        reject_cells(name, told, wrong, known, hint)
        return found.reshape(-1, 1)


class TargetInference:
    """Turns the target columns of raw rows into answers as they come.

    Args:
        head: the first rows, a pandas DataFrame, the targets read as texts where they may be.
        names: of the target columns.
        task: what somebody asked for: "classification" or a Task; None follows from the cells.
        path: of the file, for messages.
        decimal: the decimal sign of texts, "" where it is not known.
    """

    def __init__(
        self,
        head: Any,
        names: Sequence[str],
        task: str | None,
        path: Path,
        decimal: str = "",
    ) -> None:
        self._decimal = decimal
        self._names = tuple(names)
        self._task = task
        self._path = path
        self.classes = len(names) == 1 and task != "regression"
        if len(names) > 1 and task not in (None, "regression"):
            raise InputError(
                f"data.task={task} answers one question; got {len(names)} targets "
                f"({join_names(names)}). Name one, or set data.task=regression to predict numbers."
            )
        if self.classes and task is None:
            self.classes = _look_like_classes(head[names[0]], decimal)
        self._undecided = self.classes and task is None
        self._missing = NOTHING
        if self.classes:
            self._missing = missing_among(coded(head[names[0]], written=True)[1], decimal)
        self._codes: dict[str, int] = {}
        self._met: set[int] = set()  # codes of labels in rows that are kept
        self._parts: list[Numbers] = []
        self._spreads = [Spread(name) for name in names]

    @property
    def text_names(self) -> tuple[str, ...]:
        """Targets to read as texts: classes keep their names."""
        return self._names if self.classes else ()

    def encode(self, frame: Any) -> Numbers:
        """Make numbers of the targets, float32 (rows, targets); NaN where one is missing.

        Raises:
            InputError: a cell is no number where numbers are to be predicted, or is infinite.
        """
        if self.classes:
            return self._coded(frame[self._names[0]])
        return self._measured(_numbers_of(frame, self._names, self._decimal))

    def _measured(self, found: Numbers) -> Numbers:
        """Take note of numbers to predict (rows, targets) before they are float32."""
        for spread, values in zip(self._spreads, found.T, strict=True):
            spread.add(values)
        return found.astype(np.float32)

    def _coded(self, cells: Any) -> Numbers:
        found, uniques = coded(cells, written=True)
        for value in uniques:
            if value not in self._missing:
                self._codes.setdefault(value, len(self._codes))
        known = np.array([self._codes.get(value, np.nan) for value in uniques], np.float32)
        codes: Numbers = known[found].reshape(-1, 1)
        return codes

    def _become_numbers(self) -> None:
        """Take back that the target are classes: there are too many, or they are no whole numbers.

        A file in the order of its target has few of them at first.
        """
        values = self._measured(values_of(list(self._codes), self._decimal).reshape(-1, 1))
        known = [part[:, 0] for part in self._parts]
        self._parts = [values[part.astype(np.int64)] for part in known]
        self._codes, self.classes = {}, False

    @property
    def _labels(self) -> list[str]:
        """The labels of rows that are kept, as they first appear."""
        return [label for label, code in self._codes.items() if code in self._met]

    def _few_whole_numbers(self, rows: int) -> bool:
        """Whether the labels may be those of classes: words, or a few whole numbers."""
        values = values_of(self._labels, self._decimal)
        if not len(values) or np.isnan(values).any():
            return True
        most = min(_MOST_CLASSES_OF_NUMBERS, max(2, rows / 2))
        return not (values % 1).any() and len(np.unique(values)) <= most

    def count(self, found: Numbers) -> None:
        """Keep the answers to rows that are kept, as `encode` made them."""
        self._parts.append(found)
        if not self.classes:
            return
        self._met.update(np.unique(found).astype(np.int64).tolist())
        rows, different = sum(map(len, self._parts)), len(self._met)
        if self._undecided and not self._few_whole_numbers(rows):
            self._become_numbers()
        elif different > _MOST_CLASSES:
            self._refuse_classes(different, rows)

    def finish(self) -> TargetEncoder:
        """Return the answers, with the classes in order.

        Raises:
            InputError: there is one class only, or hardly any comes twice.
        """
        found = np.concatenate(self._parts)
        self._parts.clear()
        if self.classes:
            return self._classes(found[:, 0].astype(np.int64))
        for spread, values in zip(self._spreads, found.T, strict=True):
            constant = bool((values == values[0]).all())
            if constant and spread.is_merged:
                raise InputError(
                    f"the target {spread.name!r} of {self._path} {spread.told}: all "
                    f"{len(values):,} rows become {values[0]:.15g}. {spread.advice} in the file to "
                    "learn from the differences."
                )
            if constant:
                self._refuse_constant(spread.name, f"{values[0]:g}", len(values))
            if spread.is_merged:
                spread.tell("the target")
        return TargetEncoder("regression", torch.from_numpy(found), (), self._names, self._decimal)

    def _classes(self, found: Numbers) -> TargetEncoder:
        names = class_names_of(self._labels, self._decimal)
        order = in_order(set(names))
        places = {name: place for place, name in enumerate(order)}
        self._check_classes(order, len(found))
        recoded = np.zeros(len(self._codes), dtype=np.int64)
        recoded[sorted(self._met)] = [places[name] for name in names]
        codes = torch.from_numpy(recoded[found])
        task = self._task
        if task is None or task == "classification":
            task = classification_task(len(order))
        if self._undecided and len(order) > 2 and are_numbers(order, self._decimal):
            report_warning(
                f"the target {self._names[0]!r} has {len(order)} whole numbers, taken as classes; "
                "data.task=regression predicts the number."
            )
        if task == "binary" and len(order) != 2:
            raise InputError(
                f"data.task=binary tells two classes apart; the target {self._names[0]!r} has "
                f"{len(order)}: {join_names(order, 6)}. Leave data.task out."
            )
        for name in order:
            if name in MISSING_NUMBERS:
                report_warning(
                    f"{name!r} is a class of the target {self._names[0]!r}. If it stands where the "
                    "answer is not known, empty these cells and set data.missing=drop."
                )
        told: Task = "binary" if task == "binary" else "multiclass"
        return TargetEncoder(told, codes, tuple(order), self._names, self._decimal, self._missing)

    def _check_classes(self, order: Sequence[str], rows: int) -> None:
        if len(order) == 1:
            self._refuse_constant(self._names[0], order[0], rows)
        if len(order) > max(rows / 2, min(_FEW_CLASSES, rows - 1)):
            self._refuse_classes(len(order), rows)

    def _refuse_constant(self, name: str, value: str, rows: int) -> None:
        raise InputError(
            f"the target {name!r} is the same in {f'all {rows:,} rows' if rows > 1 else 'the row'} "
            f"of {self._path}, {value}: where there is one answer only, nothing can be learnt. Add "
            "rows with another one, or choose another target (data.target=...)."
        )

    def _refuse_classes(self, different: int, rows: int) -> None:
        shown = join_names(self._labels[:3])
        raise InputError(
            f"the target {self._names[0]!r} has {different:,} different values in {rows:,} rows "
            f"({shown}, ...): classes need several rows each to learn from. Choose another target, "
            "or add rows; numbers are predicted with data.task=regression."
        )


def _numbers_of(frame: Any, names: Sequence[str], decimal: str) -> Numbers:
    """The numbers to predict, float64 (rows, targets); all of them fit into 32 bits."""
    found = np.empty((len(frame), len(names)))
    for place, name in enumerate(names):
        cells = frame[name]
        values, wrong = parse_numbers(cells, decimal)
        reject_cells(name, cells, wrong, "numbers to predict", _HINT)
        with np.errstate(over="ignore"):
            infinite = np.isinf(values.astype(np.float32))
        found[:, place] = values
        reject_cells(name, cells, infinite, "finite numbers to predict", _HINT)
    return found


def _look_like_classes(cells: Any, decimal: str) -> bool:
    """Whether a target is rather told apart than predicted, by its first cells."""
    if is_date(cells) or (not is_typed(cells) and _are_dates(cells)):
        raise InputError(
            f"the target {cells.name!r} holds dates, and a network predicts numbers or classes. "
            "Turn it into a number first, such as the days until then."
        )
    if cells.dtype.name in ("bool", "boolean"):
        return True
    values, wrong = parse_numbers(cells, decimal)
    there = values[np.isfinite(values)]
    if not len(there) or len(there) < _SHARE_OF_NUMBERS * (len(there) + wrong.sum()):
        return True
    return not (there % 1).any() and len(np.unique(there)) <= _MOST_CLASSES_OF_NUMBERS


def _are_dates(cells: Any) -> bool:
    there = parse_texts(cells).dropna()
    there = there[there != ""]
    return len(there) > 0 and bool(parse_numbers(there)[1].all()) and date_format(there) is not None
