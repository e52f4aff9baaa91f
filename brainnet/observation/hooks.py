"""Hooks and timers of one observed step."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from time import perf_counter
from typing import Any, NoReturn

import torch
from torch import nn

Action = Callable[..., None]


class Hook:
    """A hook that lies on somebody's module between two of their steps.

    What they do to the module there goes on as if it were not: `torch.compile`, `torch.export` and
    `torch.jit.trace` see through it. A copy of the module (an average of its weights, a target
    network) tells nobody anything, and loses the hook when it is called. Stored in a file, it is a
    function of Python's own that does nothing, so that reading the file needs no brainnet.

    Args:
        hear: called with the action and what PyTorch hands to a hook; none makes the copy.
        action: what to do.

    Example:
        >>> import copy
        >>> layer = nn.Linear(2, 1)
        >>> heard = []
        >>> hook = Hook(lambda action, given: heard.append(action), print)
        >>> handle = layer.register_forward_hook(hook)
        >>> twin = copy.deepcopy(layer)
        >>> _ = twin(torch.ones(2)), layer(torch.ones(2))
        >>> len(heard), len(twin._forward_hooks)
        (1, 0)
    """

    def __init__(
        self,
        hear: Callable[[Action, tuple[Any, ...]], None] | None = None,
        action: Action | None = None,
    ) -> None:
        self._hear, self._action = hear, action

    def __call__(self, *arguments: Any) -> None:
        """Hand it on to whoever listens."""
        if torch.compiler.is_compiling() or torch._C._is_tracing():
            return
        if self._hear is not None and self._action is not None:
            self._hear(self._action, arguments)
        elif isinstance(arguments[0], nn.Module):
            self._leave(arguments[0])

    def _leave(self, copied: nn.Module) -> None:
        for hooks in (copied._forward_pre_hooks, copied._forward_hooks):
            for number in [number for number, hook in hooks.items() if hook is self]:
                del hooks[number]
                copied._forward_hooks_always_called.pop(number, None)

    def __deepcopy__(self, memo: dict[int, Any]) -> Hook:
        """One that hears nothing."""
        return Hook()

    def __reduce__(self) -> tuple[Any, ...]:
        """A function that takes anything and returns nothing."""
        return getattr, (nullcontext(), "__exit__")

    @property
    def __name__(self) -> NoReturn:
        """Asked for by `torch.jit.script`, which would compile it."""
        raise AttributeError(
            "watch has hooks on this model, which torch.jit.script cannot compile: script it "
            "before it is watched, or after close()."
        )


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
