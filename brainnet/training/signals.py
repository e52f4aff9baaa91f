"""Interruption: the first Ctrl-C or SIGTERM stops after the current batch, the second at once."""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from lightning.pytorch import Callback, LightningModule, Trainer

WATCHED = (signal.SIGINT, signal.SIGTERM)

# Over several processes, asking the others whether a signal came costs a message.
_BATCHES_BETWEEN_AGREEMENTS = 10


class Interrupted(Exception):
    """Training stopped because a signal asked for it."""


class SignalHandler(Callback):
    """Turns the first signal into a stop after the current batch, and the second into an exit.

    Lightning's own answer to Ctrl-C ignores every further one and exits with 1. Here `signal`
    says afterwards which one came, so that the command line can exit with 128 + its number. Over
    several processes all stop together, a few batches later, whichever of them got the signal. Used
    as a context; what handled the signals before handles them again after it. Outside the main
    thread, where Python allows no handlers, it does nothing.

    Attributes:
        signal: the number of the signal that came, or None.
        on_exit: called just before the second signal ends the process.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._asks = 0
        self.on_exit: Callable[[int], object] | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Start to listen."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in WATCHED}
            self._listen()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Hand the signals back."""
        for number, handler in self._before.items():
            # None: a handler that was not installed from Python and cannot be put back from it.
            if handler is not None:
                signal.signal(number, handler)
        self._before = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals back from Lightning, which has put its own handlers around ours."""
        if self._before:
            self._listen()
        self._stop_if_asked(trainer)

    def needs_step(self, step: int) -> bool:
        """Whether a signal came, and waits for the end of a batch."""
        return self.signal is not None

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        """Stop where a signal came during the batch."""
        self._stop_if_asked(trainer)

    def on_validation_batch_end(self, trainer: Trainer, *_: object, **__: object) -> None:
        """Stop where a signal came during the batch."""
        self._stop_if_asked(trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals back again, and stop where one came since training ended."""
        if self._before:
            self._listen()
        self._stop_if_asked(trainer)

    def on_test_batch_end(self, trainer: Trainer, *_: object, **__: object) -> None:
        """Stop where a signal came during the batch."""
        self._stop_if_asked(trainer)

    def _listen(self) -> None:
        for number in WATCHED:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal = number
            return
        if self.on_exit is not None:
            self.on_exit(number)
        os._exit(128 + number)

    def _stop_if_asked(self, trainer: Trainer) -> None:
        asked = self.signal is not None
        if trainer.world_size > 1:
            # All stop at the same batch: one that stopped alone would leave the others waiting.
            self._asks += 1
            if self._asks % _BATCHES_BETWEEN_AGREEMENTS:
                return
            asked = trainer.strategy.reduce_boolean_decision(asked, all=False)
        if asked:
            raise Interrupted("a signal asked for it")
