"""Forward pass: all layers applied in order, with every intermediate value kept."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial

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

_MAX_PRINTED = 8


@dataclass(eq=False, slots=True)
class LayerPass:
    """Values of one layer for one batch.

    Attributes:
        info: the layer, with the activation that was applied in this pass.
        inputs: inputs of the layer, (batch, inputs).
        pre_activation: weighted sums plus biases, z, (batch, neurons).
        output: outputs of the neurons, (batch, neurons).
    """

    info: LayerInfo
    inputs: Tensor
    pre_activation: Tensor
    output: Tensor

    @property
    def name(self) -> str:
        """The name of the layer."""
        return self.info.name

    def __str__(self) -> str:
        """Pre-activations and outputs of the first row."""
        neurons = self.pre_activation.shape[-1]
        lines = [
            f"{self.name} ({neurons} neurons)",
            f"  pre-activation {_format_row(self.pre_activation)}",
        ]
        if self.output is not self.pre_activation:
            lines.append(f"  output         {_format_row(self.output)}")
        return "\n".join(lines)


@dataclass(frozen=True, eq=False, slots=True)
class ForwardPass:
    """All values of one forward pass, from the inputs to the output, still differentiable.

    Attributes:
        model: the model that was run.
        inputs: inputs of the model, (batch, inputs).
        layers: values of each layer with weights, in the order of execution.
        output: output of the model, (batch, outputs).
    """

    concept = concepts.FORWARD_PASS

    model: nn.Module
    inputs: Tensor
    layers: tuple[LayerPass, ...]
    output: Tensor

    def __str__(self) -> str:
        """Values of the first row, layer by layer."""
        rows = len(self.inputs) if self.inputs.ndim > 1 else 1
        title = "1 row" if rows == 1 else f"{rows} rows, the first"
        lines = [f"forward pass of {title}:", f"inputs           {_format_row(self.inputs)}"]
        lines += [*map(str, self.layers), f"output           {_format_row(self.output)}"]
        return "\n".join(lines)

    __repr__ = __str__


def trace(model: nn.Module, inputs: Tensor) -> ForwardPass:
    """Run a model once and keep the inputs, pre-activations and outputs of each layer.

    Works with any model. A layer is a `Layer`, or a `torch.nn.Linear` or convolution together with
    the normalization and the activation that receive its output. The model is not changed. A
    compiled model is run without its compiled code.

    Args:
        model: the model; it stays in its mode (training or evaluation).
        inputs: inputs of the model, (batch, …).

    Raises:
        ValueError: if no layer with weights was called.

    Example:
        >>> forward_pass = trace(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.zeros(1, 4))
        >>> forward_pass.layers[0].pre_activation.shape
        torch.Size([1, 3])
    """
    # Compiled code calls no new hooks.
    model = unwrap_compiled(model)
    passes: list[LayerPass] = []
    with ExitStack() as stack:
        stack.enter_context(_run_uncompiled(model))
        # Layers first: PyTorch calls hooks in the order of registration.
        for layer in find_layers(model):
            _record_calls(layer, passes, stack)
        follow = partial(_assign_to_layer, passes)
        for module in model.modules():
            if isinstance(module, (*ACTIVATION_TYPES, *RESCALING_TYPES)):
                stack.callback(module.register_forward_hook(follow).remove)
        output = model(inputs)
    if not passes:
        raise ValueError(
            "tracing a forward pass needs layers with weights (Layer, torch.nn.Linear, "
            f"convolutions); none were called in {type(model).__name__}."
        )
    return ForwardPass(model, inputs, tuple(passes), output)


def _record_calls(layer: LayerInfo, passes: list[LayerPass], stack: ExitStack) -> None:
    """Append each call of a layer to the passes until the stack is closed."""
    pre_activations: list[Tensor] = []
    # A `Layer` computes pre-activation and output in one call; its activation receives the former.
    is_brainnet_layer = isinstance(layer.module, Layer)
    if isinstance(layer.module, Layer):
        before = layer.module.activation.register_forward_pre_hook(
            lambda _module, inputs: pre_activations.append(inputs[0])
        )
        stack.callback(before.remove)

    def record(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if is_brainnet_layer:
            passes.append(LayerPass(layer, inputs[0], pre_activations.pop(), output))
        else:
            # The activation is not known until a module receives this output.
            info = replace(layer, activation=None)
            passes.append(LayerPass(info, inputs[0], output, output))

    stack.callback(layer.module.register_forward_hook(record).remove)


def _assign_to_layer(
    passes: list[LayerPass], module: nn.Module, inputs: tuple[object, ...], output: Tensor
) -> None:
    """Assign a called normalization or activation to the layer whose output it received."""
    for layer in passes:
        # Identity, not equality: only the very output of a layer belongs to it.
        has_no_activation = layer.output is layer.pre_activation
        if has_no_activation and inputs and inputs[0] is layer.output:
            layer.output = output
            if isinstance(module, RESCALING_TYPES):
                layer.pre_activation = output
            else:
                layer.info = replace(layer.info, activation=module)


@contextmanager
def _run_uncompiled(model: nn.Module) -> Iterator[None]:
    """Run the modules without compiled code, and without overwriting their inputs.

    Compiled code does not call new hooks; `nn.ReLU(inplace=True)` would overwrite pre-activations.
    """
    with ExitStack() as stack:
        for module in model.modules():
            for name in ("_compiled_call_impl", "inplace"):
                if value := getattr(module, name, None):
                    stack.callback(setattr, module, name, value)
                    setattr(module, name, None if name == "_compiled_call_impl" else False)
        yield


def _format_row(values: Tensor) -> str:
    """Format the first row of a batch as numbers of fixed width."""
    if values.numel() == 0:
        return "(empty)"
    row = values.detach().reshape(-1, values.shape[-1])[0].to("cpu", torch.float64)
    numbers = " ".join(f"{value:7.3f}" for value in row[:_MAX_PRINTED].tolist())
    return numbers + (f"  … ({len(row)} in total)" if len(row) > _MAX_PRINTED else "")
