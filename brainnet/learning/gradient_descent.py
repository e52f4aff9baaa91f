"""Gradient descent: every weight moves a step against its gradient."""

import torch

from brainnet import concepts


class GradientDescent(torch.optim.SGD):
    """`torch.optim.SGD` under its textbook name.

    Without momentum and weight decay, the step is minus the learning rate times the gradient
    (Robbins & Monro, 1951). All arguments are those of `torch.optim.SGD`.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([2.0]))
        >>> descent = GradientDescent([weight], lr=0.1)
        >>> weight.square().sum().backward()  # the gradient at 2 is 4
        >>> descent.step()
        >>> round(weight.item(), 3)
        1.6
    """

    concept = concepts.GRADIENT_DESCENT


OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": GradientDescent,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}
