"""Parts: the modules of a model, gone through at each look and therefore without waste."""

from collections.abc import Collection, Iterator

from torch import nn

from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.anatomy import ACTIVATING, WEIGHTED, uncompiled
from brainnet.structure.bias import Bias
from brainnet.structure.embedding import Embedding, Embeddings
from brainnet.structure.layer import Layer
from brainnet.structure.network import Network
from brainnet.structure.weights import Weights

STEADY = {
    *(Network, Layer, Weights, Bias, ThresholdRamp, Embedding, Embeddings),
    *(nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.Flatten, nn.Unflatten),
    *WEIGHTED,
    *(kind for kind in ACTIVATING if kind is not nn.RReLU),
}
"""Modules that do in training what they do in evaluation, and draw no random numbers."""


def parts(model: nn.Module) -> Iterator[nn.Module]:
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


def is_steady(part: nn.Module) -> bool:
    """Whether a module does the same in training as in evaluation, and nobody stands in its way.

    Example:
        >>> is_steady(nn.Linear(2, 3)), is_steady(nn.Dropout(0.1))
        (True, False)
    """
    return (
        type(part) in STEADY
        # Spectral normalisation moves on at each call in training, by a hook.
        and not (part._forward_hooks or part._forward_pre_hooks or "forward" in part.__dict__)
    )


def holders(model: nn.Module, wanted: Collection[nn.Module]) -> list[nn.Module]:
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
        module._compiled_call_impl is not None or uncompiled(module) is not module
        for module in parts(model)
    )
