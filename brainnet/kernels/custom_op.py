"""The registered op `brainnet::threshold_ramp`: what a compiler sees, takes apart and fuses."""

from __future__ import annotations

import torch
from torch import Tensor

from brainnet.kernels import reference
from brainnet.kernels.autograd import ThresholdRampFunction

_LIBRARY = torch.library.Library("brainnet", "FRAGMENT")

_LIBRARY.define(
    "threshold_ramp(Tensor input, Tensor? threshold, Tensor? width, float threshold_number,"
    " float width_number, float leak) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)


def _forward(
    input: Tensor,
    threshold: Tensor | None,
    width: Tensor | None,
    threshold_number: float,
    width_number: float,
    _leak: float,
) -> Tensor:
    return reference.forward(
        input,
        threshold_number if threshold is None else threshold,
        width_number if width is None else width,
    )


def _differentiable(
    input: Tensor,
    threshold: Tensor | None,
    width: Tensor | None,
    threshold_number: float,
    width_number: float,
    leak: float,
) -> Tensor:
    output: Tensor = ThresholdRampFunction.apply(
        input,
        threshold_number if threshold is None else threshold,
        width_number if width is None else width,
        leak,
    )
    return output


# Composite: a compiler below autograd takes the op apart into ATen and fuses it with its
# neighbours. The derivative stays ours and keeps only the output; it is registered device by
# device, because for the dispatcher a composite kernel outranks the alias of all autograd keys.
_LIBRARY.impl("threshold_ramp", _forward, "CompositeImplicitAutograd")

for _device in ("CPU", "CUDA", "MPS", "XPU", "HPU", "XLA", "IPU", "PrivateUse1", "Meta", "Other"):
    _LIBRARY.impl("threshold_ramp", _differentiable, f"Autograd{_device}")


def threshold_ramp(
    input: Tensor, threshold: reference.Parameter, width: reference.Parameter, leak: float
) -> Tensor:
    """Call the registered op with numbers or tensors that broadcast against the input."""
    tensors = [value if isinstance(value, Tensor) else None for value in (threshold, width)]
    numbers = [1.0 if isinstance(value, Tensor) else value for value in (threshold, width)]
    output: Tensor = torch.ops.brainnet.threshold_ramp(input, *tensors, *numbers, leak)
    return output
