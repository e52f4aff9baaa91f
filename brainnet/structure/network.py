"""Network: layers one after the other, from the senses to the answer."""

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
    """Input, hidden layers, output: light, then edges, then shapes, then "squirrel!".

    The layers with weights are called `hidden_1`, `hidden_2`, … and `output`. The hidden ones end
    in the activation; the output gives its sums as they are (logits, or numbers).

    The sums are PyTorch's own: with one of its activations and the same weights, the network
    equals the `nn.Sequential` of `nn.Linear` to the last bit.

    Args:
        sizes: inputs, neurons of each hidden layer, outputs; at least two numbers.
        activation: of the hidden layers: a name of `ACTIVATIONS`, or a module, copied for each.
        bias: whether the neurons have tendencies of their own.
        embeddings: for inputs that are codes of categories, by column, how many codes there are;
            the first layer then sees what `Embeddings` makes of the inputs.
        generator: source of the initial values; PyTorch's global one where None.
        device: as in `torch.empty`.
        dtype: as in `torch.empty`.

    Raises:
        ValueError: where sizes are missing or not positive, the activation's name is unknown, or
            embeddings are asked for of columns that are not there.

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
        self.sizes = _checked(sizes)
        last = len(self.sizes) - 2
        self.embeddings: Embeddings | None = None
        if embeddings:
            self.embeddings = Embeddings(
                self.sizes[0], embeddings, generator=generator, device=device, dtype=dtype
            )
        seen = self.sizes[0] if self.embeddings is None else self.embeddings.width
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
            for depth, (inputs, neurons) in enumerate(pairwise((seen, *self.sizes[1:])))
        )

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Forget everything: fresh initial values in every layer."""
        if self.embeddings is not None:
            self.embeddings.reset_parameters(generator)
        for layer in _layers(self):
            layer.reset_parameters(generator)

    def forward(self, inputs: Tensor) -> Tensor:
        """Think: pass the signal through all layers in order."""
        signal = inputs if self.embeddings is None else self.embeddings(inputs)
        for layer in self.layers:
            signal = layer(signal)
        return signal

    def trace(self, inputs: Tensor) -> ForwardPass:
        """Think aloud: the same forward pass with every intermediate value kept.

        Shape:
            inputs: (batch, inputs)
        """
        return trace(self, inputs)

    def to_torch(self) -> nn.Sequential:
        """The same network in PyTorch's own classes, with copies of the weights.

        A plain threshold ramp becomes `nn.Hardtanh(0, 1)`, which equals it; one with a threshold,
        width or leak of its own stays what it is, and so do embeddings.
        """
        modules: list[nn.Module] = []
        if self.embeddings is not None:
            modules.append(deepcopy(self.embeddings))
        for layer in _layers(self):
            modules.append(_linear_of(layer))
            if not isinstance(layer.activation, nn.Identity):
                modules.append(_torch_activation_of(layer.activation))
        return nn.Sequential(*modules).train(self.training)

    @classmethod
    def from_torch(cls, model: nn.Sequential) -> "Network":
        """A labelled network from a plain stack of `nn.Linear` and activations, weights copied.

        In front of them there may be `Embeddings`, as `to_torch` puts them there.

        Raises:
            ValueError: where the model is something else than such a stack.
        """
        embeddings, stages = _stages(model)
        first = stages[0][0].weight
        inputs = stages[0][0].in_features if embeddings is None else embeddings.inputs
        sizes = [inputs, *(linear.out_features for linear, _ in stages)]
        network: Network = skip_init(
            cls,
            sizes,
            "identity",
            embeddings=None if embeddings is None else embeddings.codes,
            device=first.device,
            dtype=first.dtype,
        )
        network.embeddings = deepcopy(embeddings)
        for layer, (linear, activation) in zip(_layers(network), stages, strict=True):
            _take_over(linear.weight, layer.weights.value)
            if linear.bias is None:
                layer.bias = None
            elif layer.bias is not None:
                _take_over(linear.bias, layer.bias.value)
            layer.activation = deepcopy(activation)
        return network.train(model.training)

    def extra_repr(self) -> str:
        """Sizes and number of parameters."""
        count = sum(parameter.numel() for parameter in self.parameters())
        return f"{' -> '.join(map(str, self.sizes))}, {count:,} parameters"


def _layers(network: Network) -> Iterable[Layer]:
    return cast("Iterable[Layer]", network.layers)


def _checked(sizes: Sequence[int]) -> tuple[int, ...]:
    if not isinstance(sizes, Iterable):
        sizes = (sizes,)
    whole = [index(size) if _is_whole(size) else 0 for size in sizes]
    if len(whole) < 2 or min(whole) < 1:
        raise ValueError(
            "a network needs the number of inputs, of neurons in each hidden layer and of outputs, "
            f"all positive whole numbers; got {list(sizes)}. For example: Network([64, 32, 10])."
        )
    return tuple(whole)


def _is_whole(size: object) -> bool:
    """Whether this is a whole number, NumPy's among them; True and False are none."""
    return hasattr(size, "__index__") and not isinstance(size, bool)


def _linear_of(layer: Layer) -> nn.Linear:
    value = layer.weights.value
    linear: nn.Linear = skip_init(
        nn.Linear,
        layer.inputs,
        layer.neurons,
        bias=layer.bias is not None,
        device=value.device,
        dtype=value.dtype,
    )
    _take_over(value, linear.weight)
    if layer.bias is not None:
        _take_over(layer.bias.value, linear.bias)
    return linear


def _take_over(source: Tensor, target: Tensor) -> None:
    """Copy the numbers, and whether they learn."""
    target.data.copy_(source.data)
    target.requires_grad_(source.requires_grad)


def _torch_activation_of(activation: nn.Module) -> nn.Module:
    if isinstance(activation, ThresholdRamp) and activation.is_plain:
        return nn.Hardtanh(0.0, 1.0)
    return deepcopy(activation)


def _stages(
    model: nn.Sequential,
) -> tuple[Embeddings | None, list[tuple[nn.Linear, nn.Module]]]:
    """The embeddings, and pairs of a linear map and what reacts to it."""
    if not isinstance(model, nn.Sequential):
        raise ValueError(
            f"a Network is made from a torch.nn.Sequential; got {type(model).__name__}. brainnet "
            "reads any torch.nn.Module as it is: trace(model, inputs)."
        )
    stages: list[tuple[nn.Linear, nn.Module]] = []
    linears: set[nn.Module] = set()
    # Not named_children(): it tells of a module that stands in two places only once.
    modules = list(model._modules.items())
    embeddings = modules[0][1] if modules and isinstance(modules[0][1], Embeddings) else None
    for name, module in modules[embeddings is not None :]:
        if isinstance(module, nn.Linear) and module not in linears:
            if stages and stages[-1][0].out_features != module.in_features:
                raise ValueError(
                    f"the layer at {name!r} needs {module.in_features} inputs; the one before it "
                    f"gives {stages[-1][0].out_features}. Give both the same size."
                )
            linears.add(module)
            stages.append((module, nn.Identity()))
        elif (
            stages
            and isinstance(module, ACTIVATION_TYPES)
            and isinstance(stages[-1][1], nn.Identity)
        ):
            stages[-1] = (stages[-1][0], module)
        else:
            raise ValueError(
                "a Network is a stack of torch.nn.Linear, each once and with one activation at "
                f"most; got {module} at {name!r}. Take it out, or watch the model as it is: "
                "brainnet reads any torch.nn.Module."
            )
    if not stages:
        raise ValueError("a Network needs one torch.nn.Linear at least; the model has none.")
    return embeddings, stages
