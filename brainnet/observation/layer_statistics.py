"""Layer statistics: pre-activations, outputs and deltas of one layer during an observed step."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from brainnet.kernels.counters import COUNTER_NAMES, create_counters
from brainnet.kernels.statistics import STATISTICS_DTYPES, compute_statistics
from brainnet.observation.hooks import Action
from brainnet.structure.activation import ThresholdRamp
from brainnet.structure.inspection import ACTIVATION_TYPES, LayerInfo
from brainnet.structure.layer import Layer

FLAT = 0.1

"""A neuron is saturated where its mean slope is less than this share of the steepest."""

UNMEASURED = (nn.Identity, nn.RReLU, nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.Softmin, nn.GLU)

"""Activations without a slope per neuron, or that would draw random numbers to tell it."""

MEASURED = tuple(kind for kind in ACTIVATION_TYPES if kind not in UNMEASURED)

"""Activations whose slope can be asked for at no risk."""

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def group_by_neuron(values: Tensor, module: nn.Module) -> Tensor:
    """Values of a layer as one column per neuron; a channel of a convolution counts as one.

    Example:
        >>> by_unit(torch.zeros(2, 5, 4, 4), nn.Conv2d(1, 5, 3)).shape
        torch.Size([32, 5])
    """
    depth = -1 - len(module.kernel_size) if isinstance(module, CONVOLUTIONS) else -1
    return values.movedim(depth, -1).flatten(0, -2) if values.ndim > 1 else values[None]


def compute_slope(activation: nn.Module | None, sums: Tensor) -> Tensor | None:
    """Slope of an activation at each sum, as a share of the steepest that it can be.

    A forward and a backward pass of the activation alone, apart from the network's own graph.

    Returns:
        None where the activation has no slope of its own for every neuron.

    Example:
        >>> slope(ThresholdRamp(width=2.0), torch.tensor([-1.0, 1.0, 3.0]))
        tensor([0., 1., 0.])
    """
    if not isinstance(activation, MEASURED):
        return None
    # Whoever counts what is saved for the backward pass, as a checkpoint does, hears of none of it.
    with torch.enable_grad(), _unheard():
        probe = sums.detach().requires_grad_()
        # A clone, for an activation that works in place; `forward`, so that no hook hears of it.
        reaction = activation.forward(probe.clone())
        (slopes,) = torch.autograd.grad(reaction.sum(), probe)
    return slopes.abs() / _steepest(activation)


def _unheard() -> AbstractContextManager[object]:
    """Keep hooks on saved tensors from what is saved here."""
    # Where somebody allows no such hooks, there are none to keep from it, and ours is refused.
    refusal = torch._C._autograd._saved_tensors_hooks_get_disabled_error_message()
    return saved_tensors_hooks(_as_it_is, _as_it_is) if refusal is None else nullcontext()


def _as_it_is(saved: Tensor) -> Tensor:
    return saved


def _steepest(activation: nn.Module) -> float | Tensor:
    """The largest slope that an activation has anywhere; 1 for most, and about 1 for GELU."""
    if isinstance(activation, ThresholdRamp):
        width = activation.width
        return 1 / (width.detach() if isinstance(width, Tensor) else width)
    return {nn.Sigmoid: 1 / 4, nn.Hardsigmoid: 1 / 6}.get(type(activation), 1.0)


Listening = Callable[[Action], Callable[..., None]]


class Turn:
    """Which of a model's layers began last.

    Attributes:
        of: that layer's signals.
    """

    def __init__(self) -> None:
        self.of: object = None


class LayerStatistics:
    """What one layer did in all forward and backward passes of one step.

    Statistics of the signals and sums over the rows, one entry per neuron, are kept on the layer's
    device; the signals themselves are not. A `ThresholdRamp` counts for itself who fires, as it
    goes. Where the layer's activation is not a module that follows it, what it answers is its
    sums, and nothing is said of firing, silence or saturation.

    The activation that a model registers next to a layer of PyTorch's may react to something else.
    It is heard of the layer where it is given the layer's very output, as passed on by those in
    between, or something made of it before any other layer began.

    Args:
        place: the layer.
        full: whether to take the histograms of the sums and of what comes back to them as well.
        listening: wraps each hook before it is put on.
        turn: shared by all layers of the model.

    Attributes:
        tables: statistics of the `answers` and `sums` of all passes, one row each; one for each
            pass where the device has no float64.
        tallies: sums over the rows, one entry per neuron.
        unanswered: whether it was called, and its activation never reacted to it.
    """

    def __init__(
        self, place: LayerInfo, *, full: bool, listening: Listening, turn: Turn | None = None
    ) -> None:
        self.place = place
        self.tables: dict[str, Tensor] = {}
        self.tallies: dict[str, Tensor] = {}
        self.unanswered = self._answered = False
        self._full = full
        self._listening = listening
        self._turn = turn or Turn()
        self._summed: tuple[Tensor, int] | None = None  # its sums, and how often they were changed
        self._reacts = not isinstance(place.activation, (nn.Identity, type(None)))
        self._rows = 0
        self._awaited = ""  # what the layer will do next, if this forward pass is one to learn from
        ramp = place.activation
        counts = isinstance(ramp, ThresholdRamp) and not isinstance(place.module, CONVOLUTIONS)
        self._ramp = ramp if isinstance(ramp, ThresholdRamp) and counts else None
        self._counters: tuple[Tensor, Tensor] | None = None
        self._counting = False
        self._leak = 0.0
        self._counted_before: Tensor | None = None  # where somebody else has the ramp count, too

    def listen(self) -> list[Any]:
        """Put the hooks on; returns the handles that take them off."""
        module, reaction = self.place.module, self.place.activation
        handles = [module.register_forward_pre_hook(self._listening(self._start))]
        if reaction is None or not self._reacts:
            return [*handles, module.register_forward_hook(self._listening(self._sum_is_answer))]
        before = reaction.register_forward_pre_hook(self._listening(self._sum))
        after = reaction.register_forward_hook(self._listening(self._answer))
        if isinstance(module, Layer):
            return [*handles, before, after]
        handles += [module.register_forward_hook(self._listening(self._follow))]
        follow = self._listening(self._follow_on)
        handles += [
            part.register_forward_hook(follow) for part in dict.fromkeys(self.place.between)
        ]
        return [*handles, before, after]

    def close(self) -> None:
        """Let the activation count no more; for after the hooks are off."""
        if self._ramp is not None and self._counting:
            self._counting = False
            self._let_count(self._ramp, None, None)

    def _start(self, _module: nn.Module, _signals: object) -> None:
        self._give_up()
        self._turn.of = self
        # Inside a function transform there is no one call to listen to.
        learns = torch.is_grad_enabled() and not torch._C._are_functorch_transforms_active()
        self._awaited = "sum" if learns else ""

    def _follow(self, _module: nn.Module, _signals: object, sums: object) -> None:
        if self._awaited == "sum" and isinstance(sums, Tensor) and not sums.is_inference():
            self._summed = sums, sums._version

    def _follow_on(self, _module: nn.Module, signals: tuple[object, ...], output: object) -> None:
        """After what stands between: it passes on what it was given."""
        if self._summed is not None and signals and signals[0] is self._summed[0]:
            self._follow(_module, signals, output)

    def _give_up(self) -> None:
        """Take its sums for what it answers, as no module has reacted to them."""
        followed, self._summed = self._summed, None
        if self._awaited == "sum" and followed is not None:
            self.unanswered = not self._answered
            sums, version = followed
            if sums._version == version:  # not where a function has reacted in place
                self._count("answers", sums.detach())

    def _sum(self, _module: nn.Module, signals: tuple[object, ...]) -> None:
        """Before the activation: listen for what comes back, and ask for the slope."""
        sums = signals[0] if signals else None
        # An activation that several layers share is called for each of them.
        if self._awaited != "sum" or not isinstance(sums, Tensor):
            return
        its_own = self._summed is not None and sums is self._summed[0]
        if not its_own and self._turn.of is not self:
            return  # it reacts to what another layer says
        self._awaited, self._summed = "answer", None
        if self._full and sums.requires_grad:
            sums.register_hook(self._listening(self._delta))
        sums = sums.detach()
        if self._full:
            self._count("sums", sums)
        if self._ramp is not None:
            self._have_counted(self._ramp, sums)
            return
        slopes = compute_slope(self.place.activation, sums)
        if slopes is not None:
            self._add("slopes", slopes)

    def _answer(self, _module: nn.Module, _signals: object, answers: object) -> None:
        """After the activation: count who fires."""
        if self._awaited != "answer" or not isinstance(answers, Tensor):
            return
        self._awaited = ""
        self._answered, self.unanswered = True, False
        answers = answers.detach()
        self._count("answers", answers)
        if self._ramp is not None:
            self.close()
        elif self._reacts:
            self._rows += self._add("firing", answers > 0)
            self._add("speaking", answers != 0)

    def _have_counted(self, ramp: ThresholdRamp, sums: Tensor) -> None:
        """Let the ramp count what its next call does."""
        if self._counters is None and ramp.counts is not None:
            if self._counted_before is None:
                self._counted_before = ramp.counts.clone()
            return
        if self._counters is None:
            self._counters = create_counters(sums.shape[-1], device=sums.device)
        self._let_count(ramp, *self._counters)
        self._counting = True

    @staticmethod
    def _let_count(ramp: ThresholdRamp, counts: Tensor | None, sums: Tensor | None) -> None:
        # Where a module keeps its buffers: setting them by name takes as long as the ramp itself.
        ramp._buffers["counts"], ramp._buffers["sums"] = counts, sums

    def _sum_is_answer(self, module: nn.Module, signals: object, output: object) -> None:
        self._sum(module, (output,))
        self._answer(module, signals, output)

    @torch.no_grad()
    def _delta(self, delta: Tensor) -> None:
        self._add("delta", delta.abs())

    def _count(self, name: str, values: Tensor) -> None:
        """Add values to the statistics."""
        if values.dtype not in STATISTICS_DTYPES or values.layout != torch.strided:
            return
        self.tables[name] = compute_statistics([values], into=self.tables.get(name))

    def _add(self, name: str, values: Tensor) -> int:
        """Add values to a tally, per neuron; returns the number of rows."""
        units = group_by_neuron(values, self.place.module)
        # MPS lacks float64.
        wide = torch.float32 if units.device.type == "mps" else torch.float64
        total = units.sum(dim=0, dtype=wide)
        self.tallies[name] = self.tallies[name] + total if name in self.tallies else total
        return len(units)

    def measured(self) -> dict[str, Tensor]:
        """All there is to send home."""
        self._give_up()
        found = self.tables | self.tallies
        if "delta" in found:
            found["delta"] = compute_statistics([found["delta"]])
        if self._counters is not None:
            found["counts"] = self._counters[0]
        elif self._ramp is not None and self._counted_before is not None:
            counts = self._ramp.counts
            found |= {} if counts is None else {"counts": counts - self._counted_before}
        if self._ramp is not None and "counts" in found:
            # As it is now: whoever reads this later finds a ramp that has learnt on.
            width = self._ramp.width
            if isinstance(width, Tensor):
                found["width"] = width.detach().clone()
            else:
                found["width"] = found["counts"].new_full((), width, dtype=torch.float32)
            self._leak = self._ramp.leak
        return found

    def shares(self, home: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """Who fires, is silent or saturated, from what was measured, once it is home.

        Args:
            home: what `measured` gave, by the same names.
        """
        if "counts" in home:
            return self._counted(home["counts"], home["width"])
        rows = max(self._rows, 1)
        found = {}
        if "firing" in home:
            found["firing_rate"] = float((home["firing"] / rows).mean())
            found["silent"] = float((home["speaking"] == 0).mean())
        if "slopes" in home:
            found["saturated"] = float((home["slopes"] / rows < FLAT).mean())
        return found

    def _counted(self, counts: NDArray[Any], width: NDArray[Any]) -> dict[str, float]:
        """The same from a ramp's own counters."""
        rows = np.maximum(counts.sum(axis=0), 1)
        silent, rising, firing = (counts[COUNTER_NAMES.index(kind)] for kind in COUNTER_NAMES[:3])
        # The steepest slope is 1 / width, and outside the ramp it is the leak.
        slopes = (rising + self._leak * width * (silent + firing)) / rows
        return {
            "firing_rate": float(((rising + firing) / rows).mean()),
            "silent": float((silent == rows).mean()),
            "saturated": float((slopes < FLAT).mean()),
        }
