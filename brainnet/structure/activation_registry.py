"""Activation registry: activation functions by name."""

from copy import deepcopy

import torch
from torch import nn

from brainnet.structure.activation import ThresholdRamp

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "threshold_ramp": ThresholdRamp,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "hardtanh": nn.Hardtanh,
    "identity": nn.Identity,
}


def build_activation(
    activation: str | nn.Module | None,
    neurons: int,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> nn.Module:
    """Build the activation module of one layer: by name, by copy of a module, or none.

    Modules are copied, so that no two layers share an instance.
    """
    if activation is None:
        return nn.Identity()
    if isinstance(activation, type):
        raise TypeError(
            f"activation must be a name or a module; got the class {activation.__name__}. "
            f"Pass an instance of it: {activation.__name__}()."
        )
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation must be a module or one of {', '.join(ACTIVATIONS)}; got "
                f"{activation!r}."
            )
        activation = ACTIVATIONS[activation]()
    if isinstance(activation, ThresholdRamp):
        return activation.copy_for_layer(neurons, device=device, dtype=dtype)
    # Learnable activations, such as nn.PReLU, must not be trained by two layers.
    return deepcopy(activation).to(device=device, dtype=dtype)
