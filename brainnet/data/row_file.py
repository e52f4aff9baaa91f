"""Row file: a file of rows that is read a part at a time, in its own order."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from brainnet.errors import InputError

_CHUNK_ROWS = 65_536
_CHUNK_CELLS = 1 << 19
# Of a wide table more, or what is done once for a part takes the most of the time.
_LEAST_ROWS = 1024
_MOST_CELLS = 1 << 22

Frame = Any  # a pandas DataFrame


class RowFile(Protocol):
    """A file of rows with named columns, never in memory as a whole."""

    @property
    def path(self) -> Path:
        """Where the file is."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """What the columns are called, in the order of the file."""
        ...

    def chunks(
        self,
        rows: int | None = None,
        *,
        text: Collection[str] = (),
        only: Collection[str] | None = None,
    ) -> Iterator[Frame]:
        """Yield pandas DataFrames of at most so many rows, indexed by the rows of the file from 0.

        Args:
            rows: of a part; None takes as many as are quick to read, and fit into little memory.
            text: columns to read as texts, where the file itself does not say what they are.
            only: columns to read; all of them by default.

        Raises:
            InputError: a row cannot be read.
        """
        ...


def rows_at_once(rows: int | None, columns: int) -> int:
    """How many rows a part has: those asked for, or fewer the wider they are."""
    width = max(1, columns)
    fitting = max(_CHUNK_CELLS // width, min(_LEAST_ROWS, _MOST_CELLS // width))
    return rows or max(1, min(_CHUNK_ROWS, fitting))


def check_unique(path: Path, names: Sequence[str]) -> None:
    """Raise an InputError where two columns have one name."""
    met: set[str] = set()
    for place, name in enumerate(names):
        if name in met:
            raise InputError(
                f"{path} has two columns called {name!r}, the {ordinal(names.index(name) + 1)} and "
                f"the {ordinal(place + 1)}: give each column a name of its own."
            )
        met.add(name)


def chosen_of(columns: Sequence[str], only: Collection[str] | None) -> list[str]:
    """The columns of a file that are to be read, in its order."""
    wanted = set(columns if only is None else only)
    return [name for name in columns if name in wanted]


def ordinal(number: int) -> str:
    """A place as people say it.

    Example:
        >>> [ordinal(place) for place in (1, 2, 3, 4, 11, 22)]
        ['1st', '2nd', '3rd', '4th', '11th', '22nd']
    """
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10)
    return f"{number}{ending or 'th'}"


def ahead(parts: Iterable[Frame]) -> Iterator[Frame]:
    """Yield the parts, each read while the one before it is worked on: pandas lets threads go on.

    Example:
        >>> list(ahead(iter([1, 2, 3])))
        [1, 2, 3]
    """
    source, end = iter(parts), object()
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, source, end)
        while (part := coming.result()) is not end:
            coming = reader.submit(next, source, end)
            yield part
