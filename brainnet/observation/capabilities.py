"""Capabilities: which parts of a model can be observed, and why others cannot."""

from collections.abc import Collection, Iterator, Sequence

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
    find_layers,
    find_weight_matrices,
    unwrap_compiled,
)
from brainnet.structure.layer import Layer
from brainnet.structure.network import Network
from brainnet.structure.weights import Weights

STEADY_TYPES = {
    *(Network, Layer, Weights, Bias, ThresholdRamp, Embedding, Embeddings),
    *(nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.Flatten, nn.Unflatten),
    *WEIGHTED_TYPES,
    *(kind for kind in ACTIVATION_TYPES if kind is not nn.RReLU),
}

"""Modules that do in training what they do in evaluation, and draw no random numbers."""


def list_modules(model: nn.Module) -> Iterator[nn.Module]:
    """All modules of a model, itself first and each once: `modules()`, twice as fast.

    Known by where they lie: to ask a metric of torchmetrics for its hash takes as long as a layer
    takes to think.

    Example:
        >>> list(parts(nn.Sequential(nn.Flatten())))
        [Sequential(
          (0): Flatten(start_dim=1, end_dim=-1)
        ), Flatten(start_dim=1, end_dim=-1)]
    """
    seen = {id(model)}
    waiting = [model]
    while waiting:
        module = waiting.pop()
        yield module
        for child in reversed(module._modules.values()):
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                waiting.append(child)


def is_mode_invariant(part: nn.Module) -> bool:
    """Whether a module does the same in training as in evaluation, and nobody stands in its way.

    Example:
        >>> is_steady(nn.Linear(2, 3)), is_steady(nn.Dropout(0.1))
        (True, False)
    """
    return (
        type(part) in STEADY_TYPES
        # Spectral normalisation moves on at each call in training, by a hook.
        and not (part._forward_hooks or part._forward_pre_hooks or "forward" in part.__dict__)
    )


def find_parameter_holders(model: nn.Module, wanted: Collection[nn.Module]) -> list[nn.Module]:
    """The modules of a model that hold one of those wanted, or are one; the outermost first.

    Those that nobody calls, as a list of modules, are none of them.
    """
    ids = {id(module) for module in wanted}
    known: dict[int, bool] = {}
    seen: list[nn.Module] = []

    def holds(module: nn.Module) -> bool:
        place = id(module)
        if place not in known:
            seen.append(module)
            known[place] = place in ids  # a module may hold itself, in a circle
            for child in module._modules.values():
                if child is not None and holds(child):
                    known[place] = True
        return known[place]

    holds(model)
    called = (module for module in seen if type(module).forward is not nn.Module.forward)
    return [module for module in called if known[id(module)]]


def is_compiled(model: nn.Module) -> bool:
    """Whether `torch.compile` has taken hold of any part of a model."""
    return any(
        module._compiled_call_impl is not None or unwrap_compiled(module) is not module
        for module in list_modules(model)
    )


COORDINATES = 4096

"""Of a gradient, about this many numbers at fixed positions are kept for the next cosine."""


def is_readable(tensor: Tensor) -> bool:
    """Whether its numbers are all here, of a kind that is measured; not of shards or lazy ones."""
    return (
        tensor.dtype in STATISTICS_DTYPES
        and not tensor.is_meta
        and not is_lazy(tensor)
        and not hasattr(tensor, "placements")
        and (tensor.layout == torch.strided or tensor.is_sparse)
    )


def list_parameters(optimizer: Optimizer) -> list[nn.Parameter]:
    """All parameters that an optimizer moves."""
    return [each for group in optimizer.param_groups for each in group["params"]]


def to_dense(values: Tensor) -> Tensor:
    """The values alone, of a sparse gradient the ones that are stored."""
    stored: Tensor = values.coalesce().values() if values.is_sparse else values
    return stored.detach()


def direction(gradient: Tensor) -> Tensor:
    """Some numbers of a gradient, at fixed positions, to compare the next one with."""
    flat = to_dense(gradient).reshape(-1)
    return flat[:: max(1, len(flat) // COORDINATES)].clone()


def compute_norm(way: Tensor) -> Tensor:
    """Euclidean length, (); of half types in float32."""
    kind = torch.float64 if way.dtype == torch.float64 else torch.float32
    length: Tensor = torch.linalg.vector_norm(way, dtype=kind)
    return length


def along(gradient: Tensor, way: Tensor) -> Tensor:
    """How far a way goes along a gradient, (): their dot product."""
    if gradient.is_sparse:
        gradient = gradient.to_dense()
    kind = torch.float64 if way.dtype == torch.float64 else torch.float32
    if not gradient.dtype == way.dtype == kind:
        gradient, way = gradient.to(kind), way.to(kind)
    return torch.dot(gradient.reshape(-1), way.reshape(-1))


def side_by_side(numbers: Sequence[Tensor]) -> Tensor:
    """Single numbers as one tensor on the device of the first, wide where it can be."""
    device = numbers[0].device
    wide = torch.float32 if device.type == "mps" else torch.float64
    if len({(each.device, each.dtype) for each in numbers}) > 1:
        numbers = [each.to(device, wide) for each in numbers]
    return torch.stack(list(numbers)).to(wide)


def get_process_rank() -> int:
    """Which of several processes that train together this is; 0 for one alone."""
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank()
    return 0


def is_sharded(model: nn.Module) -> bool:
    """Whether parts of its parameters lie with other processes, as after `fully_shard`.

    All processes must then go through each forward pass together.
    """
    return any(hasattr(parameter, "placements") for parameter in model.parameters())


def is_flattened(model: nn.Module) -> bool:
    """Whether the older `FullyShardedDataParallel` has laid parameters end to end.

    What then bears their names are pieces without shape, or empty.
    """
    # By its name, as asking for the class would import much that nobody else needs.
    return any(type(part).__name__ == "FullyShardedDataParallel" for part in model.modules())


def find_obstacles(model: nn.Module) -> str | None:
    """Why nothing at all can be seen of a model; None where something can."""
    if is_flattened(model):
        return (
            "FullyShardedDataParallel lays parameters end to end, and hides their shapes; "
            "nothing is seen. Say torch.distributed.fsdp.fully_shard(model) instead."
        )
    own = unwrap_compiled(model)
    if not find_layers(own) and not find_weight_matrices(own, []):
        return f"no weights were found in {type(model).__name__}."
    return None


def find_hidden_parts(model: nn.Module) -> list[str]:
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
    own = unwrap_compiled(model)
    tables = [place.name for place in find_weight_matrices(own, find_layers(own))]
    if tables:
        found.append(
            f"of {_some(tables)} weights and gradients are seen, but not who answers what: they "
            "belong to no linear layer or convolution."
        )
    return found


def list_missing_arguments(
    model: nn.Module, optimizers: Sequence[Optimizer], *, judged: bool
) -> list[str]:
    """What would be seen if more had been given.

    Args:
        model: what learns.
        optimizers: those that were given.
        judged: whether there are rows to judge it by.
    """
    found = []
    moved = {each for optimizer in optimizers for each in list_parameters(optimizer)}
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


def find_layers_without_output(names: Sequence[str]) -> str:
    """That activations beside some layers react to something else, in one sentence."""
    return (
        f"the activation that the model registers after {_some(names)} reacts to something else; "
        "who fires there is not told."
    )


def _some(names: Sequence[str]) -> str:
    rest = len(names) - 3
    return ", ".join(names[:3]) + (f" and {rest} more" if rest > 0 else "")
