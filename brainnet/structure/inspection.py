"""Anatomy: which part of any model, ours or not, is which concept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.modules import activation as torch_activations
from torch.nn.parameter import is_lazy

from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.embedding import Embedding
from brainnet.structure.layer import Layer

WEIGHTED_TYPES = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

"""PyTorch's classes whose `weight` and `bias` are weights and biases."""

ACTIVATION_TYPES: tuple[type[nn.Module], ...] = (
    ThresholdRamp,
    nn.Identity,
    *(
        getattr(torch_activations, name)
        for name in torch_activations.__all__
        if name != "MultiheadAttention"
    ),
)

"""Classes that are activation functions."""

RESCALING_TYPES = (
    nn.modules.batchnorm._BatchNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.Dropout,
)

"""Classes that may stand between a weighted sum and its activation and only rescale it."""


@dataclass(frozen=True, eq=False, slots=True)
class LayerInfo:
    """One layer with weights, wherever it stands in a model.

    Attributes:
        name: `hidden_1`, …, `output` in a network of ours, `embedding_3` for a category in its
            column 3; elsewhere the module's qualified name.
        module: the `Layer`, the `Embedding`, or PyTorch's module.
        weights: (neurons, inputs), or (channels, inputs, *kernel) of a convolution.
        bias: (neurons,), or None.
        activation: the module that reacts to its sums. Of a layer of PyTorch's it is the one that
            the model registers next, which a `forward` of somebody else's may call anywhere: it
            has reacted to these sums where it received the layer's very output, as passed on by
            those between. A place in a `ForwardPass` tells who did.
        between: the modules that such sums pass on their way to it, in order.
    """

    name: str
    module: nn.Module
    weights: Tensor
    bias: Tensor | None
    activation: nn.Module | None
    between: tuple[nn.Module, ...] = ()

    def find_parameters(self) -> tuple[Tensor, Tensor | None]:
        """The parameters that learn: weights and bias, or what pruning makes them of at each call.

        Example:
            >>> from torch.nn.utils import prune
            >>> layer = prune.l1_unstructured(nn.Linear(2, 1), "weight", amount=1)
            >>> places(layer)[0].find_parameters()[0] is layer.weight_orig
            True
        """
        pruned = {
            name.removesuffix("_orig"): parameter
            for name, parameter in self.module.named_parameters()
            if name.endswith("_orig")
        }
        weights = (pruned[name] for name in ("weights.value", "weight", "value") if name in pruned)
        bias = (pruned[name] for name in ("bias.value", "bias") if name in pruned)
        return next(weights, self.weights), next(bias, self.bias)


def find_layers(model: nn.Module) -> list[LayerInfo]:
    """All layers with weights of a model, in the order in which it registers them.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> [(place.name, place.activation) for place in places(model)]
        [('0', ReLU()), ('2', None)]
    """
    modules = list(_whole_parts(model))
    names = [module.name for _, module in modules if isinstance(module, (Layer, Embedding))]
    named_apart = len(set(names)) == len(names)
    found = []
    for position, (name, module) in enumerate(modules):
        if isinstance(module, Layer):
            bias = None if module.bias is None else module.bias.value
            label = module.name if named_apart else name
            weights = module.weights.value
            found.append(LayerInfo(label, module, weights, bias, module.activation))
        elif isinstance(module, Embedding):
            label = module.name if named_apart else name
            found.append(LayerInfo(label, module, module.value, None, None))
        elif isinstance(module, WEIGHTED_TYPES):
            label = name or type(module).__name__
            activation, between = _on_the_way(modules, position + 1)
            found.append(LayerInfo(label, module, module.weight, module.bias, activation, between))
    return found


def find_weight_matrices(model: nn.Module, layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    """What else has weights: an embedding, the matrices of a recurrent layer or of attention.

    Each is a place of its own, called like the parameter. What its module answers is more than
    these weights make of a signal, so that nothing but weights and gradients can be told of it.

    Args:
        model: any module.
        layers: its `places`, whose parameters are left out.

    Example:
        >>> model = nn.ModuleDict({"words": nn.Embedding(9, 2), "next": nn.RNN(2, 3)})
        >>> [place.name for place in matrices(model, places(model))]
        ['words', 'next.weight_ih_l0', 'next.weight_hh_l0']
    """
    told = {
        id(part)
        for layer in layers
        for part in (*layer.find_parameters(), layer.weights, layer.bias)
    }
    names = {layer.name for layer in layers}
    passed: set[int] = set()
    found: list[LayerInfo] = []
    waiting: list[tuple[tuple[str, ...], nn.Module]] = [((), model)]
    while waiting:
        path, module = waiting.pop()
        if id(module) in passed:
            continue
        passed.add(id(module))
        for own, parameter in module._parameters.items():
            if parameter is None or id(parameter) in told or is_lazy(parameter):
                continue
            if parameter.dim() > 1:
                told.add(id(parameter))
                whole = ".".join(filter(None, (*path, own)))
                short = whole.removesuffix(".weight")
                label = whole if short in names else short
                found.append(LayerInfo(label, module, parameter, None, None))
        below = [((*path, child), part) for child, part in _children(module) if part is not None]
        waiting += below[::-1]
    return found


def _children(module: nn.Module) -> Sequence[tuple[str, nn.Module | None]]:
    # Sharing the work between processes changes no name.
    if isinstance(module, nn.parallel.DistributedDataParallel):
        return [("", module.module)]
    return list(module._modules.items())


def _whole_parts(
    module: nn.Module, name: str = "", seen: set[nn.Module] | None = None
) -> Iterator[tuple[str, nn.Module]]:
    """The parts that count as one: layers with weights, each once, and leaves, each time."""
    seen = set() if seen is None else seen
    children = [(child, part) for child, part in _children(module) if part is not None]
    weighted = isinstance(module, (Layer, Embedding, *WEIGHTED_TYPES))
    if not children and not weighted:
        yield name, module  # also a second time: one activation may follow several layers
        return
    if module in seen:
        return
    seen.add(module)
    if weighted:
        yield name, module
        return
    for child_name, child in children:
        yield from _whole_parts(child, ".".join(filter(None, (name, child_name))), seen)


def _on_the_way(
    modules: Sequence[tuple[str, nn.Module]], first: int
) -> tuple[nn.Module | None, tuple[nn.Module, ...]]:
    """The activation that comes next, and what only rescales on the way to it."""
    for position in range(first, len(modules)):
        module = modules[position][1]
        if isinstance(module, ACTIVATION_TYPES):
            return module, tuple(part for _, part in modules[first:position])
        if not isinstance(module, RESCALING_TYPES):
            break
    return None, ()


def unwrap_compiled(model: nn.Module) -> nn.Module:
    """The model itself, where `torch.compile` has put one of its own around it."""
    # By its one part, as asking for the class would import the whole compiler: seconds. What
    # scripted modules keep their parts in has no `get`.
    parts = model._modules
    own = parts["_orig_mod"] if "_orig_mod" in parts else None
    return model if own is None else own
