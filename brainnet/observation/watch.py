"""Watch: observe any model in any training loop."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from numbers import Real
from pathlib import Path
from threading import Thread
from typing import Any, Self, get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from brainnet.errors import InputError
from brainnet.observation.capabilities import (
    ObservedModel,
    get_process_rank,
    is_readable,
    list_missing_arguments,
    list_parameters,
)
from brainnet.observation.pending_reading import PendingReading
from brainnet.observation.probe import Criterion, ProbeBatch, build_probe
from brainnet.observation.reading import Reading
from brainnet.observation.recording import open_recording
from brainnet.observation.schedule import Every, check_interval
from brainnet.observation.session import ObservationSession, log_warning
from brainnet.observation.step_observer import StepObserver
from brainnet.observation.tags import Level
from brainnet.observation.tensorboard import TensorBoardWriter, write_introduction
from brainnet.structure.inspection import unwrap_compiled

# Calls of `step` without an optimizer step before a message. A GradScaler may skip the first few.
_MAX_WAIT = 20


class LoopObservation:
    """One observed step in a user's loop: hooks on the optimizers."""

    def __init__(
        self,
        observer: StepObserver,
        observed_model: ObservedModel,
        optimizers: Sequence[Optimizer],
        probe: ProbeBatch | None,
        scaler: torch.amp.GradScaler | None,
    ) -> None:
        self.observer = observer
        self._observed_model, self._optimizers = observed_model, optimizers
        self._probe, self._scaler = probe, scaler
        self._losses: list[Tensor] = []
        self._probe_gradients: dict[Tensor, Tensor] | None = None
        self._calls = 0
        self._has_unreadable_update = False
        # An exception in a hook is raised in `is_complete`, not in the user's optimizer step.
        before, after = observer.wrap(self._before_step), observer.wrap(self._after_step)
        observer.optimizer_handles += [value.register_step_pre_hook(before) for value in optimizers]
        observer.optimizer_handles += [value.register_step_post_hook(after) for value in optimizers]
        if not optimizers:
            observer.copy_parameters(observed_model.model.parameters())

    def is_complete(self, loss: Tensor | float | None, report: Callable[[str], None]) -> bool:
        """Record the loss and return whether an optimizer step was observed."""
        self.observer.raise_failure()
        if loss is not None:
            loss = loss.detach() if isinstance(loss, Tensor) else torch.tensor(float(loss))
            self._losses.append(loss.reshape(()))
        if not self._optimizers:
            return self.observer.has_forward_pass or self._observed_model.is_compiled()
        self._calls += 1
        is_done = self.observer.has_update or self._has_unreadable_update
        if not is_done and self._calls == _MAX_WAIT:
            report(
                f"none of the optimizers passed to watch() took a step in {_MAX_WAIT} calls of "
                "step(). If you replaced the optimizer, call watch() again with the new one."
            )
        return is_done

    def finish(self, step: int) -> PendingReading:
        """Remove all hooks and start the transfer of the statistics."""
        if not self._optimizers:
            self.observer.measure_gradients(self._observed_model.model.parameters())
            self.observer.measure_changes()
        observer, loss_after = self.observer, None
        observer.close()  # the probe is faster without hooks
        if self._probe is not None and observer.loss_before is not None:
            loss_after = self._probe.compute_loss()
        if self._losses:
            observer.loss = torch.stack(self._losses).mean()
        return observer.finish(step, loss_after=loss_after)

    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        observer, has_closure = self.observer, _has_closure(args, options)
        if len(self._optimizers) == 1 and not has_closure:
            observer.remove_hooks()  # complete, and the probe is faster without hooks
        if observer.learning_rate is None:
            observer.learning_rate = float(optimizer.param_groups[0]["lr"])
            if self._probe is not None:
                parameters = [part for value in self._optimizers for part in list_parameters(value)]
                observer.is_paused = True
                results = self._probe.compute_gradients(parameters)
                observer.loss_before, self._probe_gradients = results
                observer.is_paused = False
        # A closure computes the gradients during the step.
        if has_closure:
            observer.copy_parameters(list_parameters(optimizer))
        else:
            self._measure_gradients(optimizer)

    def _after_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        if _has_closure(args, options):
            self._measure_gradients(optimizer)
        self.observer.measure_changes(self._probe_gradients)
        # Changes of sharded parameters cannot be measured, so do not wait for them.
        self._has_unreadable_update |= not any(map(is_readable, list_parameters(optimizer)))
        if len(self._optimizers) == 1:
            self.observer.remove_hooks()

    def _measure_gradients(self, optimizer: Optimizer) -> None:
        parameters = list_parameters(optimizer)
        self.observer.measure_gradients(
            parameters,
            scale=get_gradient_scale(self._scaler, parameters[0].device),
            keep_gradients=modifies_gradients(optimizer),
            # Set by a GradScaler if the optimizer itself removes the scale.
            divisor=getattr(optimizer, "grad_scale", None),
        )


def get_gradient_scale(scaler: torch.amp.GradScaler | None, device: torch.device) -> Tensor | None:
    """Return the factor of a scaler on the loss, (), without waiting for the device."""
    if scaler is None or not scaler.is_enabled():
        return None
    return scaler.scale(torch.ones((), device=device))


def modifies_gradients(optimizer: Optimizer) -> bool:
    """Return whether an optimizer may change gradients during its step."""
    # Of PyTorch's optimizers only SGD with Nesterov momentum does.
    is_known = type(optimizer).__module__.startswith(("torch.optim.", "brainnet."))
    return not is_known or any(group.get("nesterov") for group in optimizer.param_groups)


def _has_closure(args: tuple[Any, ...], options: dict[str, Any]) -> bool:
    return (len(args) > 1 and args[1] is not None) or options.get("closure") is not None


class Watcher:
    """The result of `watch`: observes a model until `close`.

    If it is deleted without `close`, it removes its hooks and writes what it has observed.

    Attributes:
        folder: where it writes.
        limitations: what is not observed, and why, one sentence each.
    """

    def __init__(
        self,
        model: nn.Module,
        folder: Path,
        session: ObservationSession,
        optimizers: Sequence[Optimizer],
        scaler: torch.amp.GradScaler | None,
        first_step: int,
    ) -> None:
        self.folder = folder
        self.limitations = session.limitations
        self._session, self._model, self._step = session, model, first_step
        self._optimizers, self._scaler = optimizers, scaler
        self._observation: LoopObservation | None = None
        self._probe: ProbeBatch | None = None

    def _start(self, criterion: Criterion | None, sample: tuple[Tensor, Tensor] | None) -> None:
        """Open the files, and observe the first step."""
        session, rank = self._session, get_process_rank()
        if rank:
            self.limitations.append(f"process {rank} observes nothing; process 0 does.")
            session.is_active = False
        if not session.is_active or not session.check_model(self._model):
            return
        has_probe = criterion is not None and sample is not None
        # Omitted arguments are the user's choice, and need no warning in the log.
        self.limitations += list_missing_arguments(
            self._model, self._optimizers, has_probe=has_probe
        )
        if criterion is not None and sample is not None and self._optimizers:
            known = session.inspect(self._model)
            self._probe = build_probe(known, criterion, sample, session.report)
        self._open_writer("loss" if criterion is None else type(criterion).__name__)
        self._start_observation()

    def __enter__(self) -> Self:
        """Return the watcher, which is active since construction."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the watcher."""
        self.close()

    @property
    def readings(self) -> list[Reading]:
        """All readings so far; waits for those that are still being copied."""
        if self._session.writer is not None:
            self._session.writer.wait()
        return list(self._session.readings)

    def frame(self) -> Any:
        """Return the readings as a data frame: one row per reading, one column per tag."""
        # Imported here because it takes long and is rarely needed.
        import pandas

        columns = ("step", "epoch", "loss")
        rows = [
            {name: getattr(reading, name) for name in columns} | reading.to_scalars()
            for reading in self.readings
        ]
        return pandas.DataFrame(rows)

    def step(self, loss: Tensor | float | None = None) -> None:
        """Mark the end of a training step; call it after the optimizer step.

        Args:
            loss: loss of the batch.
        """
        if not self._session.is_active:
            return
        with self._session.stop_on_error():
            if self._observation is not None:
                scalar = self._parse_scalar(loss, "step()")
                if self._observation.is_complete(scalar, self._session.report):
                    self._finish_observation(self._observation)
            self._step += 1
            self._start_observation()

    def validation(self, **scalars: float | Tensor) -> None:
        """Record validation metrics: `loss=…` is written as `loss/validation`, and so on."""
        with self._session.stop_on_error():
            values = {
                f"{name}/validation": self._parse_scalar(value, "validation()")
                for name, value in scalars.items()
            }
            points = {tag: float(value) for tag, value in values.items() if value is not None}
            step = self._step
            if self._session.writer is not None:
                self._session.writer.write(lambda writer: writer.add_scalars(points, step))

    def close(self) -> None:
        """Remove the hooks and write everything to disk; can be called repeatedly."""
        self._observation = None
        self._session.close()

    def __del__(self) -> None:
        """Stop observing, for example if a notebook cell is run again."""
        writer = self._session.writer
        if writer is None or not writer.is_open:
            return
        self._session.cancel()
        # In a thread, because this may run at any point and hold a lock that closing needs.
        with suppress(RuntimeError):  # at exit no thread can start, and `atexit` closes the writer
            Thread(target=writer.close, daemon=True).start()

    def _start_observation(self) -> None:
        """Register the hooks if the step that begins is due."""
        session = self._session
        if self._observation is not None or not session.needs_step(self._step):
            return
        self._observation = LoopObservation(
            session.start_step(self._model),
            session.inspect(self._model),
            self._optimizers,
            self._probe,
            self._scaler,
        )

    def _finish_observation(self, observation: LoopObservation) -> None:
        session, self._observation = self._session, None
        pending = observation.finish(self._step)
        is_compiled = session.inspect(self._model).is_compiled()
        if not observation.observer.has_forward_pass and not is_compiled:
            session.report(
                "no forward pass was observed before the optimizer step, so firing rates are "
                "missing. Compiled code, for example, does not run the hooks."
            )
        if self._probe is not None and self._probe.failure is not None:
            session.report(self._probe.failure)
            self._probe = None
        session.add_reading(pending)

    def _parse_scalar(self, value: object, method: str) -> Tensor | float | None:
        if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
            return value.detach() if value.is_floating_point() else value.detach().float()
        if isinstance(value, Real):
            return float(value)
        if value is not None:
            kind = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            self._session.report(
                f"{method} needs a number or a tensor with one element; got {kind}, which is "
                "ignored."
            )
        return None

    def _open_writer(self, loss: str) -> None:
        recording = writer = None
        try:
            recording = open_recording(self.folder, self._step)
            requested, self.folder = self.folder, recording.path.parent
            if self.folder != requested:
                log_warning(
                    f"watch: {requested} contains another training; writing to {self.folder}."
                )
            writer = TensorBoardWriter(self.folder)
            writer.drop_from(self._step)
            optimizer = type(self._optimizers[-1]).__name__ if self._optimizers else "optimizer"
            model = unwrap_compiled(self._model)
            write_introduction(writer, model, loss=loss, optimizer=optimizer)
        except (InputError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            self._session.report(f"nothing is written to {self.folder}: {reason}")
        self._session.open_writer(recording, writer, with_loss=True)


def watch(
    model: nn.Module,
    folder: Path | str,
    every: Every = 50,
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
    criterion: Criterion | None = None,
    sample: tuple[Tensor, Tensor] | None = None,
    level: Level = "light",
    *,
    first_step: int = 0,
    scaler: torch.amp.GradScaler | None = None,
) -> Watcher:
    """Observe a model in any training loop and write readings to TensorBoard and to a file.

    Steps 0, 1, 2, 5, 10, 20 … are observed, then every `every`-th. On other steps there are no
    hooks and no device synchronization. Results of the training do not change, and no random
    numbers are drawn. What cannot be observed is reported once in the log and in `limitations`;
    errors never end the training.

    Call `step` after each optimizer step, and `close` at the end, or use a `with` block. Gradients
    are read in the optimizer step, so they may be accumulated and cleared at any time; if the loop
    clips them, the clipped ones are recorded. In distributed training, process 0 observes its own
    rows and the reduced gradients; of sharded parameters only activations are observed.

    Args:
        model: any module; apply `torch.jit.script` after `close`.
        folder: where to write. If it contains another training, `folder_2`, `folder_3` and so on
            is used instead, and reported in the log.
        every: steps between two observations. "auto" keeps their cost within 3% of the training
            time; the observed steps then vary between runs.
        optimizer: one or several optimizers. Without them, the learning rate is not recorded, and
            gradients only if they still exist when `step` is called.
        criterion: computes the loss from outputs and targets. With `sample`, the actual decrease
            of the loss is recorded.
        sample: inputs and targets of some fixed rows, for example one batch, of which models with
            many weights evaluate only the first.
        level: how much to record, "light" or "full", as in `Observe`.
        first_step: number of steps taken before, if a training continues in `folder`.
        scaler: the `GradScaler` that scales the loss, needed for deltas (level `full`).

    Raises:
        InputError: if an argument is invalid.

    Example:
        >>> import tempfile
        >>> model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with watch(model, folder, optimizer=optimizer) as watching:
        ...         for _ in range(3):
        ...             loss = model(torch.ones(4, 2)).square().mean()
        ...             optimizer.zero_grad(); loss.backward(); optimizer.step()
        ...             watching.step(loss)
        >>> [reading.step for reading in watching.readings]
        [0, 1, 2]
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"watch needs a torch.nn.Module; got {type(model).__name__}.")
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError("watch cannot observe a scripted model. Pass the model before scripting.")
    if level not in get_args(Level):
        levels = " or ".join(get_args(Level))
        raise InputError(f"level must be {levels}; got {level!r}. Use watch(..., level='light').")
    if isinstance(first_step, bool) or not isinstance(first_step, int) or first_step < 0:
        raise InputError(f"first_step must be a non-negative integer; got {first_step!r}.")
    if not isinstance(folder, str | os.PathLike):
        raise InputError(f"watch needs a folder to write to; got {folder!r}.")
    values = sample if isinstance(sample, tuple | list) else (sample,)
    if sample is not None and [isinstance(value, Tensor) for value in values] != [True, True]:
        kinds = ", ".join(type(value).__name__ for value in values)
        raise InputError(
            f"sample must be a pair (inputs, targets) of tensors; got {kinds}. If the model does "
            "not accept tensors, omit sample."
        )
    optimizers = [optimizer] if isinstance(optimizer, Optimizer) else list(optimizer or ())
    if not all(isinstance(value, Optimizer) for value in optimizers):
        raise InputError(f"optimizer must be a torch.optim.Optimizer; got {optimizer!r}.")
    session = ObservationSession("watch", check_interval(every, "every"), level)
    watcher = Watcher(model, Path(folder), session, optimizers, scaler, first_step)
    with session.stop_on_error():
        watcher._start(criterion, sample)
    return watcher
