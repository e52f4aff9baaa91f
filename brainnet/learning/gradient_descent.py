"""Gradient descent: step downhill, again and again; every weight moves against its gradient."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from brainnet import concepts
from brainnet.learning.gradient import to_wide


@dataclass(frozen=True, slots=True)
class ParameterStep:
    """What one step did to one parameter: plain numbers.

    Attributes:
        name: the parameter's name, where the optimizer was given `named_parameters()`; else its
            place in the optimizer, such as `parameter_0`.
        learning_rate: the factor on the step.
        slope: Euclidean norm of its gradient.
        change: Euclidean norm of what was added to it.
        update_ratio: change over the parameter's own norm before the step (inf from zero).
        predicted_decrease: what the slope promised: -gradient · change, in units of the loss.
    """

    name: str
    learning_rate: float
    slope: float
    change: float
    update_ratio: float
    predicted_decrease: float


class GradientDescent(torch.optim.SGD):
    """PyTorch's SGD under its textbook name, which can also tell what a step did.

    Without momentum and weight decay the step is the learning rate times the gradient, against it
    (Robbins & Monro, 1951): steep ground, big step; flat ground, small step. All arguments are
    those of `torch.optim.SGD`.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([2.0]))
        >>> descent = GradientDescent([("weight", weight)], lr=0.1)
        >>> weight.square().sum().backward()  # the slope at 2 is 4
        >>> told = descent.tell_step()[0]
        >>> f"moved by {told.change:.2f}, to {weight.item():.2f}"
        'moved by 0.40, to 1.60'
    """

    concept = concepts.GRADIENT_DESCENT

    def tell_step(self, closure: Callable[[], float] | None = None) -> list[ParameterStep]:
        """Do one `step`, and tell what it did to each parameter that has a gradient.

        Costs a copy of the parameters and of their gradients, and one read of the device; `step`
        alone costs none of them.

        Args:
            closure: what computes the loss and the gradients anew, called once before the step.
        """
        if closure is not None:
            with torch.enable_grad():
                closure()
        # Copies of the gradients, too: a step may add its momentum to them in place.
        moved = [
            (name, group["lr"], value, value.detach().clone(), value.grad.clone())
            for name, group, value in _named(self)
            if value.grad is not None
        ]
        self.step()
        if not moved:
            return []
        device = moved[0][2].device
        numbers = torch.stack([_measured(*tensors).to(device) for _, _, *tensors in moved])
        return [
            _told(name, rate, *row)
            for (name, rate, *_), row in zip(moved, numbers.tolist(), strict=True)
        ]


def _named(optimizer: torch.optim.Optimizer) -> list[tuple[str, dict[str, Any], Tensor]]:
    """Every parameter with its name and its group's settings."""
    named: list[tuple[str, dict[str, Any], Tensor]] = []
    for group in optimizer.param_groups:
        names = group.get("param_names")
        for position, value in enumerate(group["params"]):
            name = names[position] if names else f"parameter_{len(named)}"
            named.append((name, group, value))
    return named


def _measured(value: Tensor, start: Tensor, gradient: Tensor) -> Tensor:
    """Slope, change, size before and promised decrease, (4,) on the parameter's device."""
    start, gradient = to_wide(start), to_wide(gradient.to_dense())
    change = to_wide(value.detach()) - start
    promised = -(gradient * change).sum()
    return torch.stack([gradient.norm(), change.norm(), start.norm(), promised])


def _told(
    name: str, rate: float, slope: float, change: float, size: float, promised: float
) -> ParameterStep:
    ratio = change / size if size > 0 else (float("inf") if change > 0 else 0.0)
    return ParameterStep(name, float(rate), slope, change, ratio, promised)


OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": GradientDescent,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}
