"""Stopwatch: how long the thinking takes, without the watching."""

from time import perf_counter

import torch
from torch import nn


class Stopwatch:
    """Seconds of the outermost forward calls, less those that were spent aside.

    Attributes:
        seconds: what has been counted; None before the first call has ended.
        aside: seconds to leave out; whoever spends them adds them here.
    """

    def __init__(self) -> None:
        self.seconds: float | None = None
        self.aside = 0.0
        self._depth = 0
        self._started = 0.0

    def start(self, _module: nn.Module, _signals: object) -> None:
        """A forward call begins: a forward pre-hook."""
        if not torch.is_grad_enabled():
            return  # whoever judges in between is not learning
        if self._depth == 0:
            self._started = perf_counter() - self.aside
        self._depth += 1

    def stop(self, _module: nn.Module, _signals: object, _output: object) -> None:
        """A forward call ends: a forward hook."""
        if not torch.is_grad_enabled():
            return
        self._depth -= 1
        if self._depth == 0:
            lasted = perf_counter() - self.aside - self._started
            self.seconds = (self.seconds or 0.0) + lasted
