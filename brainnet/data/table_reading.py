"""Table reading: the files of a table, each read once, become one data set."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from brainnet.data.answers import Answers, AnswerSurvey
from brainnet.data.blocks import Blocks, empty_table
from brainnet.data.cells import Numbers
from brainnet.data.columns import Columns
from brainnet.data.dataset import Dataset
from brainnet.data.head import head_of
from brainnet.data.missing import Missing, kept_rows
from brainnet.data.notes import note
from brainnet.data.row_file import RowFile, ahead
from brainnet.data.signs import agreed, signs_of, tell_doubt
from brainnet.data.survey import Survey
from brainnet.data.wording import check_present
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
        file: RowFile,
        *,
        inputs: Sequence[str],
        targets: Sequence[str],
        missing: Missing,
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
        self._answers = AnswerSurvey(head, targets, task, file.path, signs[0])
        self._survey = Survey(
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

    def dataset(self, validation: RowFile | None, test: RowFile | None) -> Dataset:
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
        for frame in ahead(self._file.chunks(text=text, only=names)):
            with _named(self._file):
                found, truths = survey.encode(frame), answers.encode(frame)
            inputs, targets = (found, survey.owners), (truths, self._targets)
            kept = kept_rows(frame.index, inputs, targets, self._missing, self._file.path)
            if not kept.all():
                self._left_out += int((~kept).sum())
                found, truths = found[kept], truths[kept]
            blocks.add(found)
            survey.count(found)
            answers.count(truths)
        _tell(self._left_out, len(blocks), self._file)
        return blocks


def _others(
    file: RowFile, columns: Columns, answers: Answers, missing: Missing
) -> tuple[Blocks, Tensor, int]:
    """The rows of another file, with what was learnt of the first: encoded, and their answers.

    The last is how many of them were left out.
    """
    for name in (*columns.raw_names, *answers.names):
        check_present([name], file.columns, of=f"in {file.path} ")
    columns, file = agreed(columns, file)
    answers = replace(answers, decimal=columns.decimal)
    names = [*columns.raw_names, *answers.names]
    text = {*columns.text_names, *(answers.names if answers.class_names else ())}
    owners = [column.name for column in columns.columns for _ in range(column.width)]
    blocks, parts, left_out = Blocks(len(owners)), [], 0
    for frame in ahead(file.chunks(text=text, only=names)):
        with _named(file):
            found = columns.encode(frame, wordless=missing == "drop")
            truths = answers.encode(frame)
        kept = kept_rows(frame.index, (found, owners), (truths, answers.names), missing, file.path)
        left_out += int((~kept).sum())
        blocks.add(found[kept])
        parts.append(truths[kept])
    _tell(left_out, len(blocks), file)
    targets = torch.from_numpy(np.concatenate(parts))
    right = targets[:, 0].long() if answers.class_names else targets.float()
    return blocks, right, left_out


@contextmanager
def _named(file: RowFile) -> Iterator[None]:
    """Put the name of the file before what is wrong with its cells."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{file.path}: {error}") from error


def _tell(left_out: int, kept: int, file: RowFile) -> None:
    if not kept:
        raise InputError(
            f"every row of {file.path} has an empty cell, so that none is left to learn from. "
            "data.missing=impute fills in the mean; data.drop leaves out a column that is empty."
        )
    if left_out:
        rows = "1 row" if left_out == 1 else f"{left_out:,} rows"
        note(f"{rows} of {file.path} left out for an empty cell.")


def _expanded(encoded: Iterable[Iterator[Numbers]], rows: int, columns: Columns) -> Tensor:
    """All rows as inputs (rows, inputs); each part is let go of once it is copied."""
    table = empty_table(rows, len(columns.names))
    start = 0
    for parts in encoded:
        for part in parts:
            table[start : start + len(part)] = columns.expand(part)
            start += len(part)
    return torch.from_numpy(table)
