"""Layer statistics: pre-activations, outputs and deltas of one layer during an observed step."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from brainnet.kernels.statistics import STATISTICS_DTYPES, compute_statistics
from brainnet.kernels.threshold_ramp import threshold_ramp
from brainnet.observation.hooks import Action
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.inspection import ACTIVATION_TYPES, LayerInfo
from brainnet.structure.layer import Layer

SATURATED_SLOPE = 0.1
"""A neuron is saturated if its mean slope is below this share of the largest possible slope."""

CONVOLUTION_TYPES = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

# Activations without a slope per neuron, or whose evaluation draws random numbers.
_UNMEASURED_TYPES = (
    *(nn.Identity, nn.RReLU, nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.Softmin, nn.GLU),
)
_MEASURED_TYPES = tuple(kind for kind in ACTIVATION_TYPES if kind not in _UNMEASURED_TYPES)
_LARGEST_SLOPES = {nn.Sigmoid: 1 / 4, nn.Hardsigmoid: 1 / 6}  # 1, or about 1, for all others


def group_by_neuron(values: Tensor, module: nn.Module) -> Tensor:
    """Reshape values of a layer to one column per neuron, or per channel of a convolution."""
    channel = -1 - len(module.kernel_size) if isinstance(module, CONVOLUTION_TYPES) else -1
    return values.movedim(channel, -1).flatten(0, -2) if values.ndim > 1 else values[None]


def compute_slope(activation: nn.Module | None, sums: Tensor) -> Tensor | None:
    """Compute the slope of an activation at each sum, relative to its largest possible slope.

    It is None if the activation has no slope per neuron.
    """
    if not isinstance(activation, _MEASURED_TYPES):
        return None
    with torch.enable_grad(), _bypass_saved_tensor_hooks():
        inputs = sums.detach().requires_grad_()
        if isinstance(activation, ThresholdRamp):
            # Its function, because the module may count its calls. Its largest slope is 1 / width.
            parameters = activation.threshold, activation.width, activation.leak
            outputs = activation.width * threshold_ramp(inputs, *parameters)
        else:
            # A clone, because it may work in place; `forward` skips the module's hooks.
            outputs = activation.forward(inputs.clone())
        (slopes,) = torch.autograd.grad(outputs.sum(), inputs)
    return slopes.abs() / _LARGEST_SLOPES.get(type(activation), 1.0)


def _bypass_saved_tensor_hooks() -> AbstractContextManager[object]:
    """Hide saved tensors from the user's hooks, such as those of activation checkpointing."""
    # If such hooks are disabled, there are none to bypass, and adding one would raise.
    disabled = torch._C._autograd._saved_tensors_hooks_get_disabled_error_message()
    if disabled is not None:
        return nullcontext()
    return saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor)


@dataclass(slots=True)
class CurrentLayer:
    """The `LayerStatistics` of the layer of a model that was called last."""

    statistics: object = None


class LayerStatistics:
    """Statistics of one layer over all forward and backward passes of one step.

    `tables` are statistics of outputs and sums, and `totals` are sums over the rows, (neurons,).
    Without an activation module, outputs are sums, and firing rates are not measured. An activation
    belongs to this layer if its input is the output of the layer, possibly rescaled, or was
    computed before another layer was called. `current` is shared by all layers of the model.
    """

    def __init__(
        self,
        info: LayerInfo,
        *,
        full: bool,
        wrap: Callable[[Action], Callable[..., None]],
        current: CurrentLayer | None = None,
    ) -> None:
        self.info = info
        self.tables: dict[str, Tensor] = {}
        self.totals: dict[str, Tensor] = {}
        self.is_activation_missing = False
        self._full, self._wrap = full, wrap
        self._current = current or CurrentLayer()
        self._has_activation = not isinstance(info.activation, (nn.Identity, type(None)))
        self._was_activated = False
        self._rows = 0
        # The layer's output before the activation, with the version that detects in-place changes.
        self._sums: tuple[Tensor, int] | None = None
        self._awaited = ""  # "sums" or "outputs" during a forward pass with gradients
        # The slope of a ramp without leak follows from its output.
        self._is_plain_ramp = (
            isinstance(info.activation, ThresholdRamp) and not info.activation.leak
        )

    def register(self) -> list[Any]:
        """Register the hooks and return their handles."""
        module, activation = self.info.module, self.info.activation
        handles = [module.register_forward_pre_hook(self._wrap(self._start))]
        if activation is None or not self._has_activation:
            hook = self._wrap(self._record_without_activation)
            return [*handles, module.register_forward_hook(hook)]
        # A `Layer` always calls its own activation on its sums.
        if not isinstance(module, Layer):
            handles.append(module.register_forward_hook(self._wrap(self._follow)))
            follow = self._wrap(self._follow_rescaling)
            between = dict.fromkeys(self.info.between)
            handles += [part.register_forward_hook(follow) for part in between]
        handles.append(activation.register_forward_pre_hook(self._wrap(self._record_sums)))
        handles.append(activation.register_forward_hook(self._wrap(self._record_outputs)))
        return handles

    def collect(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the tables and the totals by quantity, on the device."""
        self._record_unactivated()
        tables, totals = dict(self.tables), dict(self.totals)
        if "delta" in totals:
            tables["delta"] = compute_statistics([totals.pop("delta")])
        return tables, totals

    def compute_shares(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """Compute firing rate, silent and saturated share from a copy of the totals on the CPU."""
        rows = max(self._rows, 1)
        shares = {}
        if "positive" in arrays:
            shares["firing_rate"] = float((arrays["positive"] / rows).mean())
            shares["silent"] = float((arrays["nonzero"] == 0).mean())
        if "slopes" in arrays:
            shares["saturated"] = float((arrays["slopes"] / rows < SATURATED_SLOPE).mean())
        return shares

    def _start(self, _module: nn.Module, _inputs: object) -> None:
        self._record_unactivated()
        self._current.statistics = self
        # A function transform runs the layer on tensors that stand for many.
        is_training = torch.is_grad_enabled() and not torch._C._are_functorch_transforms_active()
        self._awaited = "sums" if is_training else ""

    def _follow(self, _module: nn.Module, _inputs: object, output: object) -> None:
        if self._awaited == "sums" and isinstance(output, Tensor) and not output.is_inference():
            self._sums = output, output._version

    def _follow_rescaling(
        self, module: nn.Module, inputs: tuple[object, ...], output: object
    ) -> None:
        if self._sums is not None and inputs and inputs[0] is self._sums[0]:
            self._follow(module, inputs, output)

    def _record_unactivated(self) -> None:
        """Record sums that no activation module was applied to as outputs."""
        followed, self._sums = self._sums, None
        if self._awaited == "sums" and followed is not None:
            self.is_activation_missing = not self._was_activated
            sums, version = followed
            # A functional activation may have overwritten them.
            if sums._version == version:
                self._add_statistics("outputs", sums.detach())

    def _record_sums(self, _module: nn.Module, inputs: tuple[object, ...]) -> None:
        """Pre-hook of the activation: register for the delta, and compute the slopes."""
        sums = inputs[0] if inputs else None
        if self._awaited != "sums" or not isinstance(sums, Tensor):
            return
        # An activation that several layers share is called for each of them.
        is_own = self._sums is not None and sums is self._sums[0]
        if not is_own and self._current.statistics is not self:
            return
        self._awaited, self._sums = "outputs", None
        if self._full and sums.requires_grad:
            sums.register_hook(self._wrap(self._record_delta))
        sums = sums.detach()
        if self._full:
            self._add_statistics("sums", sums)
        slopes = None if self._is_plain_ramp else compute_slope(self.info.activation, sums)
        if slopes is not None:
            self._add_total("slopes", slopes)

    def _record_outputs(self, _module: nn.Module, _inputs: object, outputs: object) -> None:
        """Hook of the activation: count the neurons that fire."""
        if self._awaited != "outputs" or not isinstance(outputs, Tensor):
            return
        self._awaited = ""
        self._was_activated, self.is_activation_missing = True, False
        outputs = outputs.detach()
        self._add_statistics("outputs", outputs)
        if self._has_activation:
            self._rows += self._add_total("positive", outputs > 0)
            self._add_total("nonzero", outputs != 0)
        if self._is_plain_ramp:
            self._add_total("slopes", (outputs > 0) & (outputs < 1))

    def _record_without_activation(self, module: nn.Module, inputs: object, output: object) -> None:
        self._record_sums(module, (output,))
        self._record_outputs(module, inputs, output)

    @torch.no_grad()
    def _record_delta(self, delta: Tensor) -> None:
        self._add_total("delta", delta.abs())

    def _add_statistics(self, name: str, values: Tensor) -> None:
        if values.dtype in STATISTICS_DTYPES and values.layout == torch.strided:
            self.tables[name] = compute_statistics([values], into=self.tables.get(name))

    def _add_total(self, name: str, values: Tensor) -> int:
        """Add values to a total per neuron and return the number of rows."""
        columns = group_by_neuron(values, self.info.module)
        # MPS has no float64.
        dtype = torch.float32 if columns.device.type == "mps" else torch.float64
        total = columns.sum(dim=0, dtype=dtype)
        self.totals[name] = self.totals[name] + total if name in self.totals else total
        return len(columns)
