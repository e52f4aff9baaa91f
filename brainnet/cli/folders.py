"""The folder of a run, made for it and taken back when the run never began."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from brainnet.errors import InputError


@contextmanager
def left_untouched(folder: Path) -> Iterator[None]:
    """Make a folder; whatever is still empty of it at the end is removed again.

    Raises:
        InputError: when the folder cannot be made.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
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
        for path in missing:
            remove_if_empty(path)


def remove_if_empty(folder: Path) -> None:
    """Remove a folder with nothing in it."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def free(folder: Path) -> Path:
    """The folder, or the same with `_2`, `_3` ... where it is there already."""
    candidate, number = folder, 2
    while candidate.exists():
        candidate = folder.with_name(f"{folder.name}_{number}")
        number += 1
    return candidate
