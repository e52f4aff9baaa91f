"""Probe: evaluate a model on fixed rows without changing its state."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from brainnet.errors import InputError
from brainnet.observation.capabilities import (
    is_compiled,
    is_mode_invariant,
    is_sharded,
    list_modules,
)
from brainnet.structure.activation import ThresholdRamp


def check_sample(sample: object) -> None:
    """Refuse what is no pair of tensors.

    Raises:
        InputError: it is none.
    """
    if sample is None:
        return
    if not (isinstance(sample, tuple | list) and len(sample) == 2):
        raise InputError(
            f"sample is a pair (inputs, targets) of tensors; got {type(sample).__name__}."
        )
    for name, each in zip(("inputs", "targets"), sample, strict=True):
        if not isinstance(each, Tensor):
            raise InputError(
                f"sample is a pair (inputs, targets) of tensors; its {name} are {_kind(each)}. "
                "Leave it out where the model takes no tensor."
            )


def single_number(value: object, asker: str) -> tuple[Tensor | float | None, str]:
    """A real number, and what to say where it is none.

    Args:
        value: what was given; None is no number, and nothing to speak of.
        asker: who needs it.

    Example:
        >>> single_number(0.5, "step()")
        (0.5, '')
        >>> single_number("oops", "step()")[1]
        "step() needs a number or a tensor of one; got the text 'oops', which is left out."
    """
    if value is None:
        return None, ""
    if isinstance(value, Tensor):
        if value.numel() == 1 and not value.is_complex():
            found = value.detach()
            return found if found.is_floating_point() else found.float(), ""
    elif not isinstance(value, str | bytes):
        try:
            return float(value), ""  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            pass
    needed = f"{asker} needs a number or a tensor of one"
    return None, f"{needed}; got {_kind(value)}, which is left out."


def _kind(value: object) -> str:
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, Tensor):
        return f"a tensor of {value.dtype} and shape {tuple(value.shape)}"
    return f"of type {type(value).__name__}"


Modes = Sequence[tuple[nn.Module, bool]]


@contextmanager
def isolated_eval(*modules: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; all but the answers is afterwards as it was.

    That is modes, random numbers, what ramps have counted, what a module of somebody else's does to
    its weights as it changes its mode, and what autocast has cast so far.
    """
    everything = [part for module in modules for part in list_modules(module)]
    training = [part for part in everything if part.training]
    # Most need not be told, and telling them takes as long as thinking.
    told = not all(map(is_mode_invariant, training))
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


Criterion = Callable[[Tensor, Tensor], Tensor]

WEIGHTS_TIMES_ROWS = 2**24

"""How much may be asked of a network at each question: so many rows, times its weights."""

LEAST = 16

"""Rows that it is asked about at least, however large it is."""


def limit_rows(rows: int, model: nn.Module) -> int:
    """How many of some rows to ask about, so that asking takes no longer than learning.

    Example:
        >>> enough(256, nn.Linear(10, 10)), enough(256, nn.Linear(2048, 2048))
        (256, 16)
    """
    weights = sum(0 if is_lazy(weight) else weight.numel() for weight in model.parameters())
    return min(rows, max(LEAST, WEIGHTS_TIMES_ROWS // max(weights, 1)))


class ProbeBatch:
    """Asks the network about fixed rows, in evaluation mode, and leaves it as it was.

    Args:
        model: whom it asks.
        criterion: from outputs and targets to a loss.
        inputs: the rows, as the model takes them; moved to its device.
        targets: what should come out; moved there, too.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        inputs: Tensor,
        targets: Tensor,
    ) -> None:
        self._model = model
        self._criterion = criterion
        device = next((parameter.device for parameter in model.parameters()), inputs.device)
        self._inputs, self._targets = _rows(inputs, device), _rows(targets, device)

    def loss(self) -> Tensor:
        """How wrong it is about the rows, ()."""
        with isolated_eval(self._model):
            return self._criterion(self._model(self._inputs), self._targets)

    def slope(self, parameters: Iterable[Tensor]) -> tuple[Tensor, dict[Tensor, Tensor]]:
        """How wrong it is, (), and the gradient for those parameters that bear on it.

        Nothing is added to any `grad`.
        """
        wanted = [parameter for parameter in parameters if parameter.requires_grad]
        with isolated_eval(self._model), torch.enable_grad():
            loss = self._criterion(self._model(self._inputs), self._targets)
            found = torch.autograd.grad(loss, wanted, allow_unused=True)
        slopes = zip(wanted, found, strict=True)
        return loss.detach(), {each: slope for each, slope in slopes if slope is not None}


def _rows(values: Tensor, device: torch.device) -> Tensor:
    """Rows as autograd takes them; those made in inference mode it would refuse."""
    moved = values.to(device)
    return moved.clone() if moved.is_inference() else moved


def build_probe(
    model: nn.Module,
    criterion: Criterion,
    sample: tuple[Tensor, Tensor],
    say: Callable[[str], None],
) -> ProbeBatch | None:
    """A judge of as many rows of a sample as are enough, or of all, where a part is nothing.

    Args:
        model: whom to ask.
        criterion: from outputs and targets to a loss.
        sample: inputs and targets.
        say: told where it cannot be asked.
    """
    if is_compiled(model):
        return None
    if is_sharded(model):
        say(
            "the sample cannot be judged: the parameters are sharded, and each forward pass "
            "needs all processes."
        )
        return None
    if isinstance(model, nn.parallel.DistributedDataParallel):
        model = model.module  # the others would wait for their part of a backward pass
    inputs, targets = sample
    for whole in (False, True):
        try:
            some = len(inputs) if whole else limit_rows(len(inputs), model)
            judge = ProbeBatch(model, criterion, inputs[:some], targets[:some])
            judge.loss()
        except Exception as error:
            failure = error
        else:
            return judge
    say(explain_missing_probe(failure))
    return None


def explain_missing_probe(failure: Exception) -> str:
    """That a sample cannot be judged, in one sentence."""
    return f"the sample cannot be judged: {type(failure).__name__}: {failure}"
