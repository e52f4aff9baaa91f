"""Capabilities: which parts of a model can be observed, and why others cannot."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from brainnet.kernels.statistics import STATISTICS_DTYPES
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.bias import Bias
from brainnet.structure.embedding import Embedding, Embeddings
from brainnet.structure.inspection import (
    ACTIVATION_TYPES,
    WEIGHTED_TYPES,
    ModelInspection,
    unwrap_compiled,
)
from brainnet.structure.layer import Layer
from brainnet.structure.network import Network
from brainnet.structure.weights import Weights

MODE_INVARIANT_TYPES = {
    *(Network, Layer, Weights, Bias, ThresholdRamp, Embedding, Embeddings),
    *(nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.Flatten, nn.Unflatten),
    *WEIGHTED_TYPES,
    *(kind for kind in ACTIVATION_TYPES if kind is not nn.RReLU),
}
"""Modules that do the same in training and evaluation mode and draw no random numbers."""


class ObservedModel:
    """What observing a step needs to know about a model, collected once.

    `containers` are the modules that are called and contain a layer or are one, outermost first.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.inspection = ModelInspection(model)
        layers = {layer.module for layer in self.inspection.layers} or {model}
        self.containers = [
            module
            for module in model.modules()
            # A list of modules is not called.
            if type(module).forward is not nn.Module.forward
            and not layers.isdisjoint(module.modules())
        ]
        parameters = [
            parameter
            for module in self.inspection.modules
            for parameter in module._parameters.values()
            if parameter is not None
        ]
        # Pruned and parametrized weights are new tensors at each call, and lazy ones get a shape.
        self._is_stable = not any(map(is_lazy, parameters)) and all(
            isinstance(layer.weights, nn.Parameter) for layer in self.inspection.layers
        )

    def is_current(self) -> bool:
        """Return whether the modules and parameters are still those of the inspection."""
        return self._is_stable and self.inspection.is_current()

    def is_compiled(self) -> bool:
        """Return whether any part of the model is compiled."""
        return unwrap_compiled(self.model) is not self.model or any(
            module._compiled_call_impl is not None or unwrap_compiled(module) is not module
            for module in self.inspection.modules
        )


def is_mode_invariant(module: nn.Module) -> bool:
    """Return whether a module does the same in training and evaluation mode, without hooks."""
    return (
        type(module) in MODE_INVARIANT_TYPES
        # Spectral normalization updates its state in a hook, in training mode only.
        and not (module._forward_hooks or module._forward_pre_hooks or "forward" in module.__dict__)
    )


def is_readable(tensor: Tensor) -> bool:
    """Return whether the values of a tensor can be measured: not sharded, lazy or quantized."""
    return (
        tensor.dtype in STATISTICS_DTYPES
        and not tensor.is_meta
        and not is_lazy(tensor)
        and not hasattr(tensor, "placements")
        and (tensor.layout == torch.strided or tensor.is_sparse)
    )


def list_parameters(optimizer: Optimizer) -> list[nn.Parameter]:
    """Return all parameters that an optimizer updates."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def get_process_rank() -> int:
    """Return the rank of this process in distributed training; 0 without it."""
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank()
    return 0


def is_sharded(model: nn.Module) -> bool:
    """Return whether parameters are sharded, so that all processes must run it together."""
    return any(hasattr(parameter, "placements") for parameter in model.parameters())


def find_obstacle(model: nn.Module, observed_model: ObservedModel) -> str | None:
    """Return why nothing of a model can be observed, or None if something can."""
    # By name, because importing the class takes long.
    if any(type(part).__name__ == "FullyShardedDataParallel" for part in model.modules()):
        return (
            "FullyShardedDataParallel concatenates parameters and hides their shapes, so nothing "
            "can be observed. Use torch.distributed.fsdp.fully_shard(model) instead."
        )
    inspection = observed_model.inspection
    if not inspection.layers and not inspection.matrices:
        return f"{type(model).__name__} has no weights to observe."
    return None


def list_hidden_parts(observed_model: ObservedModel) -> list[str]:
    """Return what cannot be observed because of the model itself, one sentence each."""
    limitations = []
    if observed_model.is_compiled():
        limitations.append(
            "the model is compiled: weights and gradients are observed; activations, and the "
            "decrease of the loss on a sample, are not."
        )
    unreadable = [
        name
        for name, parameter in observed_model.model.named_parameters()
        if not is_lazy(parameter) and not is_readable(parameter)
    ]
    if unreadable:
        limitations.append(
            f"not measured, because sharded or not floating point: {shorten_list(unreadable)}."
        )
    matrices = [info.name for info in observed_model.inspection.matrices]
    if matrices:
        limitations.append(
            f"only weights and gradients are observed of {shorten_list(matrices)}, which belong to "
            "no linear layer or convolution."
        )
    return limitations


def list_missing_arguments(
    model: nn.Module, optimizers: Sequence[Optimizer], *, has_probe: bool
) -> list[str]:
    """Return what is not observed because an argument is missing, one sentence each."""
    if not optimizers:
        return [
            "no optimizer was passed: learning rate and actual decrease of the loss are not "
            "observed, and gradients only if they still exist when step() is called."
        ]
    limitations = []
    updated = {parameter for optimizer in optimizers for parameter in list_parameters(optimizer)}
    missing = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter not in updated
    ]
    if missing:
        limitations.append(f"none of the optimizers passed updates {shorten_list(missing)}.")
    if not has_probe:
        limitations.append(
            "no criterion or no sample was passed: the actual decrease of the loss is not observed."
        )
    return limitations


def shorten_list(names: Sequence[str]) -> str:
    """Return the first three names as a text, and the number of the others."""
    rest = len(names) - 3
    return ", ".join(names[:3]) + (f" and {rest} more" if rest > 0 else "")
