"""Recording: all readings of a run in one file, to be read when the training is long over.

A file of records (`brainnet.observation.records`) of two kinds. `S`, a schema as JSON, names the
numbers that follow: those of the whole network, those of each layer, and the layers. `R`, a
reading, is these numbers as float64. What was not measured is a NaN of its own, as R's `NA` is, so
that a NaN that was measured stays one.
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainnet.errors import InputError
from brainnet.fresh_folder import numbered
from brainnet.observation.reading import LayerReading, Reading
from brainnet.observation.records import BEGINNING, RecordFile, records

NAME = "readings.bin"
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
        self._file = RecordFile(Path(folder) / NAME, length=length)
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


def record_in(folder: Path | str, first_step: int = 0) -> Recording:
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
        return Recording(folder, length=length_before(folder, first_step))
    free = (each for each in numbered(Path(folder)) if not _is_recorded(each))
    return Recording(next(free))


def _is_recorded(folder: Path) -> bool:
    path = folder / NAME
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


def length_before(folder: Path | str, step: int) -> int:
    """How many bytes hold the readings before a step: where a training that goes on continues.

    Args:
        folder: the run's; one without a recording has 0.
        step: optimizer steps taken before.
    """
    if not (Path(folder) / NAME).exists():
        return 0
    return max((end for reading, end in _readings(folder) if reading.step < step), default=0)


def _readings(folder: Path | str) -> Iterator[tuple[Reading, int]]:
    path = Path(folder) / NAME
    if not path.exists():
        raise InputError(
            f"there is no recording in {folder}: {NAME} is missing. Give the folder of a run that "
            "was observed."
        )
    schema: dict[str, Any] = {}
    for record, end in records(path.read_bytes()):
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
