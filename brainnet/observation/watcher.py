"""Watcher: sees any training loop now and then, writes down what it saw, and lets go."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Self
from weakref import WeakMethod

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from brainnet.errors import InputError
from brainnet.observation.cadence import Every, Pace
from brainnet.observation.given import single_number
from brainnet.observation.introduction import introduce
from brainnet.observation.judge import Criterion, Judge, judge_for, unjudged
from brainnet.observation.look_in_a_loop import LookInALoop
from brainnet.observation.observed_step import ObservedStep
from brainnet.observation.parts import is_compiled
from brainnet.observation.reading import Reading, frame
from brainnet.observation.recorder import Recorder
from brainnet.observation.recording import record_in
from brainnet.observation.tags import Level
from brainnet.observation.termination import hand_back, leave_in_order
from brainnet.observation.visibility import blind, hidden, not_given, process_rank, unanswered
from brainnet.observation.writer import Writer
from brainnet.structure.anatomy import uncompiled

log = logging.getLogger(__name__)


class Watching:
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
        self._recorder: Recorder | None = None
        self.folder = folder
        self.left_out: list[str] = []
        self._model, self._pace, self._level = model, Pace(every), level
        self._optimizers, self._scaler = tuple(optimizers), scaler
        self._step = first_step
        self._readings: list[Reading] = []
        self._looking: LookInALoop | None = None
        self._directions: dict[str, Tensor] = {}
        self._shapes: list[tuple[str, torch.Size]] | None = None
        self._judge: Judge | None = None
        self._open = True
        with self._careful():
            self._look_around(judged=criterion is not None and sample is not None)
            if self._open:
                if criterion is not None and sample is not None and self._optimizers:
                    self._judge = judge_for(model, criterion, sample, self._say)
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

    def frame(self) -> Any:  # noqa: ANN401  (a pandas.DataFrame)
        """The readings as a table: a row for each, a column for each tag.

        Raises:
            InputError: where pandas is not installed.
        """
        return frame(self.readings)

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
            observed = ObservedStep(self._model, level=self._level, previous=self._directions)
            self._notice_changes(observed)
            self._looking = LookInALoop(
                observed, self._model, self._optimizers, self._judge, self._scaler
            )

    def _keep(self, looking: LookInALoop) -> None:
        unread = looking.finish(self._step)
        self._directions = looking.observed.directions
        if not looking.observed.heard and not is_compiled(self._model):
            self._say(
                "no forward pass was seen before a step, so who fires is not told; compiled code, "
                "for one, shows none."
            )
        if looking.unjudged is not None:
            self._judge = None
            self._say(unjudged(looking.unjudged))
        if looking.observed.unanswered:
            self._say(unanswered(looking.observed.unanswered))
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
        rank = process_rank()
        if rank:
            self.left_out.append(f"process {rank} looks at nothing; process 0 does.")
            self._open = False
        elif (reason := blind(self._model)) is not None:
            self._say(reason)
            self._open = False
        else:
            for message in hidden(self._model):
                self._say(message)
            # What was not given was somebody's choice: not a word about it in the log.
            self.left_out += not_given(self._model, self._optimizers, judged=judged)

    def _make_recorder(self, first_step: int, criterion: Criterion | None) -> Recorder:
        recording = writer = None
        try:
            recording = record_in(self.folder, first_step)
            wanted, self.folder = self.folder, recording.path.parent
            if self.folder != wanted:
                log.warning(
                    "watch: %s holds an earlier training; this one is in %s.", wanted, self.folder
                )
            writer = Writer(self.folder)
            writer.goes_on_from(first_step)
            names = [type(part).__name__ for part in (criterion, *self._optimizers) if part]
            introduce(
                writer,
                uncompiled(self._model),
                loss=names[0] if criterion is not None else "loss",
                optimizer=names[-1] if self._optimizers else "optimizer",
            )
        except (InputError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            self._say(f"nothing is written to {self.folder}: {reason}")
        said = WeakMethod(self._say)  # its thread must not keep alive who is dropped
        return Recorder(
            self._readings,
            recording,
            writer,
            said=lambda message: say(message) if (say := said()) else None,
            with_loss=True,
        )

    def _notice_changes(self, observed: ObservedStep) -> None:
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
