"""Files: atomic writes, unique folders and locks.

Where a file system knows no locks, nobody is kept out.
"""

import errno
import os
import secrets
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from typing import IO, Any, BinaryIO

from brainnet.errors import InputError


def iterate_numbered(path: Path) -> Iterator[Path]:
    """The path, then the same with `_2`, `_3` and so on.

    Example:
        >>> names = numbered(Path("runs/digits"))
        >>> next(names).name, next(names).name
        ('digits', 'digits_2')
    """
    return chain([path], (path.with_name(f"{path.name}_{number}") for number in count(2)))


def create_unique_folder(path: Path, inner: str) -> tuple[Path, list[Path]]:
    """Make a folder with a folder in it, numbered where the name is taken.

    An empty folder is not taken: whoever made it made it for this. The inner one is the claim, as
    only one of several processes at once can make it.

    Returns:
        The folder, and what was made for it, deepest first.

    Raises:
        OSError: it cannot be made.
    """
    for candidate in iterate_numbered(path):
        made = list_missing_parents(candidate)
        candidate.mkdir(parents=True, exist_ok=True)
        if any(candidate.iterdir()):
            continue
        try:
            (candidate / inner).mkdir(parents=True)
        except FileExistsError:
            continue
        return candidate, made
    raise AssertionError("unreachable: the numbers do not end")


def list_missing_parents(folder: Path) -> list[Path]:
    """What making a folder would make: itself and its parents, deepest first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def clear_folder(folder: Path) -> None:
    """Remove whatever is in a folder, where it is there."""
    for path in list(folder.iterdir()) if folder.is_dir() else []:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def remove_empty_folders(folders: Iterable[Path]) -> None:
    """Remove those of the folders that have nothing in them, in this order."""
    for folder in folders:
        with suppress(OSError):  # it is not empty, or gone
            folder.rmdir()


@contextmanager
def remove_if_unused(folder: Path) -> Iterator[None]:
    """Make a folder; whatever is still empty of it at the end is removed again.

    Raises:
        InputError: when the folder cannot be made.
    """
    made = list_missing_parents(folder)
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
        remove_empty_folders(made)


if sys.platform == "win32":
    import msvcrt

    FAR = 2**31 - 2  # a byte far beyond the content, which others may read

    def acquire_lock(file: IO[Any]) -> None:
        """Keep others out until the file is let go of, or the process ends.

        Raises:
            BlockingIOError: somebody else holds it, here or in another process.
        """
        file.seek(FAR)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EDEADLK):
                raise BlockingIOError(errno.EAGAIN, "held by somebody else") from error

    def release_lock(file: IO[Any]) -> None:
        """Let others hold the file."""
        file.seek(FAR)
        with suppress(OSError):  # it was not held: see above
            msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def acquire_lock(file: IO[Any]) -> None:
        """Keep others out until the file is let go of, or the process ends.

        Raises:
            BlockingIOError: somebody else holds it, here or in another process.
        """
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            pass

    def release_lock(file: IO[Any]) -> None:
        """Let others hold the file."""
        # Said aloud: a forked process that has a copy of the file would keep it otherwise.
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears under its name once it is complete, and of which else nothing stays.

    Of a link, the file that it leads to is replaced; a pipe or a device is written to as it is.

    Raises:
        OSError: it cannot be written there.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    path = path.resolve()
    # Not by tempfile, whose files nobody else may read; of its own name all the same.
    beside = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    try:
        with beside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a half."""
    with open_atomic(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
