"""Table: a data set from the rows of a file."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from brainnet.data.column_types import ColumnInference
from brainnet.data.dataset import TASKS, Dataset
from brainnet.data.preprocessing import (
    MAX_HEAD_ROWS,
    MISSING_POLICIES,
    MissingPolicy,
    TableEncoder,
    is_all_finite,
)
from brainnet.data.table_files import CsvFormat, Frame, TableFile, open_table, read_ahead
from brainnet.data.targets import TargetEncoder, TargetInference
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

TABLE_TASKS = ("classification", *TASKS)
Names = str | int | Sequence[str | int]
_MAX_HEAD_CELLS = 1 << 21
_COPY_ROWS = 65_536


class _RowBuffer:
    """A growing float32 table (rows, columns) that is never in memory twice."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._numbers = np.empty(0, np.float32)
        self.rows = 0

    def append(self, rows: Numbers) -> None:
        stop = (self.rows + len(rows)) * self._columns
        if stop > len(self._numbers):
            # Large blocks are moved by the operating system without a copy.
            self._numbers.resize(max(stop, len(self._numbers) * 9 // 8), refcheck=False)
        self._numbers[self.rows * self._columns : stop] = rows.ravel()
        self.rows += len(rows)

    def convert(self, function: Callable[[Numbers], Numbers], columns: int) -> None:
        """Replace all rows, in place, with what a function returns: rows of this many columns."""
        before, self._columns = self._columns, columns
        starts = range(0, self.rows, _COPY_ROWS)
        if columns > before:
            # From the back, so that no row is overwritten before it is converted.
            self._numbers.resize(self.rows * columns, refcheck=False)
            starts = starts[::-1]
        for start in starts:
            stop = min(start + _COPY_ROWS, self.rows)
            part = self._numbers[start * before : stop * before].reshape(-1, before).copy()
            self._numbers[start * columns : stop * columns] = function(part).ravel()

    def finish(self) -> Numbers:
        """Return all rows, (rows, columns)."""
        self._numbers.resize(self.rows * self._columns, refcheck=False)
        return self._numbers.reshape(self.rows, self._columns)


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
    text = {*encoder.text_names, *(target_encoder.names if target_encoder.class_names else ())}
    chunks = _encode_complete_rows(
        file.chunks(rows, text=text, only=names),
        partial(encoder.encode, missing_as_nan=missing == "drop"),
        target_encoder.encode,
        (target_encoder.names, encoder.encoded_names),
        missing,
        file.path,
    )
    for encoded, targets, dropped in chunks:
        yield encoder.expand(encoded), targets, dropped


def _encode_complete_rows(
    frames: Iterator[Frame],
    encode: Callable[[Frame], Numbers],
    encode_targets: Callable[[Frame], Numbers],
    names: tuple[Sequence[str], Sequence[str]],
    missing: MissingPolicy,
    path: Path,
) -> Iterator[tuple[Numbers, Numbers, int]]:
    """Yield inputs and targets of the rows to use, and the number of dropped rows.

    Rows without a target are never used. `names` are the columns of the targets and of the inputs.
    """
    for frame in read_ahead(frames):
        try:
            encoded, targets = encode(frame), encode_targets(frame)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        if is_all_finite(encoded) and is_all_finite(targets):
            yield encoded, targets, 0
            continue
        gaps = np.isnan(np.hstack([targets, encoded]))
        if missing == "error" and gaps.any():
            _reject_gaps(np.array([*names[0], *names[1]]), gaps, frame.index, path)
        required = gaps if missing == "drop" else gaps[:, : len(names[0])]
        kept = ~required.any(axis=1)
        yield encoded[kept], targets[kept], int((~kept).sum())


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
        columns, answers = self._infer(file)
        buffer = _RowBuffer(len(columns.draft.encoded_names))
        dropped = self._read(file, columns, answers, buffer)
        encoder, positions = columns.finish()
        task, labels, target_encoder = answers.finish()
        if encoder.names != columns.draft.names:
            buffer.convert(lambda rows: encoder.expand(rows[:, positions]), len(encoder.names))
        sizes, targets = [buffer.rows], [labels]
        for key, path in (("validation", self.validation_path), ("test", self.test_path)):
            before, lost = buffer.rows, 0
            if path is not None:
                if Path(path).expanduser().resolve() == file.path.resolve():
                    report_warning(f"data.{key}_path is the training file: its rows are known.")
                other = open_table(path, header=self.header, csv=self.csv)
                for rows in read_labeled_rows(other, encoder, target_encoder, self.missing):
                    inputs, numbers, count = rows
                    buffer.append(inputs)
                    numbers = numbers if labels.ndim == 2 else numbers[:, 0]
                    targets.append(torch.from_numpy(numbers).to(labels.dtype))
                    lost += count
                _report_dropped(other.path, lost, buffer.rows - before)
            dropped += lost
            sizes.append(buffer.rows - before)
        return Dataset(
            file.path.name.partition(".")[0] or "table",
            task,
            torch.from_numpy(buffer.finish()),
            torch.cat(targets),
            encoder.names,
            target_encoder.class_names,
            encoder=encoder,
            target_names=() if target_encoder.class_names else target_encoder.names,
            part_sizes=(sizes[0], sizes[1], sizes[2]) if any(sizes[1:]) else None,
            dropped_rows=dropped,
        )

    def _infer(self, file: TableFile) -> tuple[ColumnInference, TargetInference]:
        """Infer the types of the columns from the first rows."""
        targets, names = self._find_columns(file)
        rows = min(MAX_HEAD_ROWS, max(200, _MAX_HEAD_CELLS // len(file.columns)))
        head = next(iter(file.chunks(rows, text=file.columns, only=[*names, *targets])), None)
        if head is None:
            raise InputError(f"{file.path} has no rows below the names of its columns.")
        decimal = "." if file.csv is None else file.csv.decimal
        columns = ColumnInference(
            head,
            names,
            categories=parse_names(self.categories),
            keeps_all=self.columns is not None,
            imputes=self.missing == "impute",
            missing_as_nan=self.missing == "drop",
            decimal=decimal,
            thousands=None if file.csv is None else file.csv.thousands,
        )
        return columns, TargetInference(head, targets, self.task, file.path, decimal)

    def _read(
        self,
        file: TableFile,
        columns: ColumnInference,
        answers: TargetInference,
        buffer: _RowBuffer,
    ) -> int:
        """Append the encoded rows of the training file; return how many were dropped."""
        encoder, names = columns.draft, answers.names
        text = {*encoder.text_names, *answers.text_names}
        chunks = _encode_complete_rows(
            file.chunks(text=text, only=[*encoder.raw_names, *names]),
            columns.encode,
            answers.encode,
            (names, encoder.encoded_names),
            self.missing,
            file.path,
        )
        dropped = 0
        for encoded, targets, count in chunks:
            buffer.append(encoded)
            columns.update(encoded)
            answers.update(targets)
            dropped += count
        _report_dropped(file.path, dropped, buffer.rows)
        return dropped

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
