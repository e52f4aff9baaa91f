"""Recording: all readings of a run in one file, `readings.bin`.

The file starts with one line that identifies the format. Records follow: length and CRC-32 of the
content (two unsigned 32-bit integers, little-endian), then the content. Readers stop at the first
incomplete record, so that a killed process or a full disk costs at most one record. The content is
a reading as JSON.
"""

import contextlib
import dataclasses
import json
import math
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from brainnet.errors import InputError
from brainnet.files import acquire_lock, iterate_numbered, release_lock
from brainnet.observation.reading import LayerReading, Reading

READINGS_FILE = "readings.bin"
"""Name of the file in the run directory."""

_HEADER = b"brainnet records 2\n"
_RECORD_HEADER = struct.Struct("<II")


class Recording:
    """The file of readings of one run, opened for appending and locked against other writers.

    Records beyond `length` bytes are dropped, by default all of them. An `InputError` is raised if
    another process writes to the file, or if it has another format.
    """

    def __init__(self, folder: Path | str, *, length: float = 0) -> None:
        self.path = Path(folder) / READINGS_FILE
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered, so that records survive the process.
        self._file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644), "r+b", 0)
        try:
            self._lock()
            records = _iterate_records(self.path.read_bytes())
            self.length = max((end for _, end in records if end <= length), default=0)
            self._file.truncate(self.length)
            if not self.length:
                self._write(_HEADER)
        except BaseException:
            self._file.close()
            raise

    def add(self, reading: Reading) -> None:
        """Append one reading; after an `OSError`, earlier records remain readable."""
        values = dataclasses.asdict(reading)
        for part in (values, *values["layers"]):
            # JSON has no infinity and no NaN.
            part |= {name: str(value) for name, value in part.items() if _is_non_finite(value)}
        self._add_record(json.dumps(values, allow_nan=False).encode())

    def close(self) -> None:
        """Close the file and release its lock."""
        if not self._file.closed:
            release_lock(self._file)
            self._file.close()

    def _lock(self) -> None:
        try:
            acquire_lock(self._file)
        except BlockingIOError as error:
            raise InputError(
                f"{self.path} is being written by another training, in this or another process. "
                "Use a separate folder for each training."
            ) from error

    def _add_record(self, record: bytes) -> None:
        try:
            self._write(_RECORD_HEADER.pack(len(record), zlib.crc32(record)) + record)
        except OSError:
            # The next record must start where the incomplete one did.
            with contextlib.suppress(OSError):
                self._file.truncate(self.length)
            raise

    def _write(self, content: bytes) -> None:
        self._file.seek(self.length)
        remaining = memoryview(content)
        # A disk that is nearly full accepts only a part.
        while remaining:
            remaining = remaining[self._file.write(remaining) :]
        self.length += len(content)


def open_recording(folder: Path | str, first_step: int = 0) -> Recording:
    """Open the recording of a training that continues at `first_step`, or starts.

    A training that starts uses `folder_2`, `folder_3` and so on if the folder contains readings.
    """
    if first_step:
        return Recording(folder, length=measure_length_before(folder, first_step))
    for candidate in iterate_numbered(Path(folder)):
        recording = Recording(candidate, length=math.inf)
        if recording.length == len(_HEADER):
            return recording
        recording.close()
    raise AssertionError("unreachable: the numbers do not end")


def read_recording(folder: Path | str) -> list[Reading]:
    """Read all readings of a run, also while it is still training.

    Args:
        folder: the run directory, or the file `latest` that contains its path.

    Raises:
        InputError: if there is no recording, or the file has another format.
    """
    folder = Path(folder)
    if folder.is_file():
        folder = folder.parent / folder.read_text(encoding="utf-8", errors="replace").strip()
    return [reading for reading, _ in _iterate_readings(folder)]


def measure_length_before(folder: Path | str, step: int) -> int:
    """Return the number of bytes that contain the readings before a step."""
    if not (Path(folder) / READINGS_FILE).exists():
        return 0
    ends = (end for reading, end in _iterate_readings(folder) if reading.step < step)
    return max(ends, default=0)


def _iterate_records(content: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield each complete record and the position at which it ends; the header is the first."""
    position = len(_HEADER)
    if content[:position] != _HEADER[: len(content)]:
        raise InputError("the file is not a recording of brainnet: its first line differs.")
    if len(content) >= position:
        yield _HEADER, position
    while position + _RECORD_HEADER.size <= len(content):
        length, checksum = _RECORD_HEADER.unpack_from(content, position)
        start = position + _RECORD_HEADER.size
        record = content[start : start + length]
        if len(record) < length or zlib.crc32(record) != checksum:
            return
        position = start + length
        yield record, position


def _iterate_readings(folder: Path | str) -> Iterator[tuple[Reading, int]]:
    path = Path(folder) / READINGS_FILE
    if not path.exists():
        raise InputError(
            f"there is no recording in {folder}: {READINGS_FILE} is missing. Use the folder of a "
            "run that was observed."
        )
    records = _iterate_records(path.read_bytes())
    next(records, None)  # the header
    for record, end in records:
        values = json.loads(record)
        layers = tuple(LayerReading(**_select_fields(LayerReading, v)) for v in values["layers"])
        yield Reading(**_select_fields(Reading, values) | {"layers": layers}), end


def _is_non_finite(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _select_fields(kind: type[Reading | LayerReading], values: dict[str, Any]) -> dict[str, Any]:
    """Select the values that this version of brainnet knows."""
    known = {
        field.name: values[field.name] for field in dataclasses.fields(kind) if field.name in values
    }
    texts = {name: value for name, value in known.items() if isinstance(value, str)}
    return known | {name: float(value) for name, value in texts.items() if name != "name"}
