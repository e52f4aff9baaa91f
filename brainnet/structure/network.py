"""Network: layers applied one after the other, from the inputs to the output."""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from itertools import pairwise
from operator import index
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from brainnet import concepts
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.embedding import Embeddings
from brainnet.structure.forward_pass import ForwardPass, trace
from brainnet.structure.inspection import ACTIVATION_TYPES
from brainnet.structure.layer import Layer


class Network(nn.Module):
    """A fully connected network: input, hidden layers, output.

    The layers are named `hidden_1`, `hidden_2`, … and `output`. The hidden layers end in the
    activation function; the output layer has none (its outputs are logits or predicted values).

    With one of PyTorch's activations and the same weights, the outputs equal those of an
    `nn.Sequential` of `nn.Linear` to the last bit.

    Args:
        sizes: number of inputs, of neurons in each hidden layer, and of outputs.
        activation: activation of the hidden layers: a name in `ACTIVATIONS`, or a module, which is
            copied for each layer.
        bias: whether the neurons have biases.
        embeddings: number of codes of each categorical input, by column index; the first layer
            then receives the output of `Embeddings`.
        generator: source of the initial values; PyTorch's global one by default.
        device, dtype: as in `torch.empty`.

    Raises:
        ValueError: if sizes are missing or not positive, the name of the activation is unknown, or
            a column of `embeddings` does not exist.

    Shape:
        inputs: (batch, inputs)
        return: (batch, outputs)

    Example:
        >>> network = Network([64, 32, 10])
        >>> network(torch.zeros(5, 64)).shape
        torch.Size([5, 10])
        >>> [layer.name for layer in network.layers]
        ['hidden_1', 'output']
        >>> Network([3, 8, 2], embeddings={1: 12})(torch.tensor([[0.5, 7.0, -1.0]])).shape
        torch.Size([1, 2])
    """

    concept = concepts.LAYERS

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str | nn.Module = "threshold_ramp",
        *,
        bias: bool = True,
        embeddings: Mapping[int, int] | None = None,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.sizes = _check_sizes(sizes)
        # Outputs are logits or numbers, so the last layer has no activation.
        last = len(self.sizes) - 2
        self.embeddings: Embeddings | None = None
        width = self.sizes[0]
        if embeddings:
            self.embeddings = Embeddings(
                width, embeddings, generator=generator, device=device, dtype=dtype
            )
            width = self.embeddings.width
        self.layers = nn.ModuleList(
            Layer(
                inputs,
                neurons,
                activation if depth < last else None,
                bias=bias,
                name=f"hidden_{depth + 1}" if depth < last else "output",
                generator=generator,
                device=device,
                dtype=dtype,
            )
            for depth, (inputs, neurons) in enumerate(pairwise((width, *self.sizes[1:])))
        )

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new initial values in every layer."""
        if self.embeddings is not None:
            self.embeddings.reset_parameters(generator)
        for layer in _iterate_layers(self):
            layer.reset_parameters(generator)

    def forward(self, inputs: Tensor) -> Tensor:
        """Apply all layers in order."""
        signals = inputs if self.embeddings is None else self.embeddings(inputs)
        for layer in self.layers:
            signals = layer(signals)
        return signals

    def trace(self, inputs: Tensor) -> ForwardPass:
        """Run the same forward pass and keep every intermediate value; see `trace`.

        Shape:
            inputs: (batch, inputs)
        """
        return trace(self, inputs)

    def to_torch(self) -> nn.Sequential:
        """Convert to PyTorch's own modules, with copies of the parameters.

        A plain threshold ramp becomes the equivalent `nn.Hardtanh(0, 1)`. Other threshold ramps and
        embeddings keep their class.
        """
        modules: list[nn.Module] = []
        if self.embeddings is not None:
            modules.append(deepcopy(self.embeddings))
        for layer in _iterate_layers(self):
            modules.append(_convert_layer(layer))
            activation = layer.activation
            if isinstance(activation, ThresholdRamp) and activation.is_plain:
                modules.append(nn.Hardtanh(0.0, 1.0))
            elif not isinstance(activation, nn.Identity):
                modules.append(deepcopy(activation))
        return nn.Sequential(*modules).train(self.training)

    @classmethod
    def from_torch(cls, model: nn.Sequential) -> "Network":
        """Create a network from a stack of `nn.Linear` and activations, with copied parameters.

        The first module may be `Embeddings`, as in the result of `to_torch`.

        Raises:
            ValueError: if the model is not such a stack.
        """
        embeddings, stages = _split_stages(model)
        first = stages[0][0]
        inputs = first.in_features if embeddings is None else embeddings.inputs
        # skip_init, because drawing values that are overwritten would advance the random state.
        network: Network = skip_init(
            cls,
            [inputs, *(linear.out_features for linear, _ in stages)],
            "identity",
            embeddings=None if embeddings is None else embeddings.codes,
            device=first.weight.device,
            dtype=first.weight.dtype,
        )
        # Copies, so that training one model does not change the other.
        network.embeddings = deepcopy(embeddings)
        for layer, (linear, activation) in zip(_iterate_layers(network), stages, strict=True):
            _copy_parameter(linear.weight, layer.weights.value)
            if linear.bias is None:
                layer.bias = None
            elif layer.bias is not None:
                _copy_parameter(linear.bias, layer.bias.value)
            layer.activation = deepcopy(activation)
        return network.train(model.training)

    def extra_repr(self) -> str:
        """Sizes and number of parameters."""
        count = sum(parameter.numel() for parameter in self.parameters())
        return f"{' -> '.join(map(str, self.sizes))}, {count:,} parameters"


def _iterate_layers(network: Network) -> Iterable[Layer]:
    # nn.ModuleList does not declare the type of its items.
    return cast("Iterable[Layer]", network.layers)


def _check_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """Return the sizes as integers; those of NumPy are accepted, booleans are not."""
    values = list(sizes) if isinstance(sizes, Iterable) else [sizes]
    # True and False are integers in Python, but not sizes.
    is_valid = len(values) >= 2 and all(
        hasattr(size, "__index__") and not isinstance(size, bool) and size > 0 for size in values
    )
    if not is_valid:
        raise ValueError(
            "a network needs the number of inputs, of neurons in each hidden layer and of outputs, "
            f"all positive whole numbers; got {values}. For example: Network([64, 32, 10])."
        )
    return tuple(map(index, values))


def _convert_layer(layer: Layer) -> nn.Linear:
    value, has_bias = layer.weights.value, layer.bias is not None
    # skip_init, because drawing values that are overwritten would advance the random state.
    linear: nn.Linear = skip_init(
        nn.Linear, layer.inputs, layer.neurons, has_bias, device=value.device, dtype=value.dtype
    )
    _copy_parameter(value, linear.weight)
    if layer.bias is not None:
        _copy_parameter(layer.bias.value, linear.bias)
    return linear


def _copy_parameter(source: Tensor, target: Tensor) -> None:
    target.data.copy_(source.data)
    target.requires_grad_(source.requires_grad)


def _split_stages(
    model: nn.Sequential,
) -> tuple[Embeddings | None, list[tuple[nn.Linear, nn.Module]]]:
    """Split a stack into its embeddings and pairs of a linear layer and its activation."""
    if not isinstance(model, nn.Sequential):
        raise ValueError(
            f"from_torch needs a torch.nn.Sequential; got {type(model).__name__}. Other models can "
            "be used as they are: trace(model, inputs)."
        )
    # Not named_children(), which lists a module that is used twice only once.
    # Not children(), which lists a module that is used twice only once.
    modules = list(model._modules.values())
    embeddings = modules[0] if modules and isinstance(modules[0], Embeddings) else None
    stages: list[tuple[nn.Linear, nn.Module]] = []
    for module in modules[embeddings is not None :]:
        # A tied layer has one set of weights, which a Network cannot represent.
        if isinstance(module, nn.Linear) and all(module is not known for known, _ in stages):
            if stages and stages[-1][0].out_features != module.in_features:
                raise ValueError(
                    f"{module} needs {module.in_features} inputs; the layer before it has "
                    f"{stages[-1][0].out_features} outputs."
                )
            stages.append((module, nn.Identity()))
            continue
        has_no_activation = stages and isinstance(stages[-1][1], nn.Identity)
        if not isinstance(module, ACTIVATION_TYPES) or not has_no_activation:
            stages = []
            break
        stages[-1] = (stages[-1][0], module)
    if not stages:
        raise ValueError(
            "from_torch needs a stack of different torch.nn.Linear modules, each followed by at "
            f"most one activation; got {model}. Other models can be used as they are: "
            "trace(model, inputs)."
        )
    return embeddings, stages
