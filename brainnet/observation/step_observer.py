"""Step observer: measures one optimizer step of any model without changing its results."""

from collections.abc import Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from brainnet.kernels.statistics import compute_statistics
from brainnet.observation.capabilities import ObservedModel, is_readable
from brainnet.observation.hooks import Action, Hook, StepTimer
from brainnet.observation.layer_statistics import CurrentLayer, LayerStatistics
from brainnet.observation.pending_reading import AsyncTransfer, PendingReading, StatKey, TensorKey
from brainnet.observation.reading import Reading
from brainnet.observation.tags import Level

_MAX_COORDINATES = 4096  # of a gradient, kept for the cosine with the next one


class StepObserver:
    """Measures one optimizer step: forward and backward passes, gradients and update.

    Create it before the first forward pass. Call `measure_gradients` right before and
    `measure_changes` right after the optimizer step, and `finish` at the end. It keeps no
    activations, draws no random numbers and never waits for the device. An exception in a hook is
    raised in `finish`, never inside the forward pass.

    `loss`, `loss_before` (of some rows, to compare with that after the step) and `learning_rate`
    are set by the caller. While `is_paused`, forward and backward passes are ignored.
    """

    def __init__(
        self,
        known: ObservedModel,
        *,
        level: Level = "light",
        previous: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.loss: Tensor | None = None
        self.loss_before: Tensor | None = None
        self.learning_rate: float | None = None
        self.directions: dict[str, Tensor] = {}
        self.is_paused = False
        self._is_full = level == "full"
        self._previous = previous or {}
        current, layers = CurrentLayer(), known.inspection.layers
        self._all_layers = [
            LayerStatistics(info, full=self._is_full, wrap=self.wrap, current=current)
            for info in (*layers, *known.inspection.matrices)
        ]
        # Only weights and gradients of the matrices are measured, without hooks.
        self.layers = self._all_layers[: len(layers)]
        self._failure: Exception | None = None
        self._handles: list[Any] = []
        self.optimizer_handles: list[Any] = []  # of hooks that `close` removes
        self._timer = StepTimer()
        self._stat_keys: list[StatKey] = []
        self._tensors: dict[TensorKey, Tensor] = {}
        self._has_measured_values = self._has_copies = False
        self._gradients: dict[Tensor, Tensor] = {}
        self._before: dict[Tensor, Tensor] = {}
        self._changed: dict[Tensor, None] = {}  # a set that keeps the order
        # A hook would be compiled into the model permanently.
        if not known.is_compiled():
            self._register_hooks(known.containers)

    def remove_hooks(self) -> None:
        """Remove the hooks on the model."""
        while self._handles:
            self._handles.pop().remove()

    def close(self) -> None:
        """End the observation; can be called repeatedly."""
        # Hooks on tensors stay until these are freed.
        self.is_paused = True
        self.remove_hooks()
        while self.optimizer_handles:
            self.optimizer_handles.pop().remove()
        self._gradients.clear()
        self._before.clear()

    def raise_failure(self) -> None:
        """Raise the first exception in a hook."""
        if self._failure is not None:
            raise self._failure

    @property
    def has_forward_pass(self) -> bool:
        """Whether a forward pass with gradients was observed."""
        return self._timer.forward_seconds is not None

    @property
    def has_update(self) -> bool:
        """Whether an optimizer step was observed."""
        return bool(self._changed)

    def _register_hooks(self, containers: Sequence[nn.Module]) -> None:
        # The timer is outermost: its pre-hooks come first and its hooks last.
        start = self.wrap(self._timer.start_forward)
        stop = self.wrap(self._timer.stop_forward)
        self._handles += [module.register_forward_pre_hook(start) for module in containers]
        for layer in self.layers:
            self._handles += layer.register()
        self._handles += [
            module.register_forward_hook(stop, always_call=True) for module in containers
        ]

    def wrap(self, action: Action) -> Hook:
        """Return a hook whose exceptions are kept for `raise_failure`."""
        return Hook(self._run_hook, action)

    def _run_hook(self, action: Action, arguments: tuple[Any, ...]) -> None:
        """Run an action; keep its exception, and keep its duration out of the timer."""
        if self._failure is not None or self.is_paused:
            return
        started = perf_counter()
        try:
            action(*arguments)
        except Exception as error:
            self._failure = error
        self._timer.excluded_seconds += perf_counter() - started

    @torch.no_grad()
    def copy_parameters(self, parameters: Iterable[nn.Parameter]) -> None:
        """Copy the parameters now, for steps whose gradients are computed later."""
        self._measure({})
        trained = [part for part in parameters if part.requires_grad and is_readable(part)]
        self._before |= {parameter: parameter.clone() for parameter in trained}
        self._has_copies = True

    @torch.no_grad()
    def measure_gradients(
        self,
        parameters: Iterable[nn.Parameter],
        scale: Tensor | None = None,
        *,
        keep_gradients: bool = False,
        divisor: Tensor | None = None,
    ) -> None:
        """Measure weights and gradients and copy the weights, right before the optimizer step.

        `scale` is a factor of mixed precision on the deltas only, and `divisor` one that is still
        on the gradients. `keep_gradients` copies gradients that may be changed during the step.
        """
        self._timer.stop_backward()
        gradients: dict[Tensor, Tensor] = {
            parameter: parameter.grad.detach() if divisor is None else parameter.grad / divisor
            for parameter in parameters
            if parameter.grad is not None
            and parameter not in self._gradients
            and is_readable(parameter)
        }
        self._measure(gradients)
        for parameter, gradient in gradients.items():
            self._gradients[parameter] = gradient.clone() if keep_gradients else gradient
            if not self._has_copies:
                self._before[parameter] = parameter.clone()
        if scale is not None:
            for layer in self.layers:
                if "delta" in layer.totals:
                    layer.totals["delta"] /= scale.to(layer.totals["delta"])
        self._timer.start_update()

    def _measure(self, gradients: Mapping[Tensor, Tensor]) -> None:
        """Compute statistics of gradients and, the first time, of all weights and biases."""
        tensors: dict[StatKey, Tensor] = {}
        if not self._has_measured_values:
            for layer in self._all_layers:
                parts = (layer.info.weights, layer.info.bias)
                tensors |= {("value", part): part for part in parts if part is not None}
            # With several optimizers, once per step.
            self._has_measured_values = True
        tensors |= {("gradient", parameter): grad for parameter, grad in gradients.items()}
        self._add_statistics(tensors)

    def _add_statistics(self, tensors: Mapping[StatKey, Tensor]) -> None:
        by_device: dict[torch.device, dict[StatKey, Tensor]] = {}
        for key, tensor in tensors.items():
            if is_readable(tensor):
                by_device.setdefault(tensor.device, {})[key] = _to_dense(tensor)
        for rows in by_device.values():
            self._add_table(list(rows), compute_statistics(list(rows.values())))

    def _add_table(self, keys: Sequence[StatKey], table: Tensor) -> None:
        self._tensors["table", len(self._stat_keys)] = table
        self._stat_keys += keys

    @torch.no_grad()
    def measure_changes(self, probe_gradients: Mapping[Tensor, Tensor] | None = None) -> None:
        """Measure the changes of the parameters and the decrease that the gradients predict.

        `probe_gradients` are those of the rows of `loss_before`, if these are not the batch.
        """
        self._timer.stop_update()
        gradients = self._gradients if probe_gradients is None else probe_gradients
        changed = [parameter for parameter in self._before if parameter not in self._changed]
        if not changed:
            return
        # Computed in place, so the changes have the opposite sign.
        changes = [self._before[parameter] for parameter in changed]
        torch._foreach_sub_(changes, [parameter.detach() for parameter in changed])
        number = len(self._changed)
        self._tensors["norms", number] = _stack([_compute_norm(change) for change in changes])
        # First-order Taylor expansion of the loss along the step: -g·Δw.
        predicted = [
            _compute_dot(gradients[parameter], change)
            for parameter, change in zip(changed, changes, strict=True)
            if parameter in gradients
        ]
        if predicted:
            key = "scalar", "predicted_decrease"
            decrease = _stack(predicted).sum()
            earlier = self._tensors.get(key, torch.zeros_like(decrease))
            self._tensors[key] = earlier.to(decrease) + decrease
        if self._is_full:
            torch._foreach_neg_(changes)
            pairs = zip(changed, changes, strict=True)
            self._add_statistics({("step", parameter): change for parameter, change in pairs})
            self._compare_directions(set(changed))
        self._changed |= dict.fromkeys(changed)
        # The copies are no longer needed.
        self._before |= {parameter: parameter.detach() for parameter in changed}

    def _compare_directions(self, changed: set[Tensor]) -> None:
        """Compute the cosines with the gradients of the previous observed step."""
        for layer in self._all_layers:
            name, gradient = layer.info.name, self._gradients.get(layer.info.weights)
            if gradient is None or layer.info.weights not in changed:
                continue
            flat = _to_dense(gradient).reshape(-1)
            direction = flat[:: max(1, len(flat) // _MAX_COORDINATES)].clone()
            self.directions[name] = direction
            previous = self._previous.get(name)
            if previous is not None and previous.shape == direction.shape:
                cosine = F.cosine_similarity(direction, previous.to(direction.device), dim=0)
                self._tensors[("cosine", layer), "gradient_cosine"] = cosine

    @torch.no_grad()
    def finish(
        self, step: int, epoch: int = 0, *, loss_after: Tensor | None = None
    ) -> PendingReading:
        """Remove the hooks and start the transfer; raises the first exception in a hook."""
        self.remove_hooks()
        self.raise_failure()
        if not self._has_measured_values:
            self._measure({})
        self.measure_changes()
        if self.loss is not None:
            # A copy, because the training loop may change it.
            self._tensors["scalar", "loss"] = self.loss.reshape(()).clone()
        if self.loss_before is not None and loss_after is not None:
            decrease = (self.loss_before - loss_after).reshape(())
            self._tensors["scalar", "actual_decrease"] = decrease
        for layer in self.layers:
            tables, totals = layer.collect()
            for quantity, table in tables.items():
                self._add_table([(quantity, layer)], table)
            for quantity, total in totals.items():
                self._tensors[layer, quantity] = total
        self.close()
        timer = self._timer
        seconds = timer.forward_seconds, timer.backward_seconds, timer.update_seconds
        reading = Reading(step, epoch, None, self.learning_rate, *seconds)
        transfer, changed = AsyncTransfer(self._tensors), list(self._changed)
        return PendingReading(reading, transfer, self._stat_keys, changed, self._all_layers)


def _to_dense(tensor: Tensor) -> Tensor:
    """The values of a tensor; the stored ones of a sparse gradient."""
    dense: Tensor = tensor.coalesce().values() if tensor.is_sparse else tensor
    return dense.detach()


def _get_sum_dtype(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _compute_norm(tensor: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(tensor, dtype=_get_sum_dtype(tensor))
    return norm


def _compute_dot(gradient: Tensor, change: Tensor) -> Tensor:
    if gradient.is_sparse:
        gradient = gradient.to_dense()
    dtype = _get_sum_dtype(change)
    return torch.dot(gradient.to(dtype).reshape(-1), change.to(dtype).reshape(-1))


def _stack(scalars: Sequence[Tensor]) -> Tensor:
    """Stack scalars on the device of the first, as float64 if the device has it."""
    device = scalars[0].device
    dtype = torch.float32 if device.type == "mps" else torch.float64
    if len({(scalar.device, scalar.dtype) for scalar in scalars}) > 1:
        scalars = [scalar.to(device, dtype) for scalar in scalars]
    return torch.stack(list(scalars)).to(dtype)
