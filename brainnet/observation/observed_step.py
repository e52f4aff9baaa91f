"""Observed step: listens to one optimizer step of any model, then leaves it as it was."""

from collections.abc import Callable, Iterable, Mapping
from time import perf_counter
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from brainnet.observation import tags
from brainnet.observation.layer_signals import LayerSignals
from brainnet.observation.reading import LayerReading, Look, Reading
from brainnet.observation.statistics import (
    bring_home,
    cosine,
    dense,
    histogram,
    histogram_from,
    norm,
    precise,
)
from brainnet.observation.stopwatch import Stopwatch
from brainnet.structure.anatomy import places

COORDINATES = 4096
"""Of a gradient, about this many numbers at fixed positions are kept for the next cosine."""

HISTOGRAMS: dict[str, tags.Tag] = {
    "weights": tags.WEIGHTS,
    "bias": tags.BIAS,
    "answers": tags.ACTIVATION,
    "sums": tags.PRE_ACTIVATION,
    "gradient": tags.GRADIENT,
    "bias_gradient": tags.BIAS_GRADIENT,
    "delta": tags.DELTA,
    "step": tags.UPDATE,
}
"""Results that are histograms, and the tag of each."""

WHOLE = ""
"""Stands where the name of a layer would, for what belongs to the whole network."""

Measured = dict[tuple[str, str], Tensor]
"""Small tensors, by the name of a layer and what they are."""

Found = dict[tuple[str, str], list[float]]
"""The same as plain numbers."""


class ObservedStep:
    """All of one step: the thinking, the blame, the slope, the step, and where it led.

    Open it before the forward pass, or before several whose gradients add up; it closes itself in
    `finish`. It keeps no signal, draws no random number, and waits for the device once, in
    `finish`. What goes wrong inside a hook is raised there too, never amid a forward pass.

    Args:
        model: any module; its layers with weights are found by `places`.
        level: how much to measure; `full` adds the histograms of sums, bias gradients, steps and
            what reaches each neuron, and the cosine with the gradient of the look before.
        previous: `directions` of the look before this one.

    Attributes:
        directions: of each layer's weights' gradient, numbers at fixed positions (level `full`).

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> observed = ObservedStep(model)
        >>> model(torch.ones(4, 2)).square().mean().backward()
        >>> observed.before_update(model.parameters())
        >>> optimizer.step()
        >>> [layer.place for layer in observed.finish(step=0, epoch=0).reading.layers]
        ['0', '2']
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        level: tags.Level = "light",
        previous: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.directions: dict[str, Tensor] = {}
        self._full = level == "full"
        self._previous = previous or {}
        self._layers = [
            LayerSignals(place, full=self._full, listening=self._listening)
            for place in places(model)
        ]
        self._failure: Exception | None = None
        self._handles: list[Any] = []
        self._stopwatch = Stopwatch()
        self._gradients: dict[Tensor, Tensor] = {}
        self._before: dict[Tensor, Tensor] = {}
        self._measured: Measured = {}
        if not is_compiled(model):  # a hook would be compiled into the model, for good
            self._listen(model)

    def __enter__(self) -> Self:
        """The hooks are on since the step was made."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the hooks off, whatever happened."""
        self.close()

    def close(self) -> None:
        """Take the hooks off; harmless where they are off already."""
        while self._handles:
            self._handles.pop().remove()

    def _listen(self, model: nn.Module) -> None:
        """Hooks at each layer and, outermost, a stopwatch around all that holds layers."""
        layers = {layer.place.module for layer in self._layers}
        holders = [module for module in model.modules() if layers.intersection(module.modules())]
        watch = self._stopwatch
        self._handles += [module.register_forward_pre_hook(watch.start) for module in holders]
        for layer in self._layers:
            self._handles += layer.listen()
        self._handles += [module.register_forward_hook(watch.stop) for module in holders]

    def _listening(self, hook: Callable[..., None]) -> Callable[..., None]:
        """The hook on a clock of its own, keeping its exceptions for `finish`."""

        def listen(*arguments: Any) -> None:  # noqa: ANN401  (whatever PyTorch hands to a hook)
            if self._failure is not None:
                return
            started = perf_counter()
            try:
                hook(*arguments)
            except Exception as error:
                self._failure = error
            self._stopwatch.aside += perf_counter() - started

        return listen

    @torch.no_grad()
    def before_update(self, parameters: Iterable[nn.Parameter], scale: float = 1.0) -> None:
        """Read the gradients, and remember where the weights are; right before the step.

        Args:
            parameters: those that the optimizer is about to move. With several optimizers, call
                once for each; of a parameter that comes again only the first time counts.
            scale: what the loss was multiplied by for the backward pass (automatic mixed
                precision); the gradients must be free of it already.
        """
        for parameter in parameters:
            if parameter.grad is not None and parameter not in self._before:
                self._gradients[parameter] = parameter.grad.detach().clone()
                self._before[parameter] = parameter.detach().clone()
        for layer in self._layers:
            if "delta" in layer.tallies and scale != 1:
                layer.tallies["delta"] /= scale

    @torch.no_grad()
    def finish(
        self,
        step: int,
        epoch: int,
        *,
        loss: Tensor | None = None,
        before: Tensor | None = None,
        after: Tensor | None = None,
    ) -> Look:
        """Take the hooks off, see how far the weights moved, and bring all numbers home at once.

        Args:
            step: optimizer steps taken before this one.
            epoch: passes over the training rows completed.
            loss: what the training loop reports as the loss, on the device.
            before: the loss of the step's rows before it, measured as `after` is.
            after: the loss of the same rows after the step.

        Raises:
            Exception: what went wrong in a hook.
        """
        self.close()
        if self._failure is not None:
            raise self._failure
        if loss is not None:
            self._measured[WHOLE, "loss"] = loss
        if before is not None and after is not None:
            self._measured[WHOLE, "actual_decrease"] = before - after
        self._measure_slope()
        for layer in self._layers:
            self._measure_layer(layer)
        found = bring_home(self._measured)
        self._gradients.clear()
        self._before.clear()
        return self._look(found, step, epoch)

    def _measure_slope(self) -> None:
        """How steep it was, and what the slope promised of the step."""
        if not self._gradients:
            return
        self._measured[WHOLE, "gradient_norm"] = norm(*self._gradients.values())
        # First-order Taylor expansion of the loss along the step: -g·Δw.
        promised = [
            -(gradient.to_dense() * (parameter - self._before[parameter])).sum().reshape(1)
            for parameter, gradient in self._gradients.items()
        ]
        device = promised[0].device
        self._measured[WHOLE, "predicted_decrease"] = torch.cat(
            [part.to(device, precise(device)) for part in promised]
        ).sum()

    def _measure_layer(self, layer: LayerSignals) -> None:
        place, name = layer.place, layer.place.name
        weights, bias = place.weights, place.bias
        before = self._before.get(weights, weights)
        found = layer.measured()
        found |= {"weights": histogram(before), "weights_norm": norm(before)}
        found["step_norm"] = norm(weights - before)
        gradients = []
        if weights in self._gradients:
            gradients.append(self._gradients[weights])
            found["gradient"] = histogram(gradients[0])
            if self._full:
                found["step"] = histogram(weights - before)
                found |= self._cosine(name, gradients[0])
        if bias is not None:
            found["bias"] = histogram(self._before.get(bias, bias))
            found["bias_norm"] = norm(self._before.get(bias, bias))
            if bias in self._gradients:
                gradients.append(self._gradients[bias])
                if self._full:
                    found["bias_gradient"] = histogram(self._gradients[bias])
        if gradients:
            found["gradient_norm"] = norm(*gradients)
        self._measured |= {(name, what): result for what, result in found.items()}

    def _cosine(self, name: str, gradient: Tensor) -> dict[str, Tensor]:
        """Cosine with the direction of the look before, at the positions that are kept."""
        flat = dense(gradient).reshape(-1)
        self.directions[name] = flat[:: max(1, len(flat) // COORDINATES)].clone()
        before = self._previous.get(name)
        if before is None or before.shape != self.directions[name].shape:
            return {}
        return {"gradient_cosine": cosine(self.directions[name], before)}

    def _look(self, found: Found, step: int, epoch: int) -> Look:
        """The plain numbers under their names."""
        by_place: dict[str, dict[str, float]] = {}
        for (place, what), numbers in found.items():
            if what not in HISTOGRAMS:
                by_place.setdefault(place, {})[what] = numbers[0]
        names = [layer.place.name for layer in self._layers]
        whole = by_place.get(WHOLE, {})
        slope = whole.get("gradient_norm", 0.0)
        return Look(
            Reading(
                step=step,
                epoch=epoch,
                forward_seconds=self._stopwatch.seconds,
                layers=tuple(_layer_reading(name, by_place[name], slope) for name in names),
                **whole,
            ),
            {
                HISTOGRAMS[what].at(place): histogram_from(numbers)
                for (place, what), numbers in found.items()
                if what in HISTOGRAMS
            },
        )


def _layer_reading(place: str, numbers: dict[str, float], whole_slope: float) -> LayerReading:
    """What was measured of one layer, with what is a share of something else made one."""
    step, slope = numbers.pop("step_norm"), numbers.get("gradient_norm")
    size = numbers["weights_norm"]
    return LayerReading(
        place=place,
        update_ratio=step / size if size else None,
        blame=(slope / whole_slope) ** 2 if slope is not None and whole_slope else None,
        **numbers,
    )


def is_compiled(model: nn.Module) -> bool:
    """Whether `torch.compile` has taken hold of any part of a model."""
    return any(
        module._compiled_call_impl is not None or isinstance(module, torch._dynamo.OptimizedModule)
        for module in model.modules()
    )
