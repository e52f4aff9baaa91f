"""Session: the observed steps of one training."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_log = logging.getLogger(__name__)


def log_warning(message: str) -> None:
    """Write a message to the log; not a Python warning, which would raise if it is an error."""
    _log.warning(message)


@contextmanager
def stop_on_error(
    subject: str, stop: Callable[[], None], report: Callable[[str], None] = log_warning
) -> Iterator[None]:
    """Report an exception and call `stop`, instead of ending the training."""
    try:
        yield
    except Exception as error:
        report(f"{subject} stopped: {type(error).__name__}: {error}")
        _log.debug("%s stopped", subject, exc_info=True)
        stop()
