"""Visibility: what cannot be seen of a model, in sentences."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from brainnet.observation.measures import is_readable, parameters_of
from brainnet.observation.parts import is_compiled
from brainnet.structure.anatomy import matrices, places, uncompiled


def process_rank() -> int:
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


def blind(model: nn.Module) -> str | None:
    """Why nothing at all can be seen of a model; None where something can."""
    if is_flattened(model):
        return (
            "FullyShardedDataParallel lays parameters end to end, and hides their shapes; "
            "nothing is seen. Say torch.distributed.fsdp.fully_shard(model) instead."
        )
    own = uncompiled(model)
    if not places(own) and not matrices(own, []):
        return f"no weights were found in {type(model).__name__}."
    return None


def hidden(model: nn.Module) -> list[str]:
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
    own = uncompiled(model)
    tables = [place.name for place in matrices(own, places(own))]
    if tables:
        found.append(
            f"of {_some(tables)} weights and gradients are seen, but not who answers what: they "
            "belong to no linear layer or convolution."
        )
    return found


def not_given(model: nn.Module, optimizers: Sequence[Optimizer], *, judged: bool) -> list[str]:
    """What would be seen if more had been given.

    Args:
        model: what learns.
        optimizers: those that were given.
        judged: whether there are rows to judge it by.
    """
    found = []
    moved = {each for optimizer in optimizers for each in parameters_of(optimizer)}
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


def unanswered(names: Sequence[str]) -> str:
    """That activations beside some layers react to something else, in one sentence."""
    return (
        f"the activation that the model registers after {_some(names)} reacts to something else; "
        "who fires there is not told."
    )


def _some(names: Sequence[str]) -> str:
    rest = len(names) - 3
    return ", ".join(names[:3]) + (f" and {rest} more" if rest > 0 else "")
