"""Notes: what somebody should know of their data, though nothing is wrong with it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

log = logging.getLogger("brainnet")

_told_before = ContextVar("_told_before", default=False)


def note(message: str) -> None:
    """Tell it as a warning of the log, which without any settings goes to stderr as it is."""
    if not _told_before.get():
        log.warning("brainnet: note: %s", message)


@contextmanager
def told_before() -> Iterator[None]:
    """Say nothing of data that are read again: the run that learnt from them said it all."""
    before = _told_before.set(True)
    try:
        yield
    finally:
        _told_before.reset(before)
