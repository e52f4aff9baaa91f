"""Table: the user's own rows, from a file, made ready to learn from without another word."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from brainnet.data.cells import Numbers
from brainnet.data.column_types import ColumnInference, check_number_format, signs_of, tell_doubt
from brainnet.data.dataset import TASKS, Dataset
from brainnet.data.preprocessing import MISSING, MissingPolicy, TableEncoder, select_complete_rows
from brainnet.data.table_files import (
    Blocks,
    TableFile,
    empty_table,
    head_of,
    open_table,
    read_ahead,
)
from brainnet.data.targets import TargetEncoder, TargetInference
from brainnet.data.validation import (
    check_columns_exist,
    check_one_of,
    join_names,
    report_warning,
    to_names,
)
from brainnet.errors import InputError

_HEAD_ROWS = 10_000


class Reader:
    """Reads a table of which the first rows say what its columns hold.

    Args:
        file: of the rows to learn from.
        inputs: names of the columns that are inputs.
        targets: names of the columns that are answers.
        missing: what becomes of rows where a cell is missing.
        task: what somebody asked for, if anybody did.
        categories: columns that are words, whatever they look like.
        chosen: whether somebody named the inputs.
    """

    def __init__(
        self,
        file: TableFile,
        *,
        inputs: Sequence[str],
        targets: Sequence[str],
        missing: MissingPolicy,
        task: str | None,
        categories: Sequence[str],
        chosen: bool,
    ) -> None:
        self._file, self._missing = file, missing
        self._left_out = 0
        self._targets = tuple(targets)
        names = [*inputs, *targets]
        head = head_of(file, _HEAD_ROWS, names, words=targets)
        if head is None:
            raise InputError(f"{file.path} has no rows below the names of its columns.")
        signs = signs_of(file)
        self._answers = TargetInference(head, targets, task, file.path, signs[0])
        self._survey = ColumnInference(
            head,
            inputs,
            categories=categories,
            chosen=chosen,
            imputes=missing == "impute",
            wordless=missing == "drop",
            signs=signs,
        )
        measured = [c.name for c in self._survey.draft.columns if c.kind == "number"]
        tell_doubt(file, head, [*measured, *(() if self._answers.classes else targets)])

    def dataset(self, validation: TableFile | None, test: TableFile | None) -> Dataset:
        """Return the rows of all files, those to train on first.

        Raises:
            InputError: a cell cannot be read, is missing, or no row or column is left.
        """
        rows = self._read()
        columns, recoding = self._survey.finish()
        answers = self._answers.finish()
        others = [
            None if file is None else _others(file, columns, answers, self._missing)
            for file in (validation, test)
        ]
        parts = [len(rows), *(0 if other is None else len(other[0]) for other in others)]
        targets = [answers.targets, *(other[1] for other in others if other is not None)]
        encoded: list[Iterator[Numbers]] = [map(recoding.apply, rows.take())]
        encoded += [other[0].take() for other in others if other is not None]
        return Dataset(
            self._file.path.name.partition(".")[0] or "table",
            answers.task,
            _expanded(encoded, sum(parts), columns),
            torch.cat(targets),
            columns.names,
            answers.class_names,
            preparation=columns,
            target_names=() if answers.class_names else answers.names,
            parts=(parts[0], parts[1], parts[2]) if any(parts[1:]) else None,
            left_out=self._left_out + sum(other[2] for other in others if other is not None),
        )

    def _read(self) -> Blocks:
        survey, answers = self._survey, self._answers
        blocks = Blocks(survey.width)
        text = {*survey.draft.text_names, *answers.text_names}
        names = [*survey.draft.raw_names, *self._targets]
        for frame in read_ahead(self._file.chunks(text=text, only=names)):
            with _named(self._file):
                found, truths = survey.encode(frame), answers.encode(frame)
            inputs, targets = (found, survey.owners), (truths, self._targets)
            kept = select_complete_rows(
                frame.index, inputs, targets, self._missing, self._file.path
            )
            if not kept.all():
                self._left_out += int((~kept).sum())
                found, truths = found[kept], truths[kept]
            blocks.add(found)
            survey.count(found)
            answers.count(truths)
        _tell(self._left_out, len(blocks), self._file)
        return blocks


def _others(
    file: TableFile, columns: TableEncoder, answers: TargetEncoder, missing: MissingPolicy
) -> tuple[Blocks, Tensor, int]:
    """The rows of another file, with what was learnt of the first: encoded, and their answers.

    The last is how many of them were left out.
    """
    for name in (*columns.raw_names, *answers.names):
        check_columns_exist([name], file.columns, of=f"in {file.path} ")
    columns, file = check_number_format(columns, file)
    answers = replace(answers, decimal=columns.decimal)
    names = [*columns.raw_names, *answers.names]
    text = {*columns.text_names, *(answers.names if answers.class_names else ())}
    owners = [column.name for column in columns.columns for _ in range(column.width)]
    blocks, parts, left_out = Blocks(len(owners)), [], 0
    for frame in read_ahead(file.chunks(text=text, only=names)):
        with _named(file):
            found = columns.encode(frame, wordless=missing == "drop")
            truths = answers.encode(frame)
        kept = select_complete_rows(
            frame.index, (found, owners), (truths, answers.names), missing, file.path
        )
        left_out += int((~kept).sum())
        blocks.add(found[kept])
        parts.append(truths[kept])
    _tell(left_out, len(blocks), file)
    targets = torch.from_numpy(np.concatenate(parts))
    right = targets[:, 0].long() if answers.class_names else targets.float()
    return blocks, right, left_out


@contextmanager
def _named(file: TableFile) -> Iterator[None]:
    """Put the name of the file before what is wrong with its cells."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{file.path}: {error}") from error


def _tell(left_out: int, kept: int, file: TableFile) -> None:
    if not kept:
        raise InputError(
            f"every row of {file.path} has an empty cell, so that none is left to learn from. "
            "data.missing=impute fills in the mean; data.drop leaves out a column that is empty."
        )
    if left_out:
        rows = "1 row" if left_out == 1 else f"{left_out:,} rows"
        report_warning(f"{rows} of {file.path} left out for an empty cell.")


def _expanded(encoded: Iterable[Iterator[Numbers]], rows: int, columns: TableEncoder) -> Tensor:
    """All rows as inputs (rows, inputs); each part is let go of once it is copied."""
    table = empty_table(rows, len(columns.names))
    start = 0
    for parts in encoded:
        for part in parts:
            table[start : start + len(part)] = columns.expand(part)
            start += len(part)
    return torch.from_numpy(table)


ASKED_FOR = ("classification", *TASKS)

Names = str | int | Sequence[str | int]


@dataclass(frozen=True, slots=True)
class Table:
    r"""A table from a file: CSV, TSV and the like, Parquet, .npy or .npz.

    What the columns hold follows from their cells: numbers, yes or no, dates, words. So does what
    is to be learnt: words and a few whole numbers are classes, other numbers are predicted.

    Attributes:
        path: the file.
        target: the column to predict, or several columns of numbers.
        columns: those to learn from; None takes all but the target.
        drop: columns to leave out.
        missing: what becomes of rows where a cell is missing: "refuse" says which, "drop" leaves
            them out, "impute" fills in the mean of the training rows. Unless rows are left out, a
            missing word is a word of its own.
        task: "classification" or "regression", or one of a Dataset's tasks; None follows from the
            target.
        categories: columns that are words even where they look like numbers.
        header: whether the first line of a text names the columns; None recognises it. Without
            names, columns are called 0, 1, 2, ...
        validation_path: a file of rows to validate on; None takes a share of the rows.
        test_path: the same, for the test.

    Raises:
        InputError: an option is wrong; `load`: the file is, with the rows and columns named.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "fruit.csv"
        >>> rows = ["weight,colour,fruit", "150,red,apple", "20,red,cherry", "170,green,apple"]
        >>> _ = file.write_text("\n".join(rows))
        >>> fruit = Table(file, "fruit").load(seed=0)
        >>> fruit.task, fruit.class_names, fruit.input_names
        ('binary', ('apple', 'cherry'), ('weight', 'colour=green', 'colour=red'))
    """

    path: str | Path
    target: Names | None = None
    columns: Names | None = None
    drop: Names = ()
    missing: MissingPolicy = "refuse"
    task: str | None = None
    categories: Names = ()
    header: bool | None = None
    validation_path: str | Path | None = None
    test_path: str | Path | None = None

    def __post_init__(self) -> None:
        """Check the options."""
        check_one_of("data.missing", self.missing, MISSING)
        if self.task is not None:
            check_one_of("data.task", self.task, ASKED_FOR)

    def load(self, seed: int) -> Dataset:
        """Read the rows, whatever the seed, each file once and a part at a time."""
        file = open_table(self.path, header=self.header)
        targets = self._targets(file)
        reader = Reader(
            file,
            inputs=self._inputs(file, targets),
            targets=targets,
            missing=self.missing,
            task=self.task,
            categories=to_names(self.categories),
            chosen=self.columns is not None,
        )
        others = (self.validation_path, self.test_path)
        for key, path in zip(("validation", "test"), others, strict=True):
            if path is not None and Path(path).expanduser().resolve() == file.path.resolve():
                report_warning(
                    f"data.{key}_path is the file that is trained on: all of its rows are known by "
                    "then, and the result says nothing of others. Leave it out, and rows are kept "
                    "aside."
                )
        return reader.dataset(
            *(None if path is None else open_table(path, header=self.header) for path in others)
        )

    def _targets(self, file: TableFile) -> list[str]:
        if self.target is None or self.target in ("", []):
            raise InputError(
                f"data.target must be given: which column of {self.path} is to be predicted? "
                f"There are {join_names(file.columns)}."
            )
        return _there("data.target", to_names(self.target), file)

    def _inputs(self, file: TableFile, targets: Sequence[str]) -> list[str]:
        chosen = list(file.columns)
        if self.columns is not None:
            chosen = _there("data.columns", to_names(self.columns), file)
            if not chosen:
                raise InputError(
                    "data.columns is empty, which leaves no column to learn from. Name some of "
                    f"{join_names(file.columns)}, or leave it out to learn from all but the target."
                )
        dropped = _there("data.drop", to_names(self.drop), file)
        _there("data.categories", to_names(self.categories), file)
        both = [name for name in targets if name in chosen]
        if both and self.columns is not None:
            raise InputError(
                f"{both[0]!r} is named in data.columns and in data.target: a network that reads "
                "the answer learns nothing else. Leave it out of one."
            )
        names = [name for name in chosen if name not in targets and name not in dropped]
        if not names:
            raise InputError(
                f"{self.path} leaves no column to learn from. It has {join_names(file.columns)}, of "
                f"which {join_names([*targets, *dropped])} is taken away. If it should have more, are "
                "its cells separated by commas, semicolons, tabs or bars?"
            )
        return names


def _there(key: str, names: list[str], file: TableFile) -> list[str]:
    check_columns_exist(names, file.columns, of=f"{key}: in {file.path} ")
    if len(set(names)) < len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise InputError(f"{key} names the column {twice!r} twice; once is enough.")
    return names
