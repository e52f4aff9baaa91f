"""Session: the observed steps of one training, up to the first error."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from torch import Tensor, nn

from brainnet.observation.background_writer import BackgroundWriter
from brainnet.observation.capabilities import (
    ObservedModel,
    find_obstacle,
    list_hidden_parts,
    shorten_list,
)
from brainnet.observation.pending_reading import PendingReading
from brainnet.observation.reading import Reading
from brainnet.observation.recording import Recording
from brainnet.observation.schedule import AdaptiveInterval, Every
from brainnet.observation.step_observer import StepObserver
from brainnet.observation.tags import Level
from brainnet.observation.tensorboard import TensorBoardWriter

_log = logging.getLogger(__name__)


def log_warning(message: str) -> None:
    """Write to the log; not a Python warning, which would raise if warnings are errors."""
    _log.warning(message)


@contextmanager
def stop_on_error(
    subject: str, stop: Callable[[], None], report: Callable[[str], None] = log_warning
) -> Iterator[None]:
    """Report an exception and call `stop`, instead of ending the training."""
    try:
        yield
    except Exception as error:
        report(f"{subject} stopped: {type(error).__name__}: {error}")
        _log.debug("%s stopped", subject, exc_info=True)
        stop()


class ObservationSession:
    """What `watch` and `Observe` share: which steps are due, their observers and the readings.

    `directions` are the gradients that the next reading is compared with. Without a `writer`,
    readings are kept in memory only.
    """

    def __init__(
        self, name: str, every: Every, level: Level, directions: Mapping[str, Tensor] | None = None
    ) -> None:
        self.readings: list[Reading] = []
        self.limitations: list[str] = []
        self.directions = directions or {}
        self.observer: StepObserver | None = None
        self.writer: BackgroundWriter | None = None
        self.is_active = True
        self._name, self._level = name, level
        self._interval = AdaptiveInterval(every)
        self._observed_model: ObservedModel | None = None

    def open_writer(
        self, recording: Recording | None, writer: TensorBoardWriter | None, with_loss: bool
    ) -> None:
        """Write the readings in a background thread."""
        seconds = self._interval.background_seconds
        self.writer = BackgroundWriter(
            self.readings, recording, writer, self.report, with_loss=with_loss, seconds=seconds
        )

    def check_model(self, model: nn.Module, outermost: nn.Module | None = None) -> bool:
        """Report what cannot be observed, and return whether anything can."""
        known = self.inspect(model)
        obstacle = find_obstacle(outermost or model, known)
        for message in [obstacle] if obstacle else list_hidden_parts(known):
            self.report(message)
        self.is_active = obstacle is None
        return self.is_active

    def inspect(self, model: nn.Module) -> ObservedModel:
        """Inspect the model, only if it has changed since the last time."""
        if self._observed_model is None or not self._observed_model.is_current():
            self._observed_model = ObservedModel(model)
        return self._observed_model

    def needs_step(self, step: int) -> bool:
        """Return whether a step is due or being observed."""
        return self.is_active and (self.observer is not None or self._interval.is_due(step))

    def start_step(self, model: nn.Module) -> StepObserver:
        """Register hooks on the model."""
        known = self.inspect(model)
        self.observer = StepObserver(known, level=self._level, previous=self.directions)
        return self.observer

    def add_reading(self, pending: PendingReading) -> None:
        """End the observed step, and write its reading."""
        observer, self.observer = self.observer, None
        assert observer is not None, "set when the step started"
        self.directions = observer.directions
        # A model may apply the activation that it registers after a layer to something else.
        names = [layer.info.name for layer in observer.layers if layer.is_activation_missing]
        if names:
            self.report(
                f"the activation registered after {shorten_list(names)} is applied to something "
                "else, so firing rates are not observed there."
            )
        if self.writer is None:
            self.readings.append(pending.resolve().reading)
        else:
            self.writer.add_reading(pending)

    def report(self, message: str) -> None:
        """Add a sentence to `limitations` and to the log, once."""
        if message not in self.limitations:
            self.limitations.append(message)
            log_warning(f"{self._name}: {message}")

    def stop_on_error(self) -> AbstractContextManager[None]:
        """Stop observing after an exception."""
        return stop_on_error("observation", self.cancel, self.report)

    def cancel(self) -> None:
        """Stop observing, and remove the hooks."""
        self.is_active = False
        observer, self.observer = self.observer, None
        if observer is not None:
            observer.close()

    def close(self) -> None:
        """Stop observing, and write everything to disk; can be called repeatedly."""
        with self.stop_on_error():
            self.cancel()
            if self.writer is not None:
                self.writer.close()
