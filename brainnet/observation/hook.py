"""Hook: listens to a module for one look; in copies of the module and in files it is nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
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

    def __call__(self, *arguments: Any) -> None:  # noqa: ANN401  (whatever PyTorch hands to a hook)
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
