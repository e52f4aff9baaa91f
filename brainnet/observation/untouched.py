"""Untouched: asking a network for answers in the middle of things, and leaving it as it was."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from brainnet.observation.parts import is_steady, parts
from brainnet.structure.activation import ThresholdRamp

Modes = Sequence[tuple[nn.Module, bool]]


@contextmanager
def untouched(*modules: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; all but the answers is afterwards as it was.

    That is modes, random numbers, what ramps have counted, what a module of somebody else's does to
    its weights as it changes its mode, and what autocast has cast so far.
    """
    everything = [part for module in modules for part in parts(module)]
    training = [part for part in everything if part.training]
    # Most need not be told, and telling them takes as long as thinking.
    told = not all(map(is_steady, training))
    modes = [(part, part.training) for part in everything] if told else []
    devices = {
        parameter.device
        for part in everything
        for parameter in part._parameters.values()
        if parameter is not None
    }
    cuda = [device for device in devices if device.type == "cuda"]
    with torch.no_grad(), torch.random.fork_rng(cuda), _uncounted(everything), _uncached():
        kept = [(held, held.clone()) for held in _held(part for part, _ in modes)]
        for module in modules if told else ():
            module.eval()
        try:
            yield
        finally:
            _go_back(modes)
            for held, value in kept:
                held.data.copy_(value)  # of which no graph need know: it is what it was


def _go_back(modes: Modes) -> None:
    """Put all parts back into their modes, the outermost first."""
    for part, mode in modes:
        if part.training == mode:
            continue
        if _has_a_way_of_its_own(part):
            part.train(mode)
        else:
            part.training = mode


def _has_a_way_of_its_own(part: nn.Module) -> bool:
    """Whether changing its mode does more than that: LoRA's merge their weights in evaluation."""
    return type(part).train is not nn.Module.train or "train" in part.__dict__


def _held(told: Iterable[nn.Module]) -> list[Tensor]:
    """What parts with a way of their own may change; there and back, it would be rounded twice."""
    ours = [part for part in told if _has_a_way_of_its_own(part)]
    held = (each for part in ours for each in (*part.parameters(), *part.buffers()))
    return [each for each in dict.fromkeys(held) if not is_lazy(each)]


@contextmanager
def _uncounted(everything: Iterable[nn.Module]) -> Iterator[None]:
    """Let ramps that count for somebody count none of this."""
    aside = [
        (part._buffers, {name: part._buffers[name] for name in ("counts", "sums")})
        for part in everything
        if isinstance(part, ThresholdRamp) and part._buffers["counts"] is not None
    ]
    for buffers, counters in aside:
        buffers.update(dict.fromkeys(counters))
    try:
        yield
    finally:
        for buffers, counters in aside:
            buffers.update(counters)


@contextmanager
def _uncached() -> Iterator[None]:
    """Neither take what autocast has cast before, of weights that may have moved, nor add to it."""
    enabled = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(enabled)
