"""Fresh folder: made for a run, numbered where it is taken, taken back where nothing began."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path

from brainnet.errors import InputError


def numbered(path: Path) -> Iterator[Path]:
    """The path, then the same with `_2`, `_3` and so on.

    Example:
        >>> names = numbered(Path("runs/digits"))
        >>> next(names).name, next(names).name
        ('digits', 'digits_2')
    """
    return chain([path], (path.with_name(f"{path.name}_{number}") for number in count(2)))


def make_first_free(path: Path, inner: str) -> tuple[Path, list[Path]]:
    """Make a folder with a folder in it, numbered where the name is taken.

    An empty folder is not taken: whoever made it made it for this. The inner one is the claim, as
    only one of several processes at once can make it.

    Returns:
        The folder, and what was made for it, deepest first.

    Raises:
        OSError: it cannot be made.
    """
    for candidate in numbered(path):
        made = missing(candidate)
        candidate.mkdir(parents=True, exist_ok=True)
        if any(candidate.iterdir()):
            continue
        try:
            (candidate / inner).mkdir(parents=True)
        except FileExistsError:
            continue
        return candidate, made
    raise AssertionError("unreachable: the numbers do not end")


def missing(folder: Path) -> list[Path]:
    """What making a folder would make: itself and its parents, deepest first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def clear(folder: Path) -> None:
    """Remove whatever is in a folder, where it is there."""
    for path in list(folder.iterdir()) if folder.is_dir() else []:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove those of the folders that have nothing in them, in this order."""
    for folder in folders:
        with suppress(OSError):  # it is not empty, or gone
            folder.rmdir()


@contextmanager
def left_untouched(folder: Path) -> Iterator[None]:
    """Make a folder; whatever is still empty of it at the end is removed again.

    Raises:
        InputError: when the folder cannot be made.
    """
    made = missing(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write to {folder}: {error.strerror}. Set paths.runs=FOLDER to a folder that "
            "can be written."
        ) from error
    try:
        yield
    finally:
        remove_empty(made)
