"""Judge: what the same rows say of the network before a step and after it."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from brainnet.observation.parts import is_compiled
from brainnet.observation.untouched import untouched
from brainnet.observation.visibility import is_sharded

Criterion = Callable[[Tensor, Tensor], Tensor]

WEIGHTS_TIMES_ROWS = 2**24
"""How much may be asked of a network at each question: so many rows, times its weights."""

LEAST = 16
"""Rows that it is asked about at least, however large it is."""


def enough(rows: int, model: nn.Module) -> int:
    """How many of some rows to ask about, so that asking takes no longer than learning.

    Example:
        >>> enough(256, nn.Linear(10, 10)), enough(256, nn.Linear(2048, 2048))
        (256, 16)
    """
    weights = sum(0 if is_lazy(weight) else weight.numel() for weight in model.parameters())
    return min(rows, max(LEAST, WEIGHTS_TIMES_ROWS // max(weights, 1)))


class Judge:
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
        with untouched(self._model):
            return self._criterion(self._model(self._inputs), self._targets)

    def slope(self, parameters: Iterable[Tensor]) -> tuple[Tensor, dict[Tensor, Tensor]]:
        """How wrong it is, (), and the gradient for those parameters that bear on it.

        Nothing is added to any `grad`.
        """
        wanted = [parameter for parameter in parameters if parameter.requires_grad]
        with untouched(self._model), torch.enable_grad():
            loss = self._criterion(self._model(self._inputs), self._targets)
            found = torch.autograd.grad(loss, wanted, allow_unused=True)
        slopes = zip(wanted, found, strict=True)
        return loss.detach(), {each: slope for each, slope in slopes if slope is not None}


def _rows(values: Tensor, device: torch.device) -> Tensor:
    """Rows as autograd takes them; those made in inference mode it would refuse."""
    moved = values.to(device)
    return moved.clone() if moved.is_inference() else moved


def judge_for(
    model: nn.Module,
    criterion: Criterion,
    sample: tuple[Tensor, Tensor],
    say: Callable[[str], None],
) -> Judge | None:
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
            some = len(inputs) if whole else enough(len(inputs), model)
            judge = Judge(model, criterion, inputs[:some], targets[:some])
            judge.loss()
        except Exception as error:
            failure = error
        else:
            return judge
    say(unjudged(failure))
    return None


def unjudged(failure: Exception) -> str:
    """That a sample cannot be judged, in one sentence."""
    return f"the sample cannot be judged: {type(failure).__name__}: {failure}"
