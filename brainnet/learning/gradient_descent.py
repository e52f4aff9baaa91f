"""Gradient descent: every weight moves a step against its gradient."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from brainnet import concepts
from brainnet.learning.gradient import to_wide


@dataclass(frozen=True, slots=True)
class ParameterStep:
    """The effect of one optimizer step on one parameter.

    Attributes:
        name: name of the parameter if the optimizer was created from `named_parameters()`;
            otherwise its position, such as `parameter_0`.
        learning_rate: learning rate of its parameter group.
        gradient_norm: Euclidean norm of the gradient.
        update_norm: Euclidean norm of the change of the parameter.
        update_ratio: update norm divided by the norm of the parameter before the step.
        predicted_decrease: first-order estimate of the decrease in loss, -gradient · change.
    """

    name: str
    learning_rate: float
    gradient_norm: float
    update_norm: float
    update_ratio: float
    predicted_decrease: float


class GradientDescent(torch.optim.SGD):
    """`torch.optim.SGD` under its textbook name; it can also report what a step did.

    Without momentum and weight decay, the step is minus the learning rate times the gradient
    (Robbins & Monro, 1951). All arguments are those of `torch.optim.SGD`.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([2.0]))
        >>> descent = GradientDescent([("weight", weight)], lr=0.1)
        >>> weight.square().sum().backward()  # the gradient at 2 is 4
        >>> report = descent.step_with_report()[0]
        >>> f"moved by {report.update_norm:.2f}, to {weight.item():.2f}"
        'moved by 0.40, to 1.60'
    """

    concept = concepts.GRADIENT_DESCENT

    def step_with_report(self, closure: Callable[[], float] | None = None) -> list[ParameterStep]:
        """Take one `step`, and return its effect on each parameter that has a gradient.

        In addition to a `step`, this copies the parameters and gradients, and reads from the device
        once.

        Args:
            closure: computes the loss and the gradients; called once, before the step.
        """
        if closure is not None:
            with torch.enable_grad():
                closure()
        # Gradients are copied, too, because a step may add the momentum to them in place.
        parameters = [
            (name, float(group["lr"]), value, value.detach().clone(), value.grad.clone())
            for name, group, value in self._iterate_parameters()
            if value.grad is not None
        ]
        self.step()
        if not parameters:
            return []
        device = parameters[0][2].device
        rows = torch.stack([_measure_step(*row[2:]).to(device) for row in parameters]).tolist()
        steps = []
        for (name, rate, *_), (gradient_norm, update_norm, norm, decrease) in zip(
            parameters, rows, strict=True
        ):
            ratio = update_norm / norm if norm > 0 else (math.inf if update_norm > 0 else 0.0)
            steps.append(ParameterStep(name, rate, gradient_norm, update_norm, ratio, decrease))
        return steps

    def _iterate_parameters(self) -> Iterator[tuple[str, dict[str, Any], Tensor]]:
        """Yield each parameter with its name and its group."""
        position = 0
        for group in self.param_groups:
            for index, value in enumerate(group["params"]):
                names = group.get("param_names")
                yield names[index] if names else f"parameter_{position}", group, value
                position += 1


def _measure_step(value: Tensor, start: Tensor, gradient: Tensor) -> Tensor:
    """Compute gradient norm, update norm, norm before the step and predicted decrease, (4,)."""
    start, gradient = to_wide(start), to_wide(gradient.to_dense())
    change = to_wide(value.detach()) - start
    decrease = -(gradient * change).sum()
    return torch.stack([gradient.norm(), change.norm(), start.norm(), decrease])


OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": GradientDescent,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}
