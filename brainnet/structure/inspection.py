"""Inspection: which part of a model, whether brainnet's or not, implements which concept."""

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.modules import activation as torch_activations
from torch.nn.parameter import is_lazy

from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.embedding import Embedding
from brainnet.structure.layer import Layer

WEIGHTED_TYPES = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""PyTorch modules whose `weight` and `bias` are the weights and biases of a layer."""

ACTIVATION_TYPES: tuple[type[nn.Module], ...] = (
    ThresholdRamp,
    nn.Identity,
    *(
        getattr(torch_activations, name)
        for name in torch_activations.__all__
        if name != "MultiheadAttention"
    ),
)
"""Modules that are activation functions."""

RESCALING_TYPES = (
    nn.modules.batchnorm._BatchNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.Dropout,
)
"""Modules that may be placed between a layer and its activation, because they only rescale."""


@dataclass(frozen=True, eq=False, slots=True)
class LayerInfo:
    """One layer of a model that has weights.

    The name is `hidden_1`, …, `output` in a `Network`, `embedding_3` for the categories of input
    column 3, and the qualified name of the module in other models. Weights are (neurons, inputs),
    or (channels, inputs, *kernel) of a convolution; the bias is (neurons,), or None.

    For a PyTorch layer, `activation` is the activation module registered next, which is a guess:
    `forward` may call the modules in another order. The `info` of a `LayerPass` holds the
    activation that was really applied. `between` are the rescaling modules before the activation,
    in order.
    """

    name: str
    module: nn.Module
    weights: Tensor
    bias: Tensor | None
    activation: nn.Module | None
    between: tuple[nn.Module, ...] = ()

    def find_parameters(self) -> tuple[Tensor, Tensor | None]:
        """Return the trained tensors of weights and bias; pruning keeps them as `…_orig`."""
        # Pruning moves the trained tensor to `name_orig` and recomputes `name` in every call.
        pruned = {
            name.removesuffix("_orig"): parameter
            for name, parameter in self.module.named_parameters()
            if name.endswith("_orig")
        }
        weights = (pruned[name] for name in ("weights.value", "weight", "value") if name in pruned)
        bias = (pruned[name] for name in ("bias.value", "bias") if name in pruned)
        return next(weights, self.weights), next(bias, self.bias)


class ModelInspection:
    """The modules, layers and further weight matrices of one model, without compiled wrappers.

    Collected in one traversal, because traversing a large model costs more than a small step.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = unwrap_compiled(model)
        self.modules = list(self.model.modules())
        self.layers = find_layers(self.model)
        self.matrices = find_weight_matrices(self.model, self.layers)
        # The parts themselves, not their ids, which Python reuses for new objects.
        self._parts = [_list_parts(module) for module in self.modules]

    def is_current(self) -> bool:
        """Whether no module or parameter was added, removed or replaced since the inspection."""
        return all(
            len(parts) == len(module._modules) + len(module._parameters)
            and all(map(operator.is_, parts, _list_parts(module)))
            for module, parts in zip(self.modules, self._parts, strict=True)
        )


def _list_parts(module: nn.Module) -> list[object]:
    return [*module._modules.values(), *module._parameters.values()]


def find_layers(model: nn.Module) -> list[LayerInfo]:
    """Find the layers with weights of any model, in the order of registration.

    A layer that is registered twice is listed once.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> [(layer.name, layer.activation) for layer in find_layers(model)]
        [('0', ReLU()), ('2', None)]
    """
    modules = list(_iterate_leaves(model))
    names = [module.name for _, module in modules if isinstance(module, (Layer, Embedding))]
    # Two networks in one model, for example, both have a layer `output`.
    has_unique_names = len(set(names)) == len(names)
    layers = []
    for position, (path, module) in enumerate(modules):
        weights: Tensor
        bias: Tensor | None = None
        activation: nn.Module | None = None
        between: tuple[nn.Module, ...] = ()
        if isinstance(module, Layer):
            bias = None if module.bias is None else module.bias.value
            weights, activation = module.weights.value, module.activation
        elif isinstance(module, Embedding):
            weights = module.value
        elif isinstance(module, WEIGHTED_TYPES):
            weights, bias = module.weight, module.bias
            activation, between = _find_activation(modules, position + 1)
        else:
            continue
        name = path or type(module).__name__
        if has_unique_names and isinstance(module, (Layer, Embedding)):
            name = module.name
        layers.append(LayerInfo(name, module, weights, bias, activation, between))
    return layers


def find_weight_matrices(model: nn.Module, layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    """Find weight matrices outside of the layers, such as those of embeddings and attention.

    Each parameter of two or more dimensions gives one item, named after it. Only its values and
    gradients can be observed: the output of its module is not its product with the input.
    """
    known = {id(part) for layer in layers for part in (*layer.find_parameters(), layer.weights)}
    layer_names = {layer.name for layer in layers}
    matrices = []
    model = _unwrap_distributed(model)
    for path, module in model.named_modules():
        for name, parameter in module._parameters.items():
            # Tied parameters are listed once, under their first name.
            if parameter is None or is_lazy(parameter) or id(parameter) in known:
                continue
            if parameter.dim() < 2:
                continue
            known.add(id(parameter))
            full_name = ".".join(filter(None, (path, name)))
            short_name = full_name.removesuffix(".weight")
            unique_name = full_name if short_name in layer_names else short_name
            matrices.append(LayerInfo(unique_name, module, parameter, None, None))
    return matrices


def _iterate_leaves(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the path and module of layers, each once, and of modules without children.

    Modules without children are yielded each time, as one activation may follow several layers.
    """
    # Also protects against modules that contain themselves.
    visited: set[nn.Module] = set()

    def walk(path: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        children = [(name, part) for name, part in module._modules.items() if part is not None]
        has_weights = isinstance(module, (Layer, Embedding, *WEIGHTED_TYPES))
        if not children and not has_weights:
            yield path, module
        elif module not in visited:
            visited.add(module)
            if has_weights:
                yield path, module
            else:
                for name, child in children:
                    yield from walk(f"{path}.{name}" if path else name, child)

    return walk("", _unwrap_distributed(model))


def _find_activation(
    modules: Sequence[tuple[str, nn.Module]], start: int
) -> tuple[nn.Module | None, tuple[nn.Module, ...]]:
    """Return the activation that follows a layer, and the rescaling modules before it."""
    between: list[nn.Module] = []
    for _, module in modules[start:]:
        if isinstance(module, ACTIVATION_TYPES):
            return module, tuple(between)
        if not isinstance(module, RESCALING_TYPES):
            break
        between.append(module)
    return None, ()


def unwrap_compiled(model: nn.Module) -> nn.Module:
    """Return the original model of the module that `torch.compile` wraps around it."""
    # `isinstance(model, OptimizedModule)` would import the compiler, which takes seconds.
    if "_orig_mod" in model._modules:
        return model.get_submodule("_orig_mod")
    return model


def _unwrap_distributed(model: nn.Module) -> nn.Module:
    # Names of layers must not depend on whether training is distributed.
    return model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
