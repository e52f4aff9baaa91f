"""Grouped step: a small network's weights moved all at once, to the same numbers bit by bit."""

import torch
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
    Python, for which the step of a small network takes as long as all of its thinking.

    Args:
        optimizer: whose weights are on the device where they will learn.

    Example:
        >>> optimizer = grouped(torch.optim.Adam(torch.nn.Linear(2, 1).parameters()))
        >>> optimizer.param_groups[0]["foreach"]
        True
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    fits = (
        type(optimizer) in GROUPED
        and sum(weight.numel() for weight in weights) <= MOST
        and all(weight.device.type == "cpu" and weight.dtype in SAME for weight in weights)
    )
    for group in optimizer.param_groups if fits else ():
        if not any(group.get(form) for form in ("fused", "differentiable", "capturable")):
            group["foreach"] = True if group["foreach"] is None else group["foreach"]
    return optimizer
