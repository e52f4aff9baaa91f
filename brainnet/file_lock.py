"""File lock: a file is held by one process at a time, and given back by the system when that ends.

Where a file system knows no locks, nobody is kept out.
"""

import errno
import sys
from contextlib import suppress
from typing import IO, Any

if sys.platform == "win32":
    import msvcrt

    FAR = 2**31 - 2  # a byte far beyond the content, which others may read

    def hold(file: IO[Any]) -> None:
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

    def let_go(file: IO[Any]) -> None:
        """Let others hold the file."""
        file.seek(FAR)
        with suppress(OSError):  # it was not held: see above
            msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def hold(file: IO[Any]) -> None:
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

    def let_go(file: IO[Any]) -> None:
        """Let others hold the file."""
        # Said aloud: a forked process that has a copy of the file would keep it otherwise.
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)
