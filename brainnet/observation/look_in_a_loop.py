"""Look in a loop: one look in anybody's training, read around the optimizers' own steps."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from brainnet.observation.judge import Judge
from brainnet.observation.measures import is_readable, parameters_of
from brainnet.observation.observed_step import ObservedStep
from brainnet.observation.parts import is_compiled
from brainnet.observation.unread_look import UnreadLook

Answer = TypeVar("Answer")

PATIENCE = 20
"""Calls of `step` without one of the optimizer: a GradScaler's first ones may well be skipped."""


class LookInALoop:
    """One look as it happens: hooks on the model, and on the optimizers around their step.

    Args:
        observed: the step, listened to from now on.
        model: what learns.
        optimizers: those that move it; without any, where the weights are is remembered now.
        judge: what asks it about fixed rows before and after the step.
        scaler: what multiplies the loss for the backward pass, where something does.

    Attributes:
        observed: the step.
        unjudged: why the judge could not tell, where it could not.
    """

    def __init__(
        self,
        observed: ObservedStep,
        model: nn.Module,
        optimizers: Sequence[Optimizer],
        judge: Judge | None,
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        self.observed = observed
        self._model, self._optimizers = model, optimizers
        self.unjudged: Exception | None = None
        self._judge = judge
        self._scaler = scaler
        self._failure: Exception | None = None
        self._losses: list[Tensor] = []
        self._learning_rate: float | None = None
        self._before: Tensor | None = None
        self._slopes: dict[Tensor, Tensor] | None = None
        self._open = True
        self._waited = 0
        self._moved_unseen = False
        self._handles: list[Any] = []
        for optimizer in optimizers:
            self._handles.append(optimizer.register_step_pre_hook(self._before_step))
            self._handles.append(optimizer.register_step_post_hook(self._after_step))
        if not optimizers:
            observed.remember(model.parameters())

    def close(self) -> None:
        """Take all hooks off."""
        self._open = False
        while self._handles:
            self._handles.pop().remove()
        self.observed.close()

    def is_done(self, loss: Tensor | float | None, say: Callable[[str], None]) -> bool:
        """Note the loss, and tell whether there was a step to look at.

        Raises:
            Exception: what went wrong in a hook of the optimizer's.
        """
        if self._failure is not None:
            raise self._failure
        if isinstance(loss, Tensor):
            loss = loss.detach()
        elif loss is not None:
            loss = torch.tensor(float(loss))
        if loss is not None and loss.numel() == 1:
            self._losses.append(loss.reshape(()))
        if self._optimizers:
            stepped = self.observed.stepped or self._moved_unseen
        else:
            stepped = self.observed.heard
        if stepped:
            return True
        self._waited += 1
        if self._optimizers and self._waited == PATIENCE:
            say(
                f"the optimizer that watch was given took no step in {PATIENCE} calls of step(); "
                "where another one steps now, nothing is seen. Watch anew, with that one."
            )
        if not self.observed.heard and not is_compiled(self._model):
            say("step() was called before any forward pass; there was nothing to look at yet.")
            return False
        return not self._optimizers

    def finish(self, step: int) -> UnreadLook:
        """Send home what was seen, and take all hooks off.

        Args:
            step: optimizer steps taken before this one.
        """
        if not self._optimizers:
            self._judge = None
            self.observed.before_update(self._model.parameters())
            self.observed.after_update()
        self.close()
        after = None if self._before is None else self._asked(Judge.loss)
        return self.observed.finish(
            step,
            0,
            learning_rate=self._learning_rate,
            loss=torch.stack(self._losses).mean() if self._losses else None,
            before=self._before,
            after=after,
        )

    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        if not self._open or self._failure is not None:
            return
        closure = _has_closure(args, options)
        with self._waiting():
            if len(self._optimizers) == 1 and not closure:
                self.observed.close()  # all was heard, and the judge's questions take less time
            if self._learning_rate is None:
                self._learning_rate = float(optimizer.param_groups[0]["lr"])
                self._ask()
            if closure:
                self.observed.remember(parameters_of(optimizer))
            else:
                self._read(optimizer)

    def _after_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        if not self._open or self._failure is not None:
            return
        with self._waiting():
            if _has_closure(args, options):
                self._read(optimizer)  # the gradients came during the step
            self.observed.after_update(self._slopes)
            # Sharded over processes, they would otherwise be waited for as if they never moved.
            self._moved_unseen |= not any(map(is_readable, parameters_of(optimizer)))
            if len(self._optimizers) == 1:
                self.observed.close()

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """What goes wrong amid a step of theirs waits for `is_done`; hooks cannot go before."""
        try:
            yield
        except Exception as error:
            self._failure = error

    def _read(self, optimizer: Optimizer) -> None:
        parameters = parameters_of(optimizer)
        self.observed.before_update(
            parameters,
            scale=scale_of(self._scaler, parameters[0].device),
            keep_gradients=changes_gradients(optimizer),
            # Set by a GradScaler where the optimizer itself is to free the gradients of the scale.
            divisor=getattr(optimizer, "grad_scale", None),
        )

    def _ask(self) -> None:
        """What the sample says of the network before the step."""
        if self._judge is not None:
            self.observed.deaf = True
            moving = [each for optimizer in self._optimizers for each in parameters_of(optimizer)]
            answer = self._asked(lambda judge: judge.slope(dict.fromkeys(moving)))
            if answer is not None:
                self._before, self._slopes = answer
            self.observed.deaf = False

    def _asked(self, question: Callable[[Judge], Answer]) -> Answer | None:
        """What the judge says, until it cannot: the step is seen all the same."""
        if self._judge is None or self.unjudged is not None:
            return None
        try:
            return question(self._judge)
        except Exception as error:
            self.unjudged = error
            return None


def scale_of(scaler: torch.amp.GradScaler | None, device: torch.device) -> Tensor | None:
    """What a scaler multiplies a loss by, (), where it does so; nothing waits for its device."""
    if scaler is None or not scaler.is_enabled():
        return None
    return scaler.scale(torch.ones((), device=device))


def changes_gradients(optimizer: Optimizer) -> bool:
    """Whether its step may change the gradients that it reads.

    PyTorch's own do so in one case: `SGD` adds momentum to them in place, looking ahead. Of
    somebody else's nobody knows.

    Example:
        >>> weights = [nn.Parameter(torch.zeros(1))]
        >>> changes_gradients(torch.optim.SGD(weights, momentum=0.9, nesterov=True))
        True
        >>> changes_gradients(torch.optim.Adam(weights))
        False
    """
    known = type(optimizer).__module__.startswith(("torch.optim.", "brainnet."))
    return not known or any(group.get("nesterov") for group in optimizer.param_groups)


def _has_closure(args: tuple[Any, ...], options: dict[str, Any]) -> bool:
    return (len(args) > 1 and args[1] is not None) or options.get("closure") is not None
