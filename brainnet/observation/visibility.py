"""Visibility: what cannot be seen of a model, in sentences."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from brainnet.observation.look_in_a_loop import parameters_of
from brainnet.observation.observed_step import is_compiled, is_readable


def process_rank() -> int:
    """Which of several processes that train together this is; 0 for one alone."""
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank()
    return 0


def hidden(model: nn.Module) -> list[str]:
    """What the model itself hides."""
    found = []
    if is_compiled(model):
        found.append(
            "the model is compiled: weights and gradients are seen, answers are not, nor how far "
            "the loss really falls."
        )
    names = [
        name
        for name, parameter in model.named_parameters()
        if not is_lazy(parameter) and not is_readable(parameter)
    ]
    if names:
        found.append(f"not measured, as sharded or no plain floats: {_some(names)}.")
    return found


def not_given(model: nn.Module, optimizers: Sequence[Optimizer], *, judged: bool) -> list[str]:
    """What would be seen if more had been given.

    Args:
        model: what learns.
        optimizers: those that were given.
        judged: whether there are rows to judge it by.
    """
    found = []
    moved = {each for optimizer in optimizers for each in parameters_of(optimizer)}
    still = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter not in moved
    ]
    if not optimizers:
        found.append(
            "no optimizer was given: no learning rate, not how far the loss really falls, and "
            "gradients only where they are still there when step() is called."
        )
    elif still:
        found.append(f"no optimizer that was given moves {_some(still)}.")
    if optimizers and not judged:
        found.append(
            "no criterion or no sample was given: it is not told how far the loss really falls."
        )
    return found


def _some(names: Sequence[str]) -> str:
    rest = len(names) - 3
    return ", ".join(names[:3]) + (f" and {rest} more" if rest > 0 else "")
