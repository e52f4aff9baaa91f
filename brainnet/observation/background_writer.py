"""Recorder: reads and writes what was looked at, in a thread beside the training."""

import atexit
import contextlib
import logging
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping
from time import thread_time

from brainnet.observation.pending_reading import PendingReading
from brainnet.observation.reading import Reading, ReadingWithHistograms
from brainnet.observation.recording import Recording
from brainnet.observation.tags import LOSS_TRAIN
from brainnet.observation.tensorboard import TensorBoardWriter

log = logging.getLogger(__name__)

WAITING = 64

"""Looks that may wait; beyond them, training waits for the disk rather than lose any."""

REST = 0.5

"""Seconds that looks may lie while more of them come: a dozen at once take as long as three or four
one by one, each of which finds the processor's caches full of the training."""


class BackgroundWriter:
    """Takes looks as they come and reads them, records them and shows them in TensorBoard.

    It does so with those of half a second at once, or as soon as somebody waits. Nothing that was
    given to it is lost at a clean end: `close` waits for the last, and the end of the program
    closes it. What comes after that is dropped, and what its copy in a forked process is given,
    which says so. What goes wrong is said once; the readings go on, in memory.

    Args:
        readings: where readings are added, in order.
        recording: the file that keeps them; closed at the end.
        writer: TensorBoard's; closed at the end.
        said: called with what went wrong; it goes to the log where None.
        with_loss: whether the loss is shown, too; where nobody else does.
    """

    def __init__(
        self,
        readings: list[Reading],
        recording: Recording | None = None,
        writer: TensorBoardWriter | None = None,
        *,
        said: Callable[[str], None] | None = None,
        with_loss: bool = False,
    ) -> None:
        self._readings = readings
        self._recording = recording
        self._writer = writer
        self._said = said or log.warning
        self._with_loss = with_loss
        self._tasks: queue.Queue[Callable[[], None] | None] = queue.Queue(WAITING)
        self._wanted = threading.Event()
        self._lock = threading.Lock()  # nothing is given after the end
        self._ended = False
        self._seconds: deque[float] = deque(maxlen=WAITING)
        self._process = os.getpid()
        self._dropped = False
        # A daemon, because nobody must wait for a thread that nobody closed; atexit closes it.
        self._thread = threading.Thread(target=self._work, name="brainnet-recorder", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def look(self, unread: PendingReading) -> None:
        """Take a look, to be read once its numbers are home."""
        self._take(lambda: self._keep(unread))

    def scalars(self, numbers: Mapping[str, float], step: int) -> None:
        """Take points of curves."""
        found = dict(numbers)
        self._take(lambda: self._show(lambda writer: writer.scalars(found, step)))

    def spent(self) -> list[float]:
        """Seconds of this processor that looks took to read and write, each of them told once."""
        found = []
        while self._seconds:
            found.append(self._seconds.popleft())
        return found

    def _take(self, task: Callable[[], None]) -> None:
        if not self._is_original:
            if not self._dropped and not self._ended:
                self._dropped = True
                self._said(
                    "this process is a copy of the one that records; what it sees is not recorded."
                )
            return
        with self._lock:
            if not self._ended:
                if self._tasks.qsize() > WAITING // 2:
                    self._wanted.set()
                self._tasks.put(task)

    def wait(self) -> None:
        """Until all that was given to it is read and written."""
        if self.is_open:
            self._wanted.set()
            self._tasks.join()

    def close(self) -> None:
        """Write what is left, and let go of the files; harmless where that is done already."""
        atexit.unregister(self.close)
        if not self._is_original:
            return
        with self._lock:
            if not self._ended:
                self._ended = True
                self._wanted.set()
                self._tasks.put(None)
        self._thread.join()

    @property
    def is_open(self) -> bool:
        """Whether it takes anything."""
        return self._is_original and not self._ended

    @property
    def _is_original(self) -> bool:
        """Whether this is no forked process: that has a copy of all, but not of the thread."""
        return os.getpid() == self._process

    def _work(self) -> None:
        goes_on = True
        while goes_on:
            task = self._tasks.get()
            self._wanted.wait(REST)
            self._wanted.clear()
            goes_on = self._do(task)
            while goes_on and not self._tasks.empty():
                goes_on = self._do(self._tasks.get())

    def _do(self, task: Callable[[], None] | None) -> bool:
        """Do what was given, and whether there may be more; None is the end."""
        try:
            if task is None:
                self._end()
            else:
                task()
        except Exception as error:
            with contextlib.suppress(Exception):  # who waits for this thread must not wait in vain
                self._said(f"a look could not be read: {type(error).__name__}: {error}")
        finally:
            self._tasks.task_done()
        return task is not None

    def _keep(self, unread: PendingReading) -> None:
        started = thread_time()
        self._write(unread.look())
        self._seconds.append(thread_time() - started)

    def _write(self, look: ReadingWithHistograms) -> None:
        self._readings.append(look.reading)
        if self._recording is not None:
            try:
                self._recording.add(look.reading)
            except OSError as error:
                broken, self._recording = self._recording, None
                broken.close()
                self._give_up(str(broken.path), error)
        self._show(lambda writer: writer.look(look))
        if self._with_loss and look.reading.loss is not None:
            loss = {LOSS_TRAIN.at(): look.reading.loss}
            self._show(lambda writer: writer.scalars(loss, look.reading.step))

    def _show(self, action: Callable[[TensorBoardWriter], None]) -> None:
        if self._writer is None:
            return
        try:
            action(self._writer)
        except Exception as error:
            broken, self._writer = self._writer, None
            with contextlib.suppress(Exception):
                broken.close()
            self._give_up(f"TensorBoard's file in {broken.folder}", error)

    def _give_up(self, what: str, error: Exception) -> None:
        self._said(
            f"{what} can no longer be written ({error}); what is in it stays readable, and "
            "training goes on. Readings are kept in memory."
        )

    def _end(self) -> None:
        try:
            if self._recording is not None:
                self._recording.close()
        finally:
            self._show(TensorBoardWriter.close)
