"""Table: a data set from the rows of a file."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from brainnet.data.column_types import infer_columns, select_columns
from brainnet.data.dataset import TASKS, Dataset
from brainnet.data.preprocessing import (
    MAX_HEAD_ROWS,
    MISSING_POLICIES,
    MissingPolicy,
    TableEncoder,
    UnknownCategories,
    is_all_finite,
)
from brainnet.data.table_files import CsvFormat, Frame, TableFile, open_table, read_ahead
from brainnet.data.targets import TargetEncoder, finish_targets, infer_target
from brainnet.data.validation import (
    Numbers,
    check_columns_exist,
    check_one_of,
    format_count,
    format_row_number,
    join_names,
    parse_names,
    report_warning,
)
from brainnet.errors import InputError, format_override
from brainnet.learning.loss import Task

TABLE_TASKS = ("classification", *TASKS)
Names = str | int | Sequence[str | int]
_MAX_HEAD_CELLS = 1 << 21
_COPY_ROWS = 65_536


class _RowBuffer:
    """A growing float32 table (rows, columns) that is never in memory twice."""

    def __init__(self, columns: int) -> None:
        self._numbers = np.empty((0, columns), np.float32)
        self.count = 0

    def append(self, rows: Numbers) -> None:
        start, self.count = self.count, self.count + len(rows)
        if self.count > len(self._numbers):
            # Large blocks are moved by the operating system without a copy.
            self._resize(max(self.count, len(self._numbers) * 9 // 8), rows.shape[1])
        self._numbers[start : self.count] = rows

    def convert(self, function: Callable[[Numbers], Numbers], columns: int) -> None:
        """Replace all rows, in place, with what a function returns: rows of this many columns."""
        before = self._numbers.shape[1]
        self._resize(self.count, max(before, columns))
        numbers = self._numbers.reshape(-1)
        starts = range(0, self.count, _COPY_ROWS)
        # From the back if rows grow, so that no row is overwritten before it is converted.
        for start in starts[::-1] if columns > before else starts:
            stop = min(start + _COPY_ROWS, self.count)
            part = numbers[start * before : stop * before].reshape(-1, before).copy()
            numbers[start * columns : stop * columns] = function(part).ravel()
        del numbers
        self._resize(self.count, columns)

    def finish(self) -> Numbers:
        """Return all rows."""
        self._resize(self.count, self._numbers.shape[1])
        return self._numbers

    def _resize(self, rows: int, columns: int) -> None:
        self._numbers.resize((rows, columns), refcheck=False)


def read_labeled_rows(
    file: TableFile,
    encoder: TableEncoder,
    target_encoder: TargetEncoder,
    missing: MissingPolicy,
    rows: int | None = None,
) -> Iterator[tuple[Numbers, Numbers, int]]:
    """Yield chunks of a file, encoded as the rows of the training file were.

    A chunk is inputs float32 (rows, inputs), targets float64 (rows, targets) and the number of
    rows dropped from it.
    """
    names = [*encoder.raw_names, *target_encoder.names]
    check_columns_exist(names, file.columns, where=f"in {file.path} ")
    file = file.with_separators(encoder.decimal, encoder.thousands)
    if file.csv is not None:
        encoder = replace(encoder, decimal=file.csv.decimal)
        target_encoder = replace(target_encoder, decimal=file.csv.decimal)
    text = {*encoder.text_names, *target_encoder.text_names}
    for frame in read_ahead(file.chunks(rows, text=text, only=names)):
        encoded, targets, dropped = _encode_complete_rows(
            frame, encoder, target_encoder, missing, file.path
        )
        yield encoder.expand(encoded), targets, dropped


def _encode_complete_rows(
    frame: Frame,
    encoder: TableEncoder,
    target_encoder: TargetEncoder,
    missing: MissingPolicy,
    path: Path,
    unknown: UnknownCategories | None = "ignore",
) -> tuple[Numbers, Numbers, int]:
    """Return encoded inputs and targets of the rows to use, and the number of dropped rows.

    Rows without a target are never used.
    """
    try:
        encoded = encoder.encode(frame, unknown=unknown, missing_as_nan=missing == "drop")
        targets = target_encoder.encode(frame)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if is_all_finite(encoded) and is_all_finite(targets):
        return encoded, targets, 0
    gaps = np.isnan(np.hstack([targets, encoded]))
    if missing == "error" and gaps.any():
        names = np.array([*target_encoder.names, *encoder.encoded_names])
        _reject_gaps(names, gaps, frame.index, path)
    required = gaps if missing == "drop" else gaps[:, : len(target_encoder.names)]
    kept = ~required.any(axis=1)
    return encoded[kept], targets[kept], int((~kept).sum())


def _reject_gaps(names: Numbers, gaps: Numbers, index: Any, path: Path) -> NoReturn:
    """Raise an InputError that lists the columns with gaps, and rows of the first one."""
    affected = list(dict.fromkeys(names[gaps.any(axis=0)].tolist()))
    rows = np.flatnonzero(gaps[:, names == affected[0]].any(axis=1))
    shown = join_names([format_row_number(index, int(row)) for row in rows[:4]], 3)
    also = f" (and so have {join_names(affected[1:], 5)})" if affected[1:] else ""
    raise InputError(
        f"{path}: the column {affected[0]!r} has empty cells{also}: row {shown}, counted from "
        "1 without the header. data.missing=impute uses the mean of the training rows, except "
        "for a target; data.missing=drop drops such rows; "
        f"{format_override('data.drop', affected[:1])} drops the column."
    )


@dataclass(frozen=True, slots=True)
class Table:
    r"""A table from a file: CSV, TSV and similar, Parquet, .npy or .npz.

    The types of the columns are inferred: numbers, booleans, dates, categories. So is the task:
    texts and a few whole numbers are classes, other numbers are predicted.

    Attributes:
        path: the file.
        target: the column to predict, or several columns of numbers.
        columns: input columns; None takes all but the target.
        drop: columns to leave out.
        missing: what to do with missing numbers: "error", "drop" the row, or "impute" the mean of
            the training rows. Unless rows are dropped, a missing category is a category.
        task: "classification", "regression" or a Dataset's task; None infers it.
        categories: columns that are categories even if they look like numbers.
        header: whether the first line of a text names the columns; None detects it. Without a
            header, columns are called 0, 1, 2, ...
        csv: how a text is written, instead of what is detected: `sep`, `decimal`, `thousands`,
            `encoding`, `na_values`.
        validation_path: a file of validation rows; None splits them off.
        test_path: the same for the test rows.

    Raises:
        InputError: an option is invalid; `load`: the file is, with rows and columns named.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "fruit.csv"
        >>> rows = ["weight,color,fruit", "150,red,apple", "20,red,cherry", "170,green,apple"]
        >>> _ = file.write_text("\n".join(rows))
        >>> fruit = Table(file, "fruit").load(seed=0)
        >>> fruit.task, fruit.class_names, fruit.input_names
        ('binary', ('apple', 'cherry'), ('weight', 'color=green', 'color=red'))
    """

    path: str | Path
    target: Names | None = None
    columns: Names | None = None
    drop: Names = ()
    missing: MissingPolicy = "error"
    task: str | None = None
    categories: Names = ()
    header: bool | None = None
    csv: Mapping[str, Any] | None = None
    validation_path: str | Path | None = None
    test_path: str | Path | None = None

    def __post_init__(self) -> None:
        """Check the options."""
        check_one_of("data.missing", self.missing, MISSING_POLICIES)
        if self.task is not None:
            check_one_of("data.task", self.task, TABLE_TASKS)

    def load(self, seed: int) -> Dataset:
        """Read all files in chunks, each once. The seed has no effect."""
        file = open_table(self.path, header=self.header, csv=self.csv)
        if file.csv is not None and str(file.csv) != str(CsvFormat()):
            report_warning(f"{file.path} is read with {file.csv} (data.csv.* sets other values).")
        rows, (task, labels, target_encoder), encoder, dropped = self._read_training_file(file)
        sizes, targets = [rows.count], [labels]
        for key, path in (("validation", self.validation_path), ("test", self.test_path)):
            before, lost = rows.count, 0
            if path is not None:
                if Path(path).expanduser().resolve() == file.path.resolve():
                    report_warning(f"data.{key}_path is the training file: its rows are known.")
                other = open_table(path, header=self.header, csv=self.csv)
                for part in read_labeled_rows(other, encoder, target_encoder, self.missing):
                    inputs, numbers, count = part
                    rows.append(inputs)
                    numbers = numbers if labels.ndim == 2 else numbers[:, 0]
                    targets.append(torch.from_numpy(numbers).to(labels.dtype))
                    lost += count
                _report_dropped(other.path, lost, rows.count - before)
            dropped += lost
            sizes.append(rows.count - before)
        return Dataset(
            file.path.name.partition(".")[0] or "table",
            task,
            torch.from_numpy(rows.finish()),
            torch.cat(targets),
            encoder.names,
            target_encoder.class_names,
            encoder=encoder,
            target_names=() if target_encoder.class_names else target_encoder.names,
            part_sizes=(sizes[0], sizes[1], sizes[2]) if any(sizes[1:]) else None,
            dropped_rows=dropped,
        )

    def _read_training_file(
        self, file: TableFile
    ) -> tuple[_RowBuffer, tuple[Task, Tensor, TargetEncoder], TableEncoder, int]:
        """Return inputs, targets with their task and encoder, the encoder, and dropped rows."""
        targets, names = self._find_columns(file)
        kept = {*parse_names(self.categories), *(names if self.columns is not None else ())}
        ignored = [""] if self.missing == "drop" else []
        draft, target_draft = self._infer_types(file, targets, names, kept, ignored)
        rows, parts, dropped = _RowBuffer(len(draft.encoded_names)), [], 0
        text = {*draft.text_names, *target_draft.text_names}
        for frame in read_ahead(file.chunks(text=text, only=[*draft.raw_names, *targets])):
            draft = draft.learn_categories(frame, ignored)
            target_draft = target_draft.learn_classes(frame)
            encoded, numbers, count = _encode_complete_rows(
                frame, draft, target_draft, self.missing, file.path, unknown=None
            )
            rows.append(encoded)
            parts.append(numbers.astype(np.float32))
            dropped += count
        _report_dropped(file.path, dropped, rows.count)
        encoder, positions = select_columns(draft, rows.finish(), kept)
        answers = finish_targets(target_draft, np.concatenate(parts), self.task, file.path)
        if encoder != draft or len(encoder.names) != len(draft.encoded_names):
            rows.convert(lambda part: encoder.expand(part[:, positions]), len(encoder.names))
        return rows, answers, encoder, dropped

    def _infer_types(
        self,
        file: TableFile,
        targets: Sequence[str],
        names: Sequence[str],
        kept: Collection[str],
        ignored: Collection[str],
    ) -> tuple[TableEncoder, TargetEncoder]:
        """Infer the types of the columns from the first rows."""
        count = min(MAX_HEAD_ROWS, max(200, _MAX_HEAD_CELLS // len(file.columns)))
        head = next(iter(file.chunks(count, text=file.columns, only=[*names, *targets])), None)
        if head is None:
            raise InputError(f"{file.path} has no rows below the names of its columns.")
        decimal, thousands = ".", None
        if file.csv is not None:
            decimal, thousands = file.csv.decimal, file.csv.thousands
        columns = infer_columns(
            head,
            names,
            categories=parse_names(self.categories),
            kept=kept,
            decimal=decimal,
            ignored=ignored,
        )
        encoder = TableEncoder(columns, self.missing == "impute", decimal, thousands)
        return encoder, infer_target(head, targets, self.task, decimal)

    def _find_columns(self, file: TableFile) -> tuple[list[str], list[str]]:
        """Return the names of the target columns and of the input columns."""
        known = file.columns
        if self.target is None or self.target in ("", []):
            raise InputError(
                f"data.target must be given: which column of {self.path} is to be predicted? Its "
                f"columns are {join_names(known)}."
            )
        given = {
            key: parse_names(getattr(self, key))
            for key in ("target", "columns", "drop", "categories")
        }
        for key, names in given.items():
            check_columns_exist(names, known, where=f"data.{key}: in {file.path} ")
            if len(set(names)) < len(names):
                raise InputError(f"data.{key} names a column twice: {join_names(names)}.")
        targets, dropped = given["target"], given["drop"]
        both = set(targets) & set(given["columns"])
        if both:
            raise InputError(
                f"{both.pop()!r} is named in data.columns and in data.target: a network that reads "
                "the answer learns nothing else. Leave it out of one."
            )
        chosen = list(known) if self.columns is None else given["columns"]
        names = [name for name in chosen if name not in {*targets, *dropped}]
        if not names:
            raise InputError(
                f"no column of {self.path} is left to learn from. It has {join_names(known)}; the "
                f"target is {join_names(targets)}. If it should have more, set data.csv.sep."
            )
        return targets, names


def _report_dropped(path: Path, dropped: int, kept: int) -> None:
    if not kept:
        raise InputError(
            f"every row of {path} has an empty cell, so no row is left. data.missing=impute uses "
            "the mean; data.drop drops a column that is empty."
        )
    if dropped:
        report_warning(f"dropped {format_count(dropped, 'row')} of {path} with an empty cell.")
