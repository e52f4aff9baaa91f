"""Stopwatch: how long the parts of a step take, without the watching."""

import sys
from time import perf_counter

import torch
from torch import nn


class Stopwatch:
    """Seconds of thinking, tracing the blame and stepping, less those that were spent aside.

    Attributes:
        seconds: of the outermost forward calls; None before the first has ended.
        backward: from the end of the forward call to the optimizer's turn; None where there were
            several, or none.
        update: of the optimizer's turn; None before it has ended.
        aside: seconds to leave out; whoever spends them adds them here.
    """

    def __init__(self) -> None:
        self.seconds: float | None = None
        self.backward: float | None = None
        self.update: float | None = None
        self.aside = 0.0
        self._calls = 0
        self._ended = 0.0
        self._turn: float | None = None
        self._depth = 0
        self._started = 0.0

    def start(self, _module: nn.Module, _signals: object) -> None:
        """A forward call begins: a forward pre-hook."""
        if not torch.is_grad_enabled():
            return  # whoever judges in between is not learning
        if self._depth == 0:
            self._started = perf_counter() - self.aside
        self._depth += 1

    def stop(self, _module: nn.Module, _signals: object, output: object) -> None:
        """A forward call ends, or breaks off: a forward hook that is always called."""
        if not torch.is_grad_enabled() or not self._depth:
            return
        self._depth -= 1
        # PyTorch has no output to hand over then, while it handles what was raised.
        broken = output is None and sys.exc_info()[0] is not None
        if self._depth == 0 and not broken:
            self._calls += 1
            self._ended = perf_counter() - self.aside
            self.seconds = (self.seconds or 0.0) + self._ended - self._started

    def learnt(self) -> None:
        """The gradients are there."""
        if self._calls == 1 and self.backward is None:
            self.backward = perf_counter() - self.aside - self._ended

    def stepping(self) -> None:
        """The optimizer's turn begins."""
        self._turn = perf_counter()

    def stepped(self) -> None:
        """The optimizer's turn ends."""
        if self._turn is not None:
            self.update = (self.update or 0.0) + perf_counter() - self._turn
            self._turn = None
