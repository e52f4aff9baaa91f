"""Event file: what TensorBoard reads, written whole, record by record, by whoever calls."""

import contextlib
import errno
import itertools
import os
import socket
import struct
import threading
import time
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event

from brainnet.observation.checksum import crc32c


class EventFile:
    """A file of TensorBoard's, without a thread: whoever writes hears what goes wrong.

    Its name and records are those of TensorBoard's own `EventFileWriter`, which checks its sums
    byte by byte in Python, 5 to 11 MB a second, in a thread that holds up all others. Several
    threads may write. An event is handed to the system as it comes, so that it outlives this
    process; closing has all of them on disk, so that they outlive the machine's power as well.

    Args:
        folder: made where it is missing.

    Attributes:
        folder: where it lies.

    Raises:
        OSError: where it cannot be made, or is there already, or, later, an event cannot be
            written, as after the end; those before it stay readable.
    """

    _number = itertools.count()

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads files in the order of their names, in which ".10" comes before ".9".
        number = f"{next(self._number):06d}"
        made = f"{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{number}"
        # Unbuffered: TensorBoard sees each event at once, and the system has what was written.
        path = self.folder / f"events.out.tfevents.{made}.brainnet"
        self._path = path
        self._file = path.open("xb", buffering=0)
        self._length = 0
        self._lock = threading.Lock()
        self.add_event(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def add_event(self, event: Event) -> None:
        """Write one event: length, its checksum, content, its checksum."""
        content = event.SerializeToString()
        length = struct.pack("<Q", len(content))
        record = length + _checked(length) + content + _checked(content)
        with self._lock:
            if self._file.closed:
                raise OSError(errno.EBADF, "the file of curves is closed", str(self._path))
            try:
                rest = memoryview(record)
                while rest:  # a disk that is nearly full takes a part
                    rest = rest[self._file.write(rest) :]
                self._length += len(record)
            except BaseException:  # an interruption comes between two parts as well
                # TensorBoard would read no further than half a record.
                with contextlib.suppress(OSError):
                    self._file.truncate(self._length)
                    self._file.seek(self._length)
                raise

    def flush(self) -> None:
        """Do nothing: the system has it."""

    def close(self) -> None:
        """End, with all that was written on disk.

        Raises:
            OSError: the disk does not take it.
        """
        with self._lock:
            if not self._file.closed:
                with self._file:  # closed in any case
                    os.fsync(self._file.fileno())


def summary_writer(file: EventFile) -> Any:  # noqa: ANN401  (a SummaryWriter, imported below)
    """PyTorch's `SummaryWriter`, for who wants to write more into a file that is open already.

    Closing it leaves the file open.
    """
    # Here, not above: few ask for one.
    from torch.utils.tensorboard.writer import FileWriter, SummaryWriter

    class Appending(FileWriter):
        def __init__(self) -> None:
            self.event_writer = file

        def get_logdir(self) -> str:
            return str(file.folder)

        def close(self) -> None:
            """Whoever opened it closes it."""

        def reopen(self) -> None:
            """It is open."""

    class Shared(SummaryWriter):
        def _get_file_writer(self) -> Any:  # noqa: ANN401  (a FileWriter)
            self.file_writer: Any = self.file_writer or Appending()
            self.all_writers: Any = {self.file_writer.get_logdir(): self.file_writer}
            return self.file_writer

    return Shared(log_dir=str(file.folder))


def _checked(content: bytes) -> bytes:
    """The checksum, masked as the format asks, since content may hold checksums itself."""
    found = crc32c(content)
    return struct.pack("<I", ((found >> 15 | found << 17) + 0xA282EAD8) & 0xFFFF_FFFF)
