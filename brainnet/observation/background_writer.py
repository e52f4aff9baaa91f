"""Background writer: resolves readings and writes them in a thread beside the training."""

import atexit
import contextlib
import logging
import os
import queue
import threading
from collections import deque
from collections.abc import Callable
from time import thread_time

from brainnet.observation.pending_reading import PendingReading
from brainnet.observation.reading import Reading
from brainnet.observation.recording import Recording
from brainnet.observation.tags import LOSS_TRAIN
from brainnet.observation.tensorboard import TensorBoardWriter

_log = logging.getLogger(__name__)
_QUEUE_SIZE = 64

# A dozen observations at once take as long as three or four one by one, because each of those
# finds the processor's caches full of training data.
_DELAY_SECONDS = 0.5


class BackgroundWriter:
    """Resolves readings, records them and writes them to TensorBoard, in a background thread.

    If the queue is full, the training waits. `close` and the end of the program process all
    remaining tasks; later tasks and those of forked processes are dropped. After an error, which is
    reported once, the readings are kept in memory only. `seconds` gets the processor time of each
    reading. `with_loss` writes their losses to TensorBoard, if no other logger does.
    """

    def __init__(
        self,
        readings: list[Reading],
        recording: Recording | None = None,
        writer: TensorBoardWriter | None = None,
        report: Callable[[str], None] = _log.warning,
        *,
        with_loss: bool = False,
        seconds: deque[float] | None = None,
    ) -> None:
        self._readings = readings
        self._recording = recording
        self._writer = writer
        self._report = report
        self._with_loss = with_loss
        self._tasks: queue.Queue[Callable[[], None] | None] = queue.Queue(_QUEUE_SIZE)
        self._is_urgent = threading.Event()
        self._lock = threading.Lock()  # no task may follow the one that ends the thread
        self._is_closed = False
        self._seconds = deque(maxlen=0) if seconds is None else seconds
        self._process = os.getpid()
        # A daemon, so that a writer that was never closed does not block the interpreter's exit.
        self._thread = threading.Thread(target=self._run, name="brainnet-writer", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def add_reading(self, pending: PendingReading) -> None:
        """Submit a reading, to be resolved when its statistics have arrived."""
        self._submit(lambda: self._write_reading(pending))

    def write(self, action: Callable[[TensorBoardWriter], None]) -> None:
        """Submit an action on the TensorBoard writer."""
        self._submit(lambda: self._write(action))

    def wait(self) -> None:
        """Wait until all submitted tasks are done."""
        if self.is_open:
            self._is_urgent.set()
            self._tasks.join()

    def close(self) -> None:
        """Process the remaining tasks and close the files; can be called repeatedly."""
        atexit.unregister(self.close)
        if os.getpid() != self._process:
            return
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._is_urgent.set()
                self._tasks.put(None)
        self._thread.join()

    @property
    def is_open(self) -> bool:
        """Whether tasks are accepted."""
        # A forked process has no copy of the thread, and may have inherited a lock that is held.
        return os.getpid() == self._process and not self._is_closed

    def _submit(self, task: Callable[[], None]) -> None:
        if not self.is_open:
            return
        with self._lock:
            if not self._is_closed:
                if self._tasks.qsize() > _QUEUE_SIZE // 2:
                    self._is_urgent.set()
                self._tasks.put(task)

    def _run(self) -> None:
        is_running = True
        while is_running:
            task = self._tasks.get()
            self._is_urgent.wait(_DELAY_SECONDS)
            self._is_urgent.clear()
            is_running = self._process_task(task)
            while is_running and not self._tasks.empty():
                is_running = self._process_task(self._tasks.get())

    def _process_task(self, task: Callable[[], None] | None) -> bool:
        """Process one task and return whether there may be more; None is the last one."""
        try:
            if task is None:
                self._close_files()
            else:
                task()
        except Exception as error:
            # The thread must survive a failing report, because `wait` and `close` wait for it.
            with contextlib.suppress(Exception):
                self._report(f"an observation could not be read: {type(error).__name__}: {error}")
        finally:
            self._tasks.task_done()
        return task is not None

    def _write_reading(self, pending: PendingReading) -> None:
        started = thread_time()
        resolved = pending.resolve()
        reading = resolved.reading
        self._readings.append(reading)
        if self._recording is not None:
            try:
                self._recording.add(reading)
            except OSError as error:
                recording, self._recording = self._recording, None
                recording.close()
                self._report_failure(str(recording.path), error)
        self._write(lambda writer: writer.add_reading(resolved))
        if self._with_loss and reading.loss is not None:
            loss = {LOSS_TRAIN.at(): reading.loss}
            self._write(lambda writer: writer.add_scalars(loss, reading.step))
        self._seconds.append(thread_time() - started)

    def _write(self, action: Callable[[TensorBoardWriter], None]) -> None:
        if self._writer is None:
            return
        try:
            action(self._writer)
        except Exception as error:
            writer, self._writer = self._writer, None
            with contextlib.suppress(Exception):
                writer.close()
            self._report_failure(f"TensorBoard in {writer.folder}", error)

    def _report_failure(self, target: str, error: Exception) -> None:
        """Report that one of the files is no longer written."""
        self._report(
            f"writing to {target} stopped: {type(error).__name__}: {error}. Training continues, "
            "and readings are kept in memory."
        )

    def _close_files(self) -> None:
        try:
            if self._recording is not None:
                self._recording.close()
        finally:
            self._write(TensorBoardWriter.close)
