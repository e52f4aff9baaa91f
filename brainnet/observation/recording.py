"""Recording: all readings of a run in one file.

A file is a line that says whose it is, then records: length and CRC-32 of the content (two
unsigned 32-bit integers, little-endian), then the content. Whoever reads stops at the first
record that is not whole, so that a process may end, or a disk fill up, at any moment.

A file of records (`brainnet.observation.recording`) of two kinds. `S`, a schema as JSON, names the
numbers that follow: those of the whole network, those of each layer, and the layers. `R`, a
reading, is these numbers as float64. What was not measured is a NaN of its own, as R's `NA` is, so
that a NaN that was measured stays one.
"""

import contextlib
import dataclasses
import json
import math
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from brainnet.errors import InputError
from brainnet.files import acquire_lock, iterate_numbered, release_lock
from brainnet.observation.reading import LayerReading, Reading

BEGINNING = b"brainnet records 1\n"

HEAD = struct.Struct("<II")


def read_records(content: bytes) -> Iterator[tuple[bytes, int]]:
    """Each whole record, with the position at which it ends.

    Args:
        content: a file's.

    Raises:
        InputError: where it is no such file.
    """
    place = len(BEGINNING)
    if content[:place] != BEGINNING[: len(content)]:
        raise InputError("this is no file of brainnet's records; it begins with something else.")
    while place + HEAD.size <= len(content):
        length, checksum = HEAD.unpack_from(content, place)
        record = content[place + HEAD.size : place + HEAD.size + length]
        if len(record) < length or zlib.crc32(record) != checksum:
            return
        place += HEAD.size + length
        yield record, place


class RecordFile:
    """A file of records, open for adding, and held against anybody else who would add to it.

    Args:
        path: made, with its folder, where it is missing.
        length: bytes that stay; records that do not end within them are dropped.

    Attributes:
        length: bytes up to the end of the last whole record.

    Raises:
        InputError: where somebody else is adding to it, or it is another kind of file.
        OSError: where it cannot be opened.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, RecordFile(Path(folder, "a.bin")) as file:
        ...     file.add(b"first")
        ...     [record for record, _ in records(file.path.read_bytes())]
        [b'first']
    """

    def __init__(self, path: Path, *, length: float = math.inf) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        # Unbuffered: what was added survives the process.
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0)
        try:
            self._hold()
            content = path.read_bytes()
            ends = [end for _, end in read_records(content) if end <= length]
            self.length = max(ends, default=0)
            self._file.truncate(self.length)
            if not self.length:
                self._write(BEGINNING)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        """The file is open since construction."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close, whatever happened."""
        self.close()

    def add(self, record: bytes) -> None:
        """Add a record at the end.

        Raises:
            OSError: where it cannot be written; the records before it stay as they were.
        """
        try:
            self._write(HEAD.pack(len(record), zlib.crc32(record)) + record)
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(self.length)
            raise

    def close(self) -> None:
        """Let go of the file."""
        if not self._file.closed:
            release_lock(self._file)
            self._file.close()

    def _hold(self) -> None:
        try:
            acquire_lock(self._file)
        except BlockingIOError as error:
            raise InputError(
                f"{self.path} is being written by another watcher, here or in another process. "
                "Give each a folder of its own."
            ) from error

    def _write(self, content: bytes) -> None:
        self._file.seek(self.length)
        rest = memoryview(content)
        while rest:  # a disk that is nearly full takes a part
            rest = rest[self._file.write(rest) :]
        self.length += len(content)


FILE_NAME = "readings.bin"

"""What the file is called in a run's folder."""

MISSING = np.uint64(0x7FF8_0000_0000_07A2)

"""The bits of a number that was not measured."""

WHOLE = tuple(field.name for field in dataclasses.fields(Reading) if field.name != "layers")

OF_A_LAYER = tuple(
    field.name for field in dataclasses.fields(LayerReading) if field.name != "place"
)

COUNTS = ("step", "epoch")


class Recording:
    """The readings of one folder, open for adding.

    Args:
        folder: the run's.
        length: bytes that stay; what was recorded beyond them is dropped, and by default all is.

    Raises:
        InputError: where somebody else is recording there, or the file is another's.
        OSError: where it cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     recording = Recording(folder)
        ...     recording.add(Reading(step=0, epoch=0, loss=2.3))
        ...     recording.close()
        ...     read_recording(folder)[0].loss
        2.3
    """

    def __init__(self, folder: Path | str, *, length: int = 0) -> None:
        self._file = RecordFile(Path(folder) / FILE_NAME, length=length)
        self._places: tuple[str, ...] | None = None

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    def add(self, reading: Reading) -> None:
        """Add one reading.

        Raises:
            OSError: where it cannot be written; what was recorded before stays readable.
        """
        places = tuple(layer.place for layer in reading.layers)
        if places != self._places:
            schema = {"whole": WHOLE, "layer": OF_A_LAYER, "places": places}
            self._file.add(b"S" + json.dumps(schema).encode())
            self._places = places
        self._file.add(b"R" + _numbers(reading).tobytes())

    def close(self) -> None:
        """Let others record in this folder."""
        self._file.close()


def open_recording(folder: Path | str, first_step: int = 0) -> Recording:
    """Open the recording of a training that begins, or goes on.

    Args:
        folder: where to; for one that begins `_2`, `_3` and so on where there is a recording.
        first_step: steps taken before, of one that goes on with what is recorded there.

    Raises:
        InputError: where somebody else is recording there, or the file is another's.
        OSError: where it cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for _ in range(2):
        ...         recording = record_in(Path(folder, "mine"))
        ...         recording.add(Reading(step=0, epoch=0))
        ...         recording.close()
        ...     recording.path.parent.name
        'mine_2'
    """
    if first_step:
        return Recording(folder, length=measure_length_before(folder, first_step))
    free = (each for each in iterate_numbered(Path(folder)) if not _is_recorded(each))
    return Recording(next(free))


def _is_recorded(folder: Path) -> bool:
    path = folder / FILE_NAME
    if not path.exists():
        return False
    with RecordFile(path) as file:  # which refuses one that is held
        return file.length > len(BEGINNING)


def read_recording(folder: Path | str) -> list[Reading]:
    """All readings of a run, of one that is still training too.

    Args:
        folder: the run's; or the file `latest` beside runs, which names one.

    Raises:
        InputError: where there is no recording.
    """
    folder = Path(folder)
    if folder.is_file():
        folder = folder.parent / folder.read_text(encoding="utf-8", errors="replace").strip()
    return [reading for reading, _ in _readings(folder)]


def measure_length_before(folder: Path | str, step: int) -> int:
    """How many bytes hold the readings before a step: where a training that goes on continues.

    Args:
        folder: the run's; one without a recording has 0.
        step: optimizer steps taken before.
    """
    if not (Path(folder) / FILE_NAME).exists():
        return 0
    return max((end for reading, end in _readings(folder) if reading.step < step), default=0)


def _readings(folder: Path | str) -> Iterator[tuple[Reading, int]]:
    path = Path(folder) / FILE_NAME
    if not path.exists():
        raise InputError(
            f"there is no recording in {folder}: {FILE_NAME} is missing. Give the folder of a run that "
            "was observed."
        )
    schema: dict[str, Any] = {}
    for record, end in read_records(path.read_bytes()):
        if record[:1] == b"S":
            schema = json.loads(record[1:])
        elif record[:1] == b"R" and schema:
            yield _reading(schema, np.frombuffer(record, dtype="<f8", offset=1)), end


def _numbers(reading: Reading) -> NDArray[np.float64]:
    """All numbers of a reading in the schema's order."""
    found = [getattr(reading, name) for name in WHOLE]
    found += [getattr(layer, name) for layer in reading.layers for name in OF_A_LAYER]
    numbers = np.array([np.nan if each is None else each for each in found], dtype="<f8")
    missing = np.array([each is None for each in found], dtype=bool)
    numbers.view("<u8")[missing] = MISSING
    return numbers


def _reading(schema: dict[str, Any], numbers: NDArray[np.float64]) -> Reading:
    """A reading from its numbers; names that are unknown here, of another version, are left out."""
    missing = numbers.view("<u8") == MISSING
    values = [
        None if gone else number
        for number, gone in zip(numbers.tolist(), missing.tolist(), strict=True)
    ]
    split, width = len(schema["whole"]), len(schema["layer"])
    whole: dict[str, Any] = _known(zip(schema["whole"], values[:split], strict=True), WHOLE)
    whole |= {name: int(whole[name]) for name in COUNTS}
    layers = tuple(
        LayerReading(
            place,
            **_known(
                zip(
                    schema["layer"],
                    values[split + number * width : split + (number + 1) * width],
                    strict=True,
                ),
                OF_A_LAYER,
            ),
        )
        for number, place in enumerate(schema["places"])
    )
    return Reading(**whole, layers=layers)


def _known(
    numbers: Iterable[tuple[str, float | None]], names: tuple[str, ...]
) -> dict[str, float | None]:
    return {name: number for name, number in numbers if name in names}
