"""Table: the user's own rows, from a file, made ready to learn from without another word."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from brainnet.data.checks import check_one_of
from brainnet.data.dataset import TASKS, Dataset
from brainnet.data.missing import MISSING, Missing
from brainnet.data.notes import note
from brainnet.data.reading import open_rows
from brainnet.data.row_file import RowFile
from brainnet.data.table_reading import Reader
from brainnet.data.wording import as_names, check_present, listed
from brainnet.errors import InputError

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
    missing: Missing = "refuse"
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
        file = open_rows(self.path, header=self.header)
        targets = self._targets(file)
        reader = Reader(
            file,
            inputs=self._inputs(file, targets),
            targets=targets,
            missing=self.missing,
            task=self.task,
            categories=as_names(self.categories),
            chosen=self.columns is not None,
        )
        others = (self.validation_path, self.test_path)
        for key, path in zip(("validation", "test"), others, strict=True):
            if path is not None and Path(path).expanduser().resolve() == file.path.resolve():
                note(
                    f"data.{key}_path is the file that is trained on: all of its rows are known by "
                    "then, and the result says nothing of others. Leave it out, and rows are kept "
                    "aside."
                )
        return reader.dataset(
            *(None if path is None else open_rows(path, header=self.header) for path in others)
        )

    def _targets(self, file: RowFile) -> list[str]:
        if self.target is None or self.target in ("", []):
            raise InputError(
                f"data.target must be given: which column of {self.path} is to be predicted? "
                f"There are {listed(file.columns)}."
            )
        return _there("data.target", as_names(self.target), file)

    def _inputs(self, file: RowFile, targets: Sequence[str]) -> list[str]:
        chosen = list(file.columns)
        if self.columns is not None:
            chosen = _there("data.columns", as_names(self.columns), file)
            if not chosen:
                raise InputError(
                    "data.columns is empty, which leaves no column to learn from. Name some of "
                    f"{listed(file.columns)}, or leave it out to learn from all but the target."
                )
        dropped = _there("data.drop", as_names(self.drop), file)
        _there("data.categories", as_names(self.categories), file)
        both = [name for name in targets if name in chosen]
        if both and self.columns is not None:
            raise InputError(
                f"{both[0]!r} is named in data.columns and in data.target: a network that reads "
                "the answer learns nothing else. Leave it out of one."
            )
        names = [name for name in chosen if name not in targets and name not in dropped]
        if not names:
            raise InputError(
                f"{self.path} leaves no column to learn from. It has {listed(file.columns)}, of "
                f"which {listed([*targets, *dropped])} is taken away. If it should have more, are "
                "its cells separated by commas, semicolons, tabs or bars?"
            )
        return names


def _there(key: str, names: list[str], file: RowFile) -> list[str]:
    check_present(names, file.columns, of=f"{key}: in {file.path} ")
    if len(set(names)) < len(names):
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise InputError(f"{key} names the column {twice!r} twice; once is enough.")
    return names
