"""Layer signals: what one layer sums up, answers and hears back while it is listened to."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from brainnet.observation.statistics import FLAT, by_unit, histogram, precise, slope
from brainnet.structure.anatomy import Place

Hook = Callable[..., None]
Listening = Callable[[Hook], Hook]


class LayerSignals:
    """Tallies of one layer over all forward and backward passes of one step.

    Tallies are sums over rows, one entry per neuron, kept on the layer's device; the signals
    themselves are not kept. Where the layer's activation is not a module that follows it, what it
    answers is its sums, and nothing is said of firing, silence or saturation.

    Args:
        place: the layer.
        full: whether to take the histograms of the sums and of what comes back to them as well.
        listening: wraps each hook before it is put on.
    """

    def __init__(self, place: Place, *, full: bool, listening: Listening) -> None:
        self.place = place
        self.tallies: dict[str, Tensor] = {}
        self.histograms: dict[str, Tensor] = {}
        self._full = full
        self._listening = listening
        self._reacts = not isinstance(place.activation, (nn.Identity, type(None)))
        self._rows = 0
        self._awaited = ""  # what the layer will do next, if this forward pass is one to learn from

    def listen(self) -> list[Any]:
        """Put the hooks on; returns the handles that take them off."""
        module, reaction = self.place.module, self.place.activation
        handles = [module.register_forward_pre_hook(self._listening(self._start))]
        if reaction is None or not self._reacts:
            return [*handles, module.register_forward_hook(self._listening(self._sum_is_answer))]
        before = reaction.register_forward_pre_hook(self._listening(self._sum))
        after = reaction.register_forward_hook(self._listening(self._answer))
        return [*handles, before, after]

    def _start(self, _module: nn.Module, _signals: object) -> None:
        self._awaited = "sum" if torch.is_grad_enabled() else ""

    @torch.no_grad()
    def _sum(self, _module: nn.Module, signals: tuple[object, ...]) -> None:
        """Before the activation: listen for what comes back, and ask for the slope."""
        sums = signals[0] if signals else None
        # An activation that several layers share is called for each of them.
        if self._awaited != "sum" or not isinstance(sums, Tensor):
            return
        self._awaited = "answer"
        if self._full:
            if sums.requires_grad:
                sums.register_hook(self._listening(self._delta))
            self.histograms.setdefault("sums", histogram(sums))
        slopes = slope(self.place.activation, sums)
        if slopes is not None:
            self._add("slopes", slopes)

    @torch.no_grad()
    def _answer(self, _module: nn.Module, _signals: object, answers: object) -> None:
        """After the activation: count who fires."""
        if self._awaited != "answer" or not isinstance(answers, Tensor):
            return
        self._awaited = ""
        self.histograms.setdefault("answers", histogram(answers))
        if self._reacts:
            self._rows += self._add("firing", answers > 0)
            self._add("speaking", answers != 0)

    def _sum_is_answer(self, module: nn.Module, signals: object, output: object) -> None:
        self._sum(module, (output,))
        self._answer(module, signals, output)

    @torch.no_grad()
    def _delta(self, delta: Tensor) -> None:
        self._add("delta", delta.abs())

    def _add(self, name: str, values: Tensor) -> int:
        """Add values to a tally, per neuron; returns the number of rows."""
        units = by_unit(values, self.place.module)
        total = units.sum(dim=0, dtype=precise(units.device))
        self.tallies[name] = self.tallies[name] + total if name in self.tallies else total
        return len(units)

    def measured(self) -> dict[str, Tensor]:
        """What there is to say of the layer now, as small tensors on its device."""
        found = dict(self.histograms)
        shares = {name: tally / max(self._rows, 1) for name, tally in self.tallies.items()}
        if "firing" in shares:
            found["firing_rate"] = shares["firing"].mean()
            found["silent"] = (shares["speaking"] == 0).to(shares["speaking"]).mean()
        if "slopes" in shares:
            found["saturated"] = (shares["slopes"] < FLAT).to(shares["slopes"]).mean()
        if "delta" in self.tallies:
            found["delta"] = histogram(self.tallies["delta"])
        return found
