"""Garbage: what was there before a training is not searched through again at its steps."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def settled() -> Iterator[None]:
    """Leave all objects that there are out of the search for garbage, until the end.

    The libraries hold some hundred thousand that live as long as the program. Python goes through
    them now and then while a training makes new ones, which takes as long as every thirtieth step
    of a small network. Where somebody has frozen objects already, it is his to say.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.collect()  # or garbage would stay until the end, with whatever memory it holds
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
