"""Run lock: one command at a time trains a run, while any number may read it."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from brainnet.errors import InputError
from brainnet.file_lock import hold, let_go

LOCK = "training.lock"


@contextmanager
def trained_alone(folder: Path) -> Iterator[None]:
    """Keep others from training in a run's folder for as long as this lasts.

    The system gives the folder free when the process ends, however it does: a file that a crash
    left behind holds nobody up.

    Args:
        folder: of the run.

    Raises:
        InputError: another command trains it.
    """
    path = folder / LOCK
    try:
        file = _held(path)
    except BlockingIOError as error:
        raise InputError(
            f"{folder} is being trained by another command{_who(path)}: wait for it, or stop it, "
            "and then go on with the run; or train a new one, without resume."
        ) from error
    except OSError:  # where nothing can be written, the run itself will say so
        yield
        return
    try:
        yield
    finally:
        _give_back(file, path)


def _held(path: Path) -> BinaryIO:
    """The file, open and held, with who holds it.

    Raises:
        BlockingIOError: somebody else holds it.
        OSError: it cannot be opened.
    """
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0)
        try:
            hold(file)
            # Who held it before may have removed it since it was opened: then this is no longer it.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    _sign(file)
                    return file
        except BaseException:
            file.close()
            raise
        file.close()


def _sign(file: BinaryIO) -> None:
    with suppress(OSError):  # of a full disk: it is held all the same
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()} on {platform.node()}\n".encode())


def _give_back(file: BinaryIO, path: Path) -> None:
    with suppress(OSError):
        # While it is held, lest another's be removed; Windows removes nothing that is open.
        path.unlink()
    let_go(file)
    file.close()
    if os.name == "nt":
        with suppress(OSError):
            path.unlink()


def _who(path: Path) -> str:
    try:
        told = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return f" ({told})" if told else ""
