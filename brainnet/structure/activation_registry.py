"""Activation registry: activation functions by name, and the instance that a layer builds."""

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
    """A layer's own instance of an activation, from its name or from a module to take after.

    Args:
        activation: a name of `ACTIVATIONS`, a module (copied as it is by now: no instance serves
            two layers; a ramp by `ThresholdRamp.for_layer`), or None for no activation.
        neurons: neurons of the layer.
        device: where it keeps what it learns.
        dtype: in which precision it keeps it.

    Raises:
        ValueError: where the name is unknown.
        TypeError: where it is a class instead of a module.
    """
    if activation is None:
        return nn.Identity()
    if isinstance(activation, type):
        raise TypeError(
            f"an activation is a name or a module; got the class {activation.__name__}. "
            f"Give an instance of it: {activation.__name__}()."
        )
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"no activation is called {activation!r}; there are {', '.join(ACTIVATIONS)}. "
                "Give one of these, or any nn.Module."
            )
        activation = ACTIVATIONS[activation]()
    if isinstance(activation, ThresholdRamp):
        return activation.for_layer(neurons, device=device, dtype=dtype)
    own = deepcopy(activation)
    held = next((value for value in (*own.parameters(), *own.buffers())), None)
    if held is None:
        return own
    if held.is_meta and device is not None:
        own.to_empty(device=device)
    return own.to(device=device or held.device, dtype=dtype or held.dtype)
