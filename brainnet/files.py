"""Files: atomic writes, unique folders and locks."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from typing import IO, Any, BinaryIO

from filelock import lock_descriptor, unlock_descriptor

from brainnet.errors import InputError


def iterate_numbered(path: Path) -> Iterator[Path]:
    """Yield the path, then the same path with `_2`, `_3` and so on."""
    return chain([path], (path.with_name(f"{path.name}_{number}") for number in count(2)))


def create_unique_folder(path: Path, inner: str) -> tuple[Path, list[Path]]:
    """Create a folder that contains the folder `inner`, with a number if the name is in use.

    An existing empty folder is used. Of several processes that run this at the same time, only one
    gets each folder, because only one can create the inner folder. Also returns the folders that
    were created for it, deepest first.
    """
    for candidate in iterate_numbered(path):
        # Listed before the folder exists, to be removed if the run does not start.
        created = list_missing_parents(candidate)
        candidate.mkdir(parents=True, exist_ok=True)
        # An empty folder was created for this purpose by the user.
        if not any(candidate.iterdir()):
            with suppress(FileExistsError):
                (candidate / inner).mkdir(parents=True)
                return candidate, created
    raise AssertionError("unreachable: iterate_numbered does not end")


def list_missing_parents(folder: Path) -> list[Path]:
    """List the folders that creating a folder would create, deepest first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def clear_folder(folder: Path) -> None:
    """Remove the content of a folder, if it exists; links are removed, not followed."""
    for path in list(folder.iterdir()) if folder.is_dir() else []:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def remove_empty_folders(folders: Iterable[Path]) -> None:
    """Remove those of the folders that are empty, in this order."""
    for folder in folders:
        # Folders that are not empty or no longer exist raise OSError.
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def remove_if_unused(folder: Path) -> Iterator[None]:
    """Create a folder with its parents; at the end, remove those that are still empty."""
    created = list_missing_parents(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write to {folder}: {error.strerror}. Choose a writable folder with "
            "paths.runs=FOLDER or hydra.run.dir=FOLDER."
        ) from error
    try:
        yield
    finally:
        remove_empty_folders(created)


def acquire_lock(file: IO[Any]) -> None:
    """Lock an open file against other processes and other open handles, without waiting.

    The operating system releases the lock when the process ends.

    Raises:
        BlockingIOError: the file is locked by another handle, here or in another process.
    """
    # Errors mean that the file system has no locks: work without one, rather than not at all.
    is_locked = True
    with suppress(OSError):
        is_locked = lock_descriptor(file.fileno(), blocking=False)
    if not is_locked:
        raise BlockingIOError(errno.EAGAIN, "locked by another process")


def release_lock(file: IO[Any]) -> None:
    """Release the lock of a file.

    Closing the file is not enough: a forked process with a copy of the handle would keep the lock.
    """
    with suppress(OSError):
        unlock_descriptor(file.fileno())


@contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that replaces `path` when it is complete; errors leave no file.

    The target of a link is replaced. Pipes and devices are written directly.
    """
    # Such as /dev/stdout, which cannot be replaced.
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    path = path.resolve()
    # Not a file of tempfile, which other users could not read.
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as file:
            yield file
            # Otherwise a crash of the machine could leave an empty file under the final name.
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file so that readers see the old or the new content, even after a crash."""
    with open_atomic(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
