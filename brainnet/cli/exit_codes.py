"""Exit codes of the command, and the message for each kind of error."""

import errno
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress

from brainnet.errors import InputError, TrainingFailure

DONE = 0
BUG = 1
WRONG_INPUT = 2
TRAINING_FAILED = 3
INTERRUPTED = 130
TERMINATED = 143
_CODES = (DONE, BUG, WRONG_INPUT, TRAINING_FAILED, INTERRUPTED, TERMINATED)
# The user can correct these: a full disk, a quota, a size limit, a read-only file system, a name.
_FILE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.ENAMETOOLONG)


def report_errors(action: Callable[[], int], *, debug: bool) -> int:
    """Run an action; an exception is reported on stderr and becomes an exit code."""
    try:
        code = action()
        if sys.stdout is not None:
            sys.stdout.flush()  # a write error is reported here, not by Python at exit
        return code
    except KeyboardInterrupt:
        print_message("interrupted.")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of the output has closed it (`brainnet --help | head`): not an error.
        _discard_output()
        return DONE
    except SystemExit as exit_request:  # raised by argparse after --help, or by other libraries
        if (exit_request.code or DONE) in _CODES:
            return int(exit_request.code or DONE)
        print_message(f"a library that brainnet uses exited with {exit_request.code}.")
        return BUG
    except Exception as error:  # a traceback is shown only with --debug
        if debug:
            traceback.print_exc()
        return _report_error(error)


def _report_error(error: Exception) -> int:
    """Write a message for an error; returns its exit code."""
    if isinstance(error, InputError):
        print_message(f"error: {error}")
        return WRONG_INPUT
    if isinstance(error, TrainingFailure):
        print_message(f"the training failed: {error}")
        return TRAINING_FAILED
    if isinstance(error, OSError) and error.errno in _FILE_ERRORS:
        _discard_output()
        path = f" {error.filename}" if error.filename else ""
        print_message(f"error: cannot write{path}: {str(error.strerror).lower()}.")
        return WRONG_INPUT
    # PyTorch's errors are recognized by their text: importing torch here would slow down --help.
    texts = ("DefaultCPUAllocator", "out of memory") if isinstance(error, RuntimeError) else ()
    if isinstance(error, MemoryError) or any(text in str(error) for text in texts):
        print_message(
            "error: not enough memory. Set fewer neurons (network.hidden), fewer rows per step "
            "(data.batch_size) or fewer rows (data.rows)."
        )
        return WRONG_INPUT
    lines = str(error).strip().splitlines()[:3]
    print_message(
        f"this is a bug of brainnet, or of a library it uses: {type(error).__name__}: "
        + "\n".join(lines)
        + "\nRun it again with --debug for a traceback, and please report it with that."
    )
    return BUG


def _discard_output() -> None:
    """Redirect stdout to nothing; otherwise Python tries to write the buffer again at exit."""
    with suppress(OSError, ValueError, AttributeError):  # stdout may not be a file
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def print_message(message: str) -> None:
    """Write a line on stderr."""
    sys.stderr.write(f"brainnet: {message}\n")
    sys.stderr.flush()
