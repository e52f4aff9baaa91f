"""How a command ends: what is said of an error, and with which exit code."""

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

CODES = (DONE, BUG, WRONG_INPUT, TRAINING_FAILED, INTERRUPTED, TERMINATED)

CANNOT_WRITE = {
    errno.ENOSPC: "no space left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than is allowed",
    errno.EROFS: "it is read-only",
}


def report_errors(action: Callable[[], int], *, debug: bool) -> int:
    """Run an action; what it raises is told on stderr and becomes an exit code."""
    try:
        code = action()
        if sys.stdout is not None:
            sys.stdout.flush()  # what cannot be written is told here, not by Python at its end
        return code
    except KeyboardInterrupt:
        print_message("interrupted.")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output left (`brainnet --help | head`): that is no fault of anyone's.
        drop_output()
        return DONE
    except SystemExit as leaving:  # of a parser that showed what it was asked for, or of others
        return left_with(leaving.code)
    except Exception as error:  # the last line of defence: nobody gets a traceback unasked
        if debug:
            traceback.print_exc()
        return told(error)


def told(error: Exception) -> int:
    """Say what went wrong, in a few lines on stderr; returns the exit code it stands for."""
    if isinstance(error, InputError):
        print_message(f"error: {error}")
        return WRONG_INPUT
    if isinstance(error, TrainingFailure):
        print_message(f"the training failed: {error}")
        return TRAINING_FAILED
    if isinstance(error, OSError) and error.errno in CANNOT_WRITE:
        drop_output()
        place = f" {error.filename}" if error.filename else ""
        print_message(f"error: cannot write{place}: {CANNOT_WRITE[error.errno]}.")
        return WRONG_INPUT
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        print_message(f"error: no file or folder can have so long a name: {error.filename}")
        return WRONG_INPUT
    if out_of_memory(error):
        print_message(
            "error: there is not enough memory for that. Set fewer neurons (network.hidden), fewer "
            "rows per step (data.batch_size) or fewer rows (data.rows)."
        )
        return WRONG_INPUT
    first = str(error).strip().splitlines()[:3]
    print_message(
        f"this is a bug of brainnet, or of something it stands on: {type(error).__name__}: "
        + "\n".join(first)
        + "\nRun it again with --debug to see where, and please report it with that."
    )
    return BUG


def out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, which PyTorch tells by its words: to import it here takes long."""
    words = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and ("DefaultCPUAllocator" in words or "out of memory" in words)
    )


def drop_output() -> None:
    """Let what still waits for stdout go nowhere; Python would try again, and fail, at its end."""
    with suppress(OSError, ValueError, AttributeError):  # of a stdout that is no file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def left_with(code: object) -> int:
    """The exit code for a `sys.exit(code)`, which may say anything: None, any number, a text."""
    if code is None:
        return DONE
    if code in CODES and isinstance(code, int):
        return int(code)
    print_message(f"something it stands on left with {code}.")
    return BUG


def print_message(message: str) -> None:
    """Write a line on stderr."""
    sys.stderr.write(f"brainnet: {message}\n")
    sys.stderr.flush()
