"""Probe: evaluate a model on fixed rows without changing its state."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from brainnet.observation.capabilities import ObservedModel, is_mode_invariant, is_sharded
from brainnet.structure.activation import ThresholdRamp

Criterion = Callable[[Tensor, Tensor], Tensor]
_MAX_WEIGHTS_TIMES_ROWS = 2**24  # cost of one evaluation
_MIN_ROWS = 16


@contextmanager
def isolated_eval(*modules: nn.Module) -> Iterator[None]:
    """Evaluate modules without gradients, and restore their state afterward.

    Restored are modes, random state, the counters of ramps and the autocast cache.
    """
    parts = [part for module in modules for part in module.modules()]
    trained = [part for part in parts if part.training and not is_mode_invariant(part)]
    devices = {value.device for module in modules for value in module.parameters() if value.is_cuda}
    counting = [
        (part._buffers, {name: part._buffers[name] for name in ("counts", "sums")})
        for part in parts
        if isinstance(part, ThresholdRamp) and part._buffers["counts"] is not None
    ]
    # The autocast cache may contain weights of before the step.
    uses_cache = torch.is_autocast_cache_enabled()
    with torch.no_grad(), torch.random.fork_rng(devices):
        try:
            torch.set_autocast_cache_enabled(False)
            for buffers, counters in counting:
                buffers.update(dict.fromkeys(counters))
            # Not by `eval`, which may do more: LoRA merges its weights, and rounds them.
            for part in trained:
                part.training = False
            yield
        finally:
            torch.set_autocast_cache_enabled(uses_cache)
            for buffers, counters in counting:
                buffers.update(counters)
            for part in trained:
                part.training = True


class ProbeBatch:
    """Fixed rows on which a model is evaluated, in evaluation mode and without side effects."""

    def __init__(
        self, model: nn.Module, criterion: Criterion, inputs: Tensor, targets: Tensor
    ) -> None:
        self.failure: str | None = None
        self._model, self._criterion = model, criterion
        device = next((parameter.device for parameter in model.parameters()), inputs.device)
        self._inputs, self._targets = _move(inputs, device), _move(targets, device)

    def compute_loss(self) -> Tensor | None:
        """Compute the loss on the rows, (); None if that fails."""
        try:
            with isolated_eval(self._model):
                return self._criterion(self._model(self._inputs), self._targets)
        except Exception as error:
            self.failure = _describe_failure(error)
            return None

    def compute_gradients(
        self, parameters: Iterable[Tensor]
    ) -> tuple[Tensor | None, dict[Tensor, Tensor] | None]:
        """Compute the loss, (), and the gradients of those parameters that it depends on.

        The `grad` of the parameters is not changed. Both results are None if that fails.
        """
        trained = [parameter for parameter in dict.fromkeys(parameters) if parameter.requires_grad]
        try:
            with isolated_eval(self._model), torch.enable_grad():
                loss = self._criterion(self._model(self._inputs), self._targets)
                gradients = torch.autograd.grad(loss, trained, allow_unused=True)
        except Exception as error:
            self.failure = _describe_failure(error)
            return None, None
        pairs = zip(trained, gradients, strict=True)
        return loss.detach(), {each: gradient for each, gradient in pairs if gradient is not None}


def _move(values: Tensor, device: torch.device) -> Tensor:
    moved = values.to(device)
    # Autograd rejects tensors that were created in inference mode.
    return moved.clone() if moved.is_inference() else moved


def build_probe(
    observed_model: ObservedModel,
    criterion: Criterion,
    sample: tuple[Tensor, Tensor],
    report: Callable[[str], None],
) -> ProbeBatch | None:
    """Build a probe of the first rows of a sample, or report why the model cannot be evaluated."""
    model = observed_model.model
    if observed_model.is_compiled():
        return None
    if is_sharded(model):
        report(
            "the sample is not evaluated: the parameters are sharded, and each forward pass needs "
            "all processes."
        )
        return None
    # In the backward pass, the other processes would wait for their part.
    if isinstance(model, nn.parallel.DistributedDataParallel):
        model = model.module
    inputs, targets = sample
    # All rows if the model requires a fixed batch size.
    for rows in (limit_rows(len(inputs), model), len(inputs)):
        probe = ProbeBatch(model, criterion, inputs[:rows], targets[:rows])
        probe.compute_loss()
        if probe.failure is None:
            return probe
    assert probe.failure is not None, "the loop ends only after failures"
    report(probe.failure)
    return None


def _describe_failure(error: Exception) -> str:
    return f"the sample cannot be evaluated: {type(error).__name__}: {error}"


def limit_rows(rows: int, model: nn.Module) -> int:
    """Return how many rows to evaluate, so that it takes no longer than a training step."""
    weights = sum(0 if is_lazy(weight) else weight.numel() for weight in model.parameters())
    return min(rows, max(_MIN_ROWS, _MAX_WEIGHTS_TIMES_ROWS // max(weights, 1)))
