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
    """A module hook that is inert outside of the observed training step.

    Users may compile, export or copy a model between two steps. A deep copy gets an inert hook that
    removes itself when it is called.
    """

    def __init__(
        self,
        run: Callable[[Action, tuple[Any, ...]], None] | None = None,
        action: Action | None = None,
    ) -> None:
        self._run, self._action = run, action

    def __call__(self, *arguments: Any) -> None:
        """Run the action, except while the model is compiled or traced."""
        if torch.compiler.is_compiling() or torch._C._is_tracing():
            return
        if self._run is not None and self._action is not None:
            self._run(self._action, arguments)
        elif isinstance(arguments[0], nn.Module):
            self._remove_from(arguments[0])

    def _remove_from(self, module: nn.Module) -> None:
        for hooks in (module._forward_pre_hooks, module._forward_hooks):
            for number in [number for number, hook in hooks.items() if hook is self]:
                del hooks[number]
                module._forward_hooks_always_called.pop(number, None)

    def __deepcopy__(self, memo: dict[int, Any]) -> Hook:
        """Return an inert hook."""
        return Hook()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a built-in method that accepts any arguments and returns None."""
        # Loading the model must not require brainnet.
        return getattr, (nullcontext(), "__exit__")

    @property
    def __name__(self) -> NoReturn:
        """Read only by `torch.jit.script`, which would otherwise compile the hook."""
        raise AttributeError(
            "torch.jit.script cannot compile a model that is observed; script it before watch() "
            "or after close()."
        )


class StepTimer:
    """Durations of the phases of a training step, without `excluded_seconds` of observing it."""

    def __init__(self) -> None:
        self.forward_seconds: float | None = None
        self.backward_seconds: float | None = None
        self.update_seconds: float | None = None
        self.excluded_seconds = 0.0
        self._calls = 0
        self._depth = 0
        self._forward_start = self._forward_end = 0.0
        self._update_start: float | None = None

    def start_forward(self, _module: nn.Module, _inputs: object) -> None:
        """Start of a forward call; a forward pre-hook."""
        # Evaluations between training steps run without gradients.
        if torch.is_grad_enabled():
            if self._depth == 0:
                self._forward_start = perf_counter() - self.excluded_seconds
            self._depth += 1

    def stop_forward(self, _module: nn.Module, _inputs: object, output: object) -> None:
        """End of a forward call; a forward hook that is always called, also after an exception."""
        if not torch.is_grad_enabled() or not self._depth:
            return
        self._depth -= 1
        # PyTorch passes no output while it handles an exception.
        has_failed = output is None and sys.exc_info()[0] is not None
        if self._depth == 0 and not has_failed:
            self._calls += 1
            self._forward_end = perf_counter() - self.excluded_seconds
            duration = self._forward_end - self._forward_start
            self.forward_seconds = (self.forward_seconds or 0.0) + duration

    def stop_backward(self) -> None:
        """The gradients are complete."""
        # With several forward passes, their time would count as that of the backward pass.
        if self._calls == 1 and self.backward_seconds is None:
            self.backward_seconds = perf_counter() - self.excluded_seconds - self._forward_end

    def start_update(self) -> None:
        """Start of the optimizer step."""
        self._update_start = perf_counter()

    def stop_update(self) -> None:
        """End of the optimizer step."""
        if self._update_start is not None:
            duration = perf_counter() - self._update_start
            self.update_seconds = (self.update_seconds or 0.0) + duration
            self._update_start = None
