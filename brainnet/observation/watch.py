"""Watch: observe any model in any training loop."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar, get_args
from weakref import WeakMethod, WeakSet

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from brainnet.errors import InputError
from brainnet.observation.background_writer import BackgroundWriter
from brainnet.observation.capabilities import (
    find_hidden_parts,
    find_layers_without_output,
    find_obstacles,
    get_process_rank,
    is_compiled,
    is_readable,
    list_missing_arguments,
    list_parameters,
)
from brainnet.observation.pending_reading import PendingReading
from brainnet.observation.probe import (
    Criterion,
    ProbeBatch,
    build_probe,
    check_sample,
    explain_missing_probe,
    single_number,
)
from brainnet.observation.reading import Reading, to_frame
from brainnet.observation.recording import open_recording
from brainnet.observation.schedule import AdaptiveInterval, Every, check_interval
from brainnet.observation.step_observer import StepObserver
from brainnet.observation.tags import Level
from brainnet.observation.tensorboard import TensorBoardWriter, write_introduction
from brainnet.structure.inspection import unwrap_compiled

_OPEN: WeakSet[object] = WeakSet()


def leave_in_order(watcher: object) -> None:
    """Have SIGTERM raise `SystemExit`, where nobody else has a say in it, while somebody watches.

    Python would otherwise end on the spot: no `with` is left, nothing that waits is written. The
    exit code is the one that a shell shows for the signal, 143.

    Args:
        watcher: who watches, until `hand_back`.
    """
    _OPEN.add(watcher)
    # Only there does Python allow handlers.
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _leave)


def hand_back(watcher: object) -> None:
    """Let SIGTERM be what it was, once nobody watches any more."""
    _OPEN.discard(watcher)
    if _OPEN or threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is _leave:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


Answer = TypeVar("Answer")

PATIENCE = 20

"""Calls of `step` without one of the optimizer: a GradScaler's first ones may well be skipped."""


class LoopObservation:
    """One look as it happens: hooks on the model, and on the optimizers around their step.

    Args:
        observed: the step, listened to from now on.
        model: what learns.
        optimizers: those that move it; without any, where the weights are is remembered now.
        judge: what asks it about fixed rows before and after the step.
        scaler: what multiplies the loss for the backward pass, where something does.

    Attributes:
        observed: the step.
        unjudged: why the judge could not tell, where it could not.
    """

    def __init__(
        self,
        observed: StepObserver,
        model: nn.Module,
        optimizers: Sequence[Optimizer],
        judge: ProbeBatch | None,
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        self.observed = observed
        self._model, self._optimizers = model, optimizers
        self.unjudged: Exception | None = None
        self._judge = judge
        self._scaler = scaler
        self._failure: Exception | None = None
        self._losses: list[Tensor] = []
        self._learning_rate: float | None = None
        self._before: Tensor | None = None
        self._slopes: dict[Tensor, Tensor] | None = None
        self._open = True
        self._waited = 0
        self._moved_unseen = False
        self._handles: list[Any] = []
        for optimizer in optimizers:
            self._handles.append(optimizer.register_step_pre_hook(self._before_step))
            self._handles.append(optimizer.register_step_post_hook(self._after_step))
        if not optimizers:
            observed.remember(model.parameters())

    def close(self) -> None:
        """Take all hooks off."""
        self._open = False
        while self._handles:
            self._handles.pop().remove()
        self.observed.close()

    def is_done(self, loss: Tensor | float | None, say: Callable[[str], None]) -> bool:
        """Note the loss, and tell whether there was a step to look at.

        Raises:
            Exception: what went wrong in a hook of the optimizer's.
        """
        if self._failure is not None:
            raise self._failure
        if isinstance(loss, Tensor):
            loss = loss.detach()
        elif loss is not None:
            loss = torch.tensor(float(loss))
        if loss is not None and loss.numel() == 1:
            self._losses.append(loss.reshape(()))
        if self._optimizers:
            stepped = self.observed.stepped or self._moved_unseen
        else:
            stepped = self.observed.heard
        if stepped:
            return True
        self._waited += 1
        if self._optimizers and self._waited == PATIENCE:
            say(
                f"the optimizer that watch was given took no step in {PATIENCE} calls of step(); "
                "where another one steps now, nothing is seen. Watch anew, with that one."
            )
        if not self.observed.heard and not is_compiled(self._model):
            say("step() was called before any forward pass; there was nothing to look at yet.")
            return False
        return not self._optimizers

    def finish(self, step: int) -> PendingReading:
        """Send home what was seen, and take all hooks off.

        Args:
            step: optimizer steps taken before this one.
        """
        if not self._optimizers:
            self._judge = None
            self.observed.before_update(self._model.parameters())
            self.observed.after_update()
        self.close()
        after = None if self._before is None else self._asked(ProbeBatch.loss)
        return self.observed.finish(
            step,
            0,
            learning_rate=self._learning_rate,
            loss=torch.stack(self._losses).mean() if self._losses else None,
            before=self._before,
            after=after,
        )

    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        if not self._open or self._failure is not None:
            return
        closure = _has_closure(args, options)
        with self._waiting():
            if len(self._optimizers) == 1 and not closure:
                self.observed.close()  # all was heard, and the judge's questions take less time
            if self._learning_rate is None:
                self._learning_rate = float(optimizer.param_groups[0]["lr"])
                self._ask()
            if closure:
                self.observed.remember(list_parameters(optimizer))
            else:
                self._read(optimizer)

    def _after_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        if not self._open or self._failure is not None:
            return
        with self._waiting():
            if _has_closure(args, options):
                self._read(optimizer)  # the gradients came during the step
            self.observed.after_update(self._slopes)
            # Sharded over processes, they would otherwise be waited for as if they never moved.
            self._moved_unseen |= not any(map(is_readable, list_parameters(optimizer)))
            if len(self._optimizers) == 1:
                self.observed.close()

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """What goes wrong amid a step of theirs waits for `is_done`; hooks cannot go before."""
        try:
            yield
        except Exception as error:
            self._failure = error

    def _read(self, optimizer: Optimizer) -> None:
        parameters = list_parameters(optimizer)
        self.observed.before_update(
            parameters,
            scale=get_gradient_scale(self._scaler, parameters[0].device),
            keep_gradients=modifies_gradients(optimizer),
            # Set by a GradScaler where the optimizer itself is to free the gradients of the scale.
            divisor=getattr(optimizer, "grad_scale", None),
        )

    def _ask(self) -> None:
        """What the sample says of the network before the step."""
        if self._judge is not None:
            self.observed.deaf = True
            moving = [each for optimizer in self._optimizers for each in list_parameters(optimizer)]
            answer = self._asked(lambda judge: judge.slope(dict.fromkeys(moving)))
            if answer is not None:
                self._before, self._slopes = answer
            self.observed.deaf = False

    def _asked(self, question: Callable[[ProbeBatch], Answer]) -> Answer | None:
        """What the judge says, until it cannot: the step is seen all the same."""
        if self._judge is None or self.unjudged is not None:
            return None
        try:
            return question(self._judge)
        except Exception as error:
            self.unjudged = error
            return None


def get_gradient_scale(scaler: torch.amp.GradScaler | None, device: torch.device) -> Tensor | None:
    """What a scaler multiplies a loss by, (), where it does so; nothing waits for its device."""
    if scaler is None or not scaler.is_enabled():
        return None
    return scaler.scale(torch.ones((), device=device))


def modifies_gradients(optimizer: Optimizer) -> bool:
    """Whether its step may change the gradients that it reads.

    PyTorch's own do so in one case: `SGD` adds momentum to them in place, looking ahead. Of
    somebody else's nobody knows.

    Example:
        >>> weights = [nn.Parameter(torch.zeros(1))]
        >>> changes_gradients(torch.optim.SGD(weights, momentum=0.9, nesterov=True))
        True
        >>> changes_gradients(torch.optim.Adam(weights))
        False
    """
    known = type(optimizer).__module__.startswith(("torch.optim.", "brainnet."))
    return not known or any(group.get("nesterov") for group in optimizer.param_groups)


def _has_closure(args: tuple[Any, ...], options: dict[str, Any]) -> bool:
    return (len(args) > 1 and args[1] is not None) or options.get("closure") is not None


log = logging.getLogger(__name__)


class Watcher:
    """What `watch` opens.

    Dropped without `close`, it lets go of the model, and what it has seen is still written.

    Attributes:
        folder: where it writes.
        left_out: what is not seen, or not any more, and why; one sentence each.
    """

    def __init__(
        self,
        model: nn.Module,
        folder: Path,
        *,
        every: Every,
        optimizers: Sequence[Optimizer],
        criterion: Criterion | None,
        sample: tuple[Tensor, Tensor] | None,
        level: Level,
        first_step: int,
        scaler: torch.amp.GradScaler | None,
    ) -> None:
        self._recorder: BackgroundWriter | None = None
        self.folder = folder
        self.left_out: list[str] = []
        self._model, self._pace, self._level = model, AdaptiveInterval(every), level
        self._optimizers, self._scaler = tuple(optimizers), scaler
        self._step = first_step
        self._readings: list[Reading] = []
        self._looking: LoopObservation | None = None
        self._directions: dict[str, Tensor] = {}
        self._shapes: list[tuple[str, torch.Size]] | None = None
        self._judge: ProbeBatch | None = None
        self._open = True
        with self._careful():
            self._look_around(judged=criterion is not None and sample is not None)
            if self._open:
                if criterion is not None and sample is not None and self._optimizers:
                    self._judge = build_probe(model, criterion, sample, self._say)
                self._recorder = self._make_recorder(first_step, criterion)
                leave_in_order(self)
                self._begin()

    def __enter__(self) -> Self:
        """It watches since it was made."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close, whatever happened."""
        self.close()

    @property
    def readings(self) -> list[Reading]:
        """Every look so far, in plain numbers; waits for those that are still on their way."""
        if self._recorder is not None:
            self._recorder.wait()
        return list(self._readings)

    def frame(self) -> Any:
        """The readings as a table: a row for each, a column for each tag.

        Raises:
            InputError: where pandas is not installed.
        """
        return to_frame(self.readings)

    def step(self, loss: Tensor | float | None = None) -> None:
        """One step is done.

        Args:
            loss: of its rows.
        """
        if not self._open:
            return
        with self._careful():
            looked = self._looking is not None
            if self._looking is not None and self._looking.is_done(
                self._single(loss, "step()"), self._say
            ):
                looking, self._looking = self._looking, None
                self._keep(looking)
            self._step += 1
            aside = self._recorder.spent() if looked and self._recorder is not None else ()
            self._pace.passed(looked=looked, aside=aside)
            self._begin()

    def validation(self, **scalars: float | Tensor) -> None:
        """Curves of rows kept aside: `loss=…` becomes `loss/validation`, and so on."""
        with self._careful():
            if self._recorder is not None:
                found = {name: self._single(each, "validation()") for name, each in scalars.items()}
                points = {
                    f"{name}/validation": float(each)
                    for name, each in found.items()
                    if each is not None
                }
                self._recorder.scalars(points, self._step)

    def close(self) -> None:
        """Take the hooks off and put everything on disk; harmless where that is done already."""
        self._open = False
        with self._careful():
            self._stop_looking()
            if self._recorder is not None:
                self._recorder.close()
        hand_back(self)

    def __del__(self) -> None:
        """Let go of a model that nobody watches any more, as where a cell is run again."""
        if self._recorder is None or not self._recorder.is_open:
            return
        self._stop_looking()
        hand_back(self)
        # In a thread, as this may come in the middle of anything, holding whatever it waits for.
        with suppress(RuntimeError):  # the program ends, and with it the recorder
            Thread(target=self._recorder.close, daemon=True).start()

    def _begin(self) -> None:
        """Put the hooks on, if the step that begins is due."""
        if self._looking is None and self._pace.due(self._step):
            observed = StepObserver(self._model, level=self._level, previous=self._directions)
            self._notice_changes(observed)
            self._looking = LoopObservation(
                observed, self._model, self._optimizers, self._judge, self._scaler
            )

    def _keep(self, looking: LoopObservation) -> None:
        unread = looking.finish(self._step)
        self._directions = looking.observed.directions
        if not looking.observed.heard and not is_compiled(self._model):
            self._say(
                "no forward pass was seen before a step, so who fires is not told; compiled code, "
                "for one, shows none."
            )
        if looking.unjudged is not None:
            self._judge = None
            self._say(explain_missing_probe(looking.unjudged))
        if looking.observed.unanswered:
            self._say(find_layers_without_output(looking.observed.unanswered))
        if self._recorder is not None:
            self._recorder.look(unread)

    def _stop_looking(self) -> None:
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.close()

    @contextmanager
    def _careful(self) -> Iterator[None]:
        """A training must not end because somebody watched it."""
        try:
            yield
        except Exception as error:
            self._open = False
            self._say(f"it looks no more: {type(error).__name__}: {error}")
            log.debug("watch looks no more", exc_info=True)
            looking, self._looking = self._looking, None
            if looking is not None:
                looking.close()

    def _say(self, message: str) -> None:
        """Say something once, in the log and in `left_out`."""
        if message not in self.left_out:
            self.left_out.append(message)
            # A log, not a warning: where warnings are errors, that would raise.
            log.warning("watch: %s", message)

    def _single(self, value: object, asker: str) -> Tensor | float | None:
        """A number that was handed over; it says so where it is none."""
        number, trouble = single_number(value, asker)
        if trouble:
            self._say(trouble)
        return number

    def _look_around(self, *, judged: bool) -> None:
        """Note what is not seen; `_open` says whether there is anything left."""
        rank = get_process_rank()
        if rank:
            self.left_out.append(f"process {rank} looks at nothing; process 0 does.")
            self._open = False
        elif (reason := find_obstacles(self._model)) is not None:
            self._say(reason)
            self._open = False
        else:
            for message in find_hidden_parts(self._model):
                self._say(message)
            # What was not given was somebody's choice: not a word about it in the log.
            self.left_out += list_missing_arguments(self._model, self._optimizers, judged=judged)

    def _make_recorder(self, first_step: int, criterion: Criterion | None) -> BackgroundWriter:
        recording = writer = None
        try:
            recording = open_recording(self.folder, first_step)
            wanted, self.folder = self.folder, recording.path.parent
            if self.folder != wanted:
                log.warning(
                    "watch: %s holds an earlier training; this one is in %s.", wanted, self.folder
                )
            writer = TensorBoardWriter(self.folder)
            writer.goes_on_from(first_step)
            names = [type(part).__name__ for part in (criterion, *self._optimizers) if part]
            write_introduction(
                writer,
                unwrap_compiled(self._model),
                loss=names[0] if criterion is not None else "loss",
                optimizer=names[-1] if self._optimizers else "optimizer",
            )
        except (InputError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            self._say(f"nothing is written to {self.folder}: {reason}")
        said = WeakMethod(self._say)  # its thread must not keep alive who is dropped
        return BackgroundWriter(
            self._readings,
            recording,
            writer,
            said=lambda message: say(message) if (say := said()) else None,
            with_loss=True,
        )

    def _notice_changes(self, observed: StepObserver) -> None:
        shapes = [
            (place.name, place.weights.shape)
            for place in (layer.place for layer in observed.layers)
            if not is_lazy(place.weights)
        ]
        if self._shapes is not None and shapes != self._shapes:
            self._say(
                f"the model's layers changed before step {self._step}; what is seen from there on "
                "is that of the new ones."
            )
        self._shapes = shapes


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
    """Watch a network learn, in any loop: into TensorBoard, a file, and plain data.

    It looks at steps 0, 1, 2, 5, 10, 20 … and then at every `every`-th; at all others there is no
    hook and nothing waits for the device. Gradients and the way that weights go are read right
    before and after the optimizer's step, so that it does not matter when the loop clears them. It
    changes no weight and draws no random number; where it cannot see or cannot go on, it says so
    once in the log and in `left_out`, and leaves the training alone.

    Of several processes that train together the first one looks: at its own rows, and at gradients
    that all have added to. Of parameters sharded over them (`fully_shard`) only answers are seen.

    Call `step` once for each step of the optimizer, after it; gradients may add up over several
    forward passes before. They are read as the optimizer finds them: where the loop clips them
    itself, they are told as clipped, and so is `gradient_norm`.

    Copies of the model, files of it, and what `torch.compile` or `torch.export` make of it know
    nothing of the watching; `torch.jit.script` it before, or after `close`.

    Use it in a `with`, or `close` it: then everything is on disk, also when the training ends by
    Ctrl-C, SIGTERM or an exception.

    Args:
        model: any module.
        folder: where to write; where an earlier training is recorded there, the next one that is
            free, `_2`, `_3` and so on, as the log then says.
        every: steps between two looks; "auto": as many as keep all looking within 3% of the time,
            going by what looks and steps have taken so far; two trainings alike may then be
            looked at at different steps.
        optimizer: one or several; without it there is no learning rate, and gradients are seen
            only where they are still there when `step` is called.
        criterion: from outputs and targets to a loss; with `sample` it tells how far the loss
            really falls in a step.
        sample: inputs and targets of a few fixed rows, a batch or so, to ask about before and after
            each step that is looked at, in evaluation mode; of a large network (from a million
            weights on) only about the first 16.
        level: how much to look at, "light" or "full", as in `Observe`.
        first_step: steps taken before, of a training that goes on: what was recorded in this very
            folder until then stays, and the counting goes on from there.
        scaler: the `GradScaler` that multiplies the loss before its backward pass, if one does;
            gradients are free of it anyway, and with it so is the blame of each neuron (`full`).

    Raises:
        InputError: where what is given cannot be meant.

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
    if level not in get_args(Level):
        raise InputError(
            f"watch needs a level, {' or '.join(get_args(Level))}; got {level!r}. "
            'Say watch(..., level="light").'
        )
    if isinstance(first_step, bool) or not isinstance(first_step, int) or first_step < 0:
        raise InputError(f"first_step is a number of steps, 0 or more; got {first_step!r}.")
    if not isinstance(folder, str | os.PathLike):
        raise InputError(f"watch needs a folder to write to; got {folder!r}.")
    check_sample(sample)
    optimizers = [optimizer] if isinstance(optimizer, Optimizer) else list(optimizer or ())
    for each in optimizers:
        if not isinstance(each, Optimizer):
            raise InputError(f"watch needs torch.optim.Optimizer; got {type(each).__name__}.")
    return Watcher(
        model,
        Path(folder),
        every=check_interval(every, "every"),
        optimizers=optimizers,
        criterion=criterion,
        sample=sample,
        level=level,
        first_step=first_step,
        scaler=scaler,
    )
