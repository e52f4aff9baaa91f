"""The processes of a distributed run: who speaks for them, and what they leave behind."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from torch import distributed


@contextmanager
def left_alone() -> Iterator[None]:
    """Forget what Lightning leaves of a distributed run: its variables and its process group.

    With them the next job would take itself for one of the processes of the last.
    """
    before = dict(os.environ)
    try:
        yield
    finally:
        if distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()
        os.environ.clear()
        os.environ.update(before)


def is_first() -> bool:
    """Whether this process speaks for a distributed run; Lightning numbers the others from 1."""
    return os.environ.get("LOCAL_RANK", "0") == "0"
