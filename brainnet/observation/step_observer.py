"""Observed step: listens to one optimizer step of any model, then leaves it as it was."""

from collections.abc import Iterable, Mapping
from time import perf_counter
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from brainnet.kernels.statistics import compute_statistics
from brainnet.observation import tags
from brainnet.observation.capabilities import (
    along,
    compute_norm,
    direction,
    find_parameter_holders,
    is_compiled,
    is_readable,
    side_by_side,
    to_dense,
)
from brainnet.observation.hooks import Action, Hook, Stopwatch
from brainnet.observation.layer_statistics import LayerStatistics, Turn
from brainnet.observation.pending_reading import Name, PendingReading, Row, StepInfo
from brainnet.structure.inspection import find_layers, find_weight_matrices, unwrap_compiled


class StepObserver:
    """All of one step: the thinking, the blame, the slope, the step, and where it led.

    Open it before the forward pass, or before several whose gradients add up; it closes itself in
    `finish`. It keeps no signal, draws no random number and never waits for the device: all numbers
    come home in one copy, and whoever reads the look waits for that. What goes wrong inside a hook
    is raised in `finish`, never amid a forward pass.

    Args:
        model: any module; its layers with weights are found by `places`.
        level: how much to measure; `full` adds the histograms of sums, bias gradients, steps and
            what reaches each neuron, and the cosine with the gradient of the look before.
        previous: `directions` of the look before this one.

    Attributes:
        deaf: while set, nothing is heard of forward and backward passes.
        directions: of each layer's weights' gradient, numbers at fixed positions (level `full`).
        layers: what is heard of each layer.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> observed = ObservedStep(model)
        >>> model(torch.ones(4, 2)).square().mean().backward()
        >>> observed.before_update(model.parameters())
        >>> optimizer.step()
        >>> [layer.place for layer in observed.finish(step=0, epoch=0).look().reading.layers]
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
        turn, own = Turn(), unwrap_compiled(model)
        found = find_layers(own)
        self._told = [
            LayerStatistics(place, full=self._full, listening=self._listening, turn=turn)
            for place in (*found, *find_weight_matrices(own, found))
        ]
        # Of the others weights and gradients are all that is told: nobody listens to them.
        self.layers = self._told[: len(found)]
        self.deaf = self._closed = False
        self._failure: Exception | None = None
        self._handles: list[Any] = []
        self._stopwatch = Stopwatch()
        self._rows: list[Row] = []
        self._measured: dict[Name, Tensor] = {}
        self._weighed = self._remembers = False
        self._gradients: dict[Tensor, Tensor] = {}
        self._before: dict[Tensor, Tensor] = {}
        self._moved: dict[Tensor, None] = {}  # in order
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
        self._closed = True
        while self._handles:
            self._handles.pop().remove()
        for layer in self.layers:
            layer.close()

    def _listen(self, model: nn.Module) -> None:
        """Hooks at each layer and, outermost, a stopwatch around all that holds layers."""
        around = find_parameter_holders(
            model, [layer.place.module for layer in self.layers] or [model]
        )
        watch = self._stopwatch
        start, stop = self._listening(watch.start), self._listening(watch.stop)
        self._handles += [module.register_forward_pre_hook(start) for module in around]
        for layer in self.layers:
            self._handles += layer.listen()
        self._handles += [module.register_forward_hook(stop, always_call=True) for module in around]

    def _listening(self, action: Action) -> Hook:
        return Hook(self._hear, action)

    def _hear(self, action: Action, arguments: tuple[Any, ...]) -> None:
        """Do it on a clock of its own, keeping its exceptions for `finish`."""
        if self._closed or self._failure is not None or self.deaf:
            return
        started = perf_counter()
        try:
            action(*arguments)
        except Exception as error:
            self._failure = error
        self._stopwatch.aside += perf_counter() - started

    @property
    def heard(self) -> bool:
        """Whether there was a forward pass to learn from."""
        return self._stopwatch.seconds is not None

    @property
    def unanswered(self) -> list[str]:
        """Layers to which the activation registered next to them never reacted; once finished."""
        return [layer.place.name for layer in self.layers if layer.unanswered]

    @property
    def stepped(self) -> bool:
        """Whether there was a step."""
        return bool(self._moved)

    @torch.no_grad()
    def remember(self, parameters: Iterable[nn.Parameter]) -> None:
        """See where the weights are, where nobody will say when they are about to move.

        Args:
            parameters: those that may move.
        """
        self._weigh({})
        moving = [each for each in parameters if each.requires_grad and is_readable(each)]
        self._before |= {each: each.clone() for each in moving}
        self._remembers = True

    @torch.no_grad()
    def before_update(
        self,
        parameters: Iterable[nn.Parameter],
        scale: Tensor | None = None,
        *,
        keep_gradients: bool = False,
        divisor: Tensor | None = None,
    ) -> None:
        """Read weights and gradients, and remember where the weights are; right before the step.

        Args:
            parameters: those that the optimizer is about to move. With several optimizers, call
                once for each; of a parameter that comes again only the first time counts.
            scale: what the loss was multiplied by for the backward pass (automatic mixed
                precision), (); the gradients must be free of it already.
            keep_gradients: whether they may be changed before the step is done, by clipping, say.
            divisor: what the gradients are still multiplied by, where the optimizer itself is to
                free them of it.
        """
        self._stopwatch.learnt()
        moving: dict[Tensor, Tensor] = {
            parameter: parameter.grad.detach() if divisor is None else parameter.grad / divisor
            for parameter in parameters
            if parameter.grad is not None
            and parameter not in self._gradients
            and is_readable(parameter)
        }
        self._weigh(moving)
        for parameter, gradient in moving.items():
            self._gradients[parameter] = gradient.clone() if keep_gradients else gradient
            if not self._remembers:
                self._before[parameter] = parameter.clone()
        for layer in self.layers:
            if "delta" in layer.tallies and scale is not None:
                layer.tallies["delta"] /= scale.to(layer.tallies["delta"])
        self._stopwatch.stepping()

    def _weigh(self, gradients: Mapping[Tensor, Tensor]) -> None:
        """Statistics of gradients and, the first time, of all weights and biases, in one go."""
        rows: dict[Row, Tensor] = {}
        if not self._weighed:
            for place in (layer.place for layer in self._told):
                parts = (place.weights, place.bias)
                rows |= {("value", part): part for part in parts if part is not None}
            self._weighed = True
        self._count(rows | {("gradient", each): found for each, found in gradients.items()})

    def _count(self, tensors: Mapping[Row, Tensor]) -> None:
        on_device: dict[torch.device, dict[Row, Tensor]] = {}
        for row, tensor in tensors.items():
            if is_readable(tensor):
                on_device.setdefault(tensor.device, {})[row] = to_dense(tensor)
        for rows in on_device.values():
            self._measured["table", len(self._rows)] = compute_statistics(list(rows.values()))
            self._rows += rows

    @torch.no_grad()
    def after_update(self, slopes: Mapping[Tensor, Tensor] | None = None) -> None:
        """See how far the weights moved, and what the slope promised of that; after the step.

        Args:
            slopes: gradients of the rows that the step is judged by, where they are not its own.
        """
        slopes = self._gradients if slopes is None else slopes
        self._stopwatch.stepped()
        moved = [parameter for parameter in self._before if parameter not in self._moved]
        if not moved:
            return
        # In place: what it was before becomes how far it came, with the sign turned round.
        ways = [self._before[parameter] for parameter in moved]
        torch._foreach_sub_(ways, [parameter.detach() for parameter in moved])
        number = len(self._moved)
        self._measured["lengths", number] = side_by_side([compute_norm(way) for way in ways])
        # First-order Taylor expansion of the loss along the step: -g·Δw.
        promised = [
            along(slopes[parameter], way)
            for parameter, way in zip(moved, ways, strict=True)
            if parameter in slopes
        ]
        if promised:
            self._measured["promised", number] = side_by_side(promised).sum()
        if self._full:
            torch._foreach_neg_(ways)
            self._count({("step", each): way for each, way in zip(moved, ways, strict=True)})
            self._turn(moved)
        self._moved |= dict.fromkeys(moved)
        for parameter in moved:
            self._before[parameter] = parameter.detach()  # the copy has served

    def _turn(self, moved: Iterable[Tensor]) -> None:
        """Cosines with the directions of the look before, at the positions that are kept."""
        for layer in self._told:
            name, gradient = layer.place.name, self._gradients.get(layer.place.weights)
            if gradient is None or layer.place.weights not in set(moved):
                continue
            self.directions[name] = now = direction(gradient)
            before = self._previous.get(name)
            if before is not None and before.shape == now.shape:
                turned = F.cosine_similarity(now, before.to(now.device), dim=0)
                self._measured["cosine", name] = turned

    @torch.no_grad()
    def finish(
        self,
        step: int,
        epoch: int,
        *,
        learning_rate: float | None = None,
        loss: Tensor | None = None,
        before: Tensor | None = None,
        after: Tensor | None = None,
    ) -> PendingReading:
        """Take the hooks off, see how far the weights moved, and send all numbers home at once.

        Args:
            step: optimizer steps taken before this one.
            epoch: passes over the training rows completed.
            learning_rate: that of the step.
            loss: what the training loop reports as the loss, on the device.
            before: the loss of some rows before the step, measured as `after` is.
            after: the loss of the same rows after the step.

        Raises:
            Exception: what went wrong in a hook.
        """
        self.close()
        if self._failure is not None:
            raise self._failure
        if not self._weighed:
            self._weigh({})
        self.after_update()
        if loss is not None:
            self._measured["whole", "loss"] = loss.reshape(()).clone()  # theirs, to do as they like
        if before is not None and after is not None:
            self._measured["whole", "actual"] = (before - after).reshape(())
        for number, layer in enumerate(self.layers):
            found_here: dict[Name, Tensor] = {
                (number, what): found for what, found in layer.measured().items()
            }
            self._measured |= found_here
        self._gradients.clear()
        self._before.clear()
        watch = self._stopwatch
        return PendingReading(
            StepInfo(step, epoch, learning_rate, watch.seconds, watch.backward, watch.update),
            self._measured,
            self._rows,
            list(self._moved),
            self._told,
        )
