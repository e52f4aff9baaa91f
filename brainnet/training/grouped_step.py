"""Grouped step: a small network's weights moved all at once, to the same numbers bit by bit."""

import torch
from torch import Tensor
from torch.optim import Optimizer

GROUPED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop)
"""Optimizers that call more than a function or two for each tensor."""

MOST = 2**18
"""Weights up to which calls cost more than computing; beyond, the temporaries would be felt."""

SAME = (torch.float32, torch.float64)
"""Kinds of numbers in which one tensor at a time and all at once round alike."""


def grouped(optimizer: Optimizer) -> Optimizer:
    """Have the optimizer use its `foreach` form where that is quicker, and nobody chose.

    PyTorch does so by itself on GPUs. On the CPU it goes through a network tensor by tensor, from
    Python, for which the step of a small network takes as long as all of its thinking. A state
    that the optimizer loads later may bring a group back as PyTorch made it, so it is seen to
    again then. Groups whose learning rate or betas are tensors stay: all at once refuses those.

    Args:
        optimizer: whose weights are on the device where they will learn.

    Example:
        >>> optimizer = grouped(torch.optim.Adam(torch.nn.Linear(2, 1).parameters()))
        >>> optimizer.param_groups[0]["foreach"]
        True
    """
    _group(optimizer)
    optimizer.register_load_state_dict_post_hook(_group)
    return optimizer


def _group(optimizer: Optimizer) -> None:
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    fits = (
        type(optimizer) in GROUPED
        and sum(weight.numel() for weight in weights) <= MOST
        and all(weight.device.type == "cpu" and weight.dtype in SAME for weight in weights)
    )
    for group in optimizer.param_groups if fits else ():
        chosen = any(group.get(form) for form in ("fused", "differentiable", "capturable"))
        numbers = (group["lr"], *group.get("betas", ()))
        if not chosen and not any(isinstance(number, Tensor) for number in numbers):
            group["foreach"] = True if group["foreach"] is None else group["foreach"]
