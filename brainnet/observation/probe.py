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
    iterate_modules,
)
from brainnet.structure.activation import ThresholdRamp

Criterion = Callable[[Tensor, Tensor], Tensor]

_MAX_WEIGHTS_TIMES_ROWS = 2**24  # cost of one evaluation
_MIN_ROWS = 16


@contextmanager
def isolated_eval(*modules: nn.Module, parts: Sequence[nn.Module] | None = None) -> Iterator[None]:
    """Evaluate modules without gradients, and restore their state afterward.

    Restored are modes, random state, the counters of ramps, weights that a module changes when its
    mode changes, and the autocast cache.

    Args:
        modules: what is evaluated.
        parts: all their modules, each once, if they were collected before.
    """
    if parts is None:
        parts = [part for module in modules for part in iterate_modules(module)]
    # Most modules do not depend on the mode, and changing it costs as much as a forward pass.
    changes_mode = not all(is_mode_invariant(part) for part in parts if part.training)
    modes = [(part, part.training) for part in parts] if changes_mode else []
    devices = {
        parameter.device
        for part in parts
        for parameter in part._parameters.values()
        if parameter is not None and parameter.is_cuda
    }
    with torch.no_grad(), torch.random.fork_rng(devices), _pause_counting(parts), _no_cache():
        saved = [(tensor, tensor.clone()) for tensor in _list_changeable(modes)]
        for module in modules if changes_mode else ():
            module.eval()
        try:
            yield
        finally:
            for part, mode in modes:
                if part.training == mode:
                    continue
                if _overrides_train(part):
                    part.train(mode)
                else:
                    part.training = mode
            for tensor, value in saved:
                # Through `data`, because autograd graphs may need the tensor, which is unchanged.
                tensor.data.copy_(value)


def _overrides_train(module: nn.Module) -> bool:
    """Whether changing the mode may do more: LoRA merges its weights in evaluation mode."""
    return type(module).train is not nn.Module.train or "train" in module.__dict__


def _list_changeable(modes: Iterable[tuple[nn.Module, bool]]) -> list[Tensor]:
    """Tensors that change with the mode, and would otherwise be rounded twice."""
    tensors = (
        tensor
        for module, _ in modes
        if _overrides_train(module)
        for tensor in (*module.parameters(), *module.buffers())
    )
    return [tensor for tensor in dict.fromkeys(tensors) if not is_lazy(tensor)]


@contextmanager
def _pause_counting(parts: Iterable[nn.Module]) -> Iterator[None]:
    """Keep ramps that count for the user from counting the evaluation."""
    paused = [
        (part._buffers, {name: part._buffers[name] for name in ("counts", "sums")})
        for part in parts
        if isinstance(part, ThresholdRamp) and part._buffers["counts"] is not None
    ]
    for buffers, counters in paused:
        buffers.update(dict.fromkeys(counters))
    try:
        yield
    finally:
        for buffers, counters in paused:
            buffers.update(counters)


@contextmanager
def _no_cache() -> Iterator[None]:
    """Disable the autocast cache, which may contain weights of before the step."""
    enabled = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(enabled)


class ProbeBatch:
    """Fixed rows on which a model is evaluated, in evaluation mode and without side effects.

    Args:
        model: the model.
        criterion: computes the loss from outputs and targets.
        inputs: the rows; moved to the device of the model.
        targets: their targets; moved as well.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        inputs: Tensor,
        targets: Tensor,
    ) -> None:
        self._model, self._criterion = model, criterion
        device = next((parameter.device for parameter in model.parameters()), inputs.device)
        self._inputs, self._targets = _move(inputs, device), _move(targets, device)

    def compute_loss(self) -> Tensor:
        """Compute the loss on the rows, ()."""
        with isolated_eval(self._model):
            return self._criterion(self._model(self._inputs), self._targets)

    def compute_gradients(
        self, parameters: Iterable[Tensor]
    ) -> tuple[Tensor, dict[Tensor, Tensor]]:
        """Compute the loss, (), and the gradients of those parameters that it depends on.

        The `grad` of the parameters is not changed.
        """
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        with isolated_eval(self._model), torch.enable_grad():
            loss = self._criterion(self._model(self._inputs), self._targets)
            gradients = torch.autograd.grad(loss, trained, allow_unused=True)
        pairs = zip(trained, gradients, strict=True)
        return loss.detach(), {each: gradient for each, gradient in pairs if gradient is not None}


def _move(values: Tensor, device: torch.device) -> Tensor:
    moved = values.to(device)
    # Autograd rejects tensors that were created in inference mode.
    return moved.clone() if moved.is_inference() else moved


def build_probe(
    model: nn.Module,
    criterion: Criterion,
    sample: tuple[Tensor, Tensor],
    report: Callable[[str], None],
) -> ProbeBatch | None:
    """Build a probe of the first rows of a sample, or of all rows if the model requires that.

    Args:
        model: the model.
        criterion: computes the loss from outputs and targets.
        sample: inputs and targets.
        report: called with the reason if the model cannot be evaluated.
    """
    if is_compiled(model):
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
    for rows in (limit_rows(len(inputs), model), len(inputs)):
        try:
            probe = ProbeBatch(model, criterion, inputs[:rows], targets[:rows])
            probe.compute_loss()
        except Exception as error:
            failure = error
        else:
            return probe
    report(describe_probe_failure(failure))
    return None


def describe_probe_failure(failure: Exception) -> str:
    """Return the sentence about a sample that cannot be evaluated."""
    return f"the sample cannot be evaluated: {type(failure).__name__}: {failure}"


def limit_rows(rows: int, model: nn.Module) -> int:
    """Return how many rows to evaluate, so that it takes no longer than a training step.

    Example:
        >>> limit_rows(256, nn.Linear(10, 10)), limit_rows(256, nn.Linear(2048, 2048))
        (256, 16)
    """
    weights = sum(0 if is_lazy(weight) else weight.numel() for weight in model.parameters())
    return min(rows, max(_MIN_ROWS, _MAX_WEIGHTS_TIMES_ROWS // max(weights, 1)))


def check_sample(sample: object) -> None:
    """Check that a sample is a pair of tensors.

    Raises:
        InputError: if it is not.
    """
    if sample is None:
        return
    if not (isinstance(sample, tuple | list) and len(sample) == 2):
        raise InputError(
            f"sample must be a pair (inputs, targets) of tensors; got {type(sample).__name__}."
        )
    for name, value in zip(("inputs", "targets"), sample, strict=True):
        if not isinstance(value, Tensor):
            raise InputError(
                f"sample must be a pair (inputs, targets) of tensors; {name} is {_describe(value)}. "
                "If the model does not accept tensors, omit sample."
            )


def parse_scalar(value: object, method: str) -> tuple[Tensor | float | None, str]:
    """Return a value as a real number, or the message that it is none.

    Args:
        value: the value; None is no number, without a message.
        method: name of the method that received it.

    Example:
        >>> parse_scalar(0.5, "step()")
        (0.5, '')
        >>> parse_scalar("oops", "step()")[1]
        "step() needs a number or a tensor with one element; got the text 'oops', which is ignored."
    """
    if value is None:
        return None, ""
    if isinstance(value, Tensor):
        if value.numel() == 1 and not value.is_complex():
            scalar = value.detach()
            return scalar if scalar.is_floating_point() else scalar.float(), ""
    elif not isinstance(value, str | bytes):
        try:
            return float(value), ""  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            pass
    expected = f"{method} needs a number or a tensor with one element"
    return None, f"{expected}; got {_describe(value)}, which is ignored."


def _describe(value: object) -> str:
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, Tensor):
        return f"a tensor of {value.dtype} and shape {tuple(value.shape)}"
    return f"an object of type {type(value).__name__}"
