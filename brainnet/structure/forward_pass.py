"""Forward pass: thinking; the signal goes in, the answer comes out, and nothing is learned yet."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from brainnet import concepts
from brainnet.structure.inspection import (
    ACTIVATION_TYPES,
    RESCALING_TYPES,
    LayerInfo,
    find_layers,
    unwrap_compiled,
)
from brainnet.structure.layer import Layer

SHOWN = 8  # numbers of one line in a print-out


@dataclass(eq=False, slots=True)
class LayerPass:
    """What one layer did with one batch.

    Attributes:
        info: the layer, with the activation that reacted in this very pass.
        inputs: the signals that arrived, (batch, inputs).
        pre_activation: the weighted sums plus biases, z, (batch, neurons).
        output: what the neurons answered, (batch, neurons).
    """

    info: LayerInfo
    inputs: Tensor
    pre_activation: Tensor
    output: Tensor

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.info.name

    def __str__(self) -> str:
        """Sums and answers of the first row."""
        neurons = self.pre_activation.shape[-1]
        reacts = self.output is not self.pre_activation
        lines = [f"{self.name} ({neurons} neurons)", f"  sum      {_row(self.pre_activation)}"]
        return "\n".join([*lines, f"  reaction {_row(self.output)}"] if reacts else lines)


@dataclass(frozen=True, eq=False, slots=True)
class ForwardPass:
    """One forward_pass: every intermediate value from the input to the answer, still differentiable.

    Attributes:
        model: who forward_pass.
        inputs: what it was shown, (batch, inputs).
        layers: what each layer with weights did, in order.
        output: the answer, (batch, outputs).
    """

    concept = concepts.FORWARD_PASS

    model: nn.Module
    inputs: Tensor
    layers: tuple[LayerPass, ...]
    output: Tensor

    def __str__(self) -> str:
        """The first row's numbers, layer by layer."""
        rows = len(self.inputs) if self.inputs.ndim > 1 else 1
        title = f"forward pass of {rows} row{'s' * (rows != 1)}" + (
            "; the first row:" if rows != 1 else ":"
        )
        lines = [title, f"inputs     {_row(self.inputs)}", *map(str, self.layers)]
        return "\n".join([*lines, f"answer     {_row(self.output)}"])

    __repr__ = __str__


def trace(model: nn.Module, inputs: Tensor) -> ForwardPass:
    """Run a model once and keep what each of its layers received, summed up and answered.

    Works on any model: a layer is a `Layer` of ours, or a `torch.nn.Linear` or convolution with
    the normalisation and the activation that receive its very output. The model is left as it was;
    one that is compiled is traced as it was written.

    Args:
        model: the model; it stays in its mode (training or evaluation).
        inputs: what it takes, (batch, …).

    Raises:
        ValueError: where the model has no layer with weights that took part.

    Example:
        >>> forward_pass = trace(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.zeros(1, 4))
        >>> forward_pass.layers[0].pre_activation.shape
        torch.Size([1, 3])
    """
    model = unwrap_compiled(model)
    recorder = _Recorder()
    with ExitStack() as stack:
        stack.enter_context(_out_of_place(model))
        stack.enter_context(_as_written(model))
        for place in find_layers(model):
            recorder.attach(place, stack)
        for module in model.modules():
            if isinstance(module, (*ACTIVATION_TYPES, *RESCALING_TYPES)):
                stack.callback(module.register_forward_hook(recorder.follow).remove)
        output = model(inputs)
    if not recorder.calls:
        raise ValueError(
            "a forward pass is traced through layers with weights (Layer, torch.nn.Linear, "
            f"convolutions); none of {type(model).__name__} took part. Trace a model that has some."
        )
    return ForwardPass(model, inputs, tuple(recorder.calls), output)


@dataclass
class _Recorder:
    """Collects the calls of the layers while the model runs."""

    calls: list[LayerPass] = field(default_factory=list)
    _sums: list[Tensor] = field(default_factory=list)  # of `Layer`s whose call has not ended yet

    def attach(self, place: LayerInfo, stack: ExitStack) -> None:
        """Listen to one layer until the stack closes."""
        if isinstance(place.module, Layer):
            before = place.module.activation.register_forward_pre_hook(
                lambda _module, signals: self._sums.append(signals[0])
            )
            stack.callback(before.remove)
        hook = place.module.register_forward_hook(self._recording(place))
        stack.callback(hook.remove)

    def _recording(
        self, place: LayerInfo
    ) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def record(_module: nn.Module, signals: tuple[Tensor, ...], output: Tensor) -> None:
            ours = isinstance(place.module, Layer)
            total = self._sums.pop() if ours else output
            own = place if ours else replace(place, activation=None)  # until one has reacted
            self.calls.append(LayerPass(own, signals[0], total, output))

        return record

    def follow(self, module: nn.Module, signals: tuple[object, ...], output: Tensor) -> None:
        """Carry a layer's sums on through the normalisation and the activation behind it."""
        for call in self.calls:
            unanswered = call.output is call.pre_activation
            if unanswered and signals and signals[0] is call.output:
                call.output = output
                if isinstance(module, RESCALING_TYPES):
                    call.pre_activation = output
                else:
                    call.info = replace(call.info, activation=module)


@contextmanager
def _out_of_place(model: nn.Module) -> Iterator[None]:
    """Have modules such as `nn.ReLU(inplace=True)` leave the sums as they were for a while."""
    switched = [module for module in model.modules() if getattr(module, "inplace", False)]
    for module in switched:
        module.inplace = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for module in switched:
            module.inplace = True  # type: ignore[assignment]


@contextmanager
def _as_written(model: nn.Module) -> Iterator[None]:
    """Run compiled modules as they are written for a while: compiled code calls no new hook."""
    compiled = [(module, module._compiled_call_impl) for module in model.modules()]
    for module, _ in compiled:
        module._compiled_call_impl = None
    try:
        yield
    finally:
        for module, call in compiled:
            module._compiled_call_impl = call


def _row(values: Tensor) -> str:
    """The first row of a batch as numbers in fixed width."""
    if values.numel() == 0:
        return "nothing"
    row = values.detach().reshape(-1, values.shape[-1])[0].to("cpu", torch.float64)
    numbers = " ".join(f"{value:7.3f}" for value in row[:SHOWN].tolist())
    return numbers + (f"  … ({len(row)} in all)" if len(row) > SHOWN else "")
