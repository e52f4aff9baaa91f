"""Termination: SIGTERM ends a watched program as an exception does, so that nothing is lost."""

import signal
import threading
from types import FrameType
from weakref import WeakSet

_OPEN: WeakSet[object] = WeakSet()


def leave_in_order(watcher: object) -> None:
    """Have SIGTERM raise `SystemExit`, where nobody else has a say in it, while somebody watches.

    Python would otherwise end on the spot: no `with` is left, nothing that waits is written. The
    exit code is the one that a shell shows for the signal, 143.

    Args:
        watcher: who watches, until `hand_back`.
    """
    _OPEN.add(watcher)
    # Only there does Python allow handlers.
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _leave)


def hand_back(watcher: object) -> None:
    """Let SIGTERM be what it was, once nobody watches any more."""
    _OPEN.discard(watcher)
    if _OPEN or threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is _leave:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
