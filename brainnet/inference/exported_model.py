"""A run as one module, from raw inputs to predictions."""

import io
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from brainnet.data.image_files import ImageEncoder
from brainnet.data.preprocessing import ColumnEncoder, TableEncoder
from brainnet.errors import InputError
from brainnet.inference.trained_model import TrainedModel
from brainnet.learning.predictions import (
    PREDICTION_COLUMN,
    compute_probabilities,
    decode_predictions,
)

EXAMPLE_ROWS = 2  # more than one, or a tracer takes the number for fixed

Kind = Literal["rows", "pixels", "number", "boolean", "category", "date"]

SECONDS_OF_A_DAY = 86400

NOT_A_TIME = -(2**63)

"""What NumPy and pandas hold where a date is missing, once it is a whole number."""


@dataclass(frozen=True, slots=True)
class RawInput:
    """One input of an exported network.

    Attributes:
        name: of the column; `rows` for a table of numbers, `pixels` for pictures.
        kind: what it holds.
        shape: of one row of it, without the batch.
        values: words of a category in their order, or those for no and yes of a boolean.
        form: how the run's own file wrote a date, as `strptime` has it, or ISO8601.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...] = ()
    values: tuple[str, ...] = ()
    form: str = ""

    @property
    def dtype(self) -> torch.dtype:
        """The type of its numbers; words come as their codes, moments as seconds."""
        kinds = {"pixels": torch.uint8, "category": torch.int64, "date": torch.int64}
        return kinds.get(self.kind, torch.float32)

    @property
    def example(self) -> Tensor:
        """A few rows of zeros."""
        return torch.zeros(EXAMPLE_ROWS, *self.shape, dtype=self.dtype)

    def told(self) -> dict[str, Any]:
        """The same as primitives."""
        kind = str(self.dtype).removeprefix("torch.")
        return {
            "name": self.name,
            "kind": self.kind,
            "type": kind,
            "shape": ["batch", *self.shape],
            **({"values": list(self.values)} if self.values else {}),
            **({"form": self.form} if self.form else {}),
        }


def raw_inputs(preparation: TableEncoder | ImageEncoder) -> list[RawInput]:
    """What a network needs to be given: one table where all are numbers, else column by column.

    Example:
        >>> raw_inputs(Columns.numbers(["age", "height"]))
        [RawInput(name='rows', kind='rows', shape=(2,), values=(), form='')]
        >>> mixed = Columns((Column("age"), Column("colour", "category", ("blue", "red"))))
        >>> [(each.name, each.kind) for each in raw_inputs(mixed)]
        [('age', 'number'), ('colour', 'category')]
    """
    if isinstance(preparation, ImageEncoder):
        colours = (preparation.channels,) if preparation.channels > 1 else ()
        return [RawInput("pixels", "pixels", (preparation.height, preparation.width, *colours))]
    columns = preparation.columns
    if all(column.kind == "number" for column in columns):
        return [RawInput("rows", "rows", (len(columns),))]
    return [
        RawInput(column.name, column.kind, (), column.values, column.form) for column in columns
    ]


class Preprocessing(nn.Module):
    """Raw inputs as the inputs that the network learnt from, measured but not scaled yet.

    What `Columns.apply` and `Pixels.apply` do, in operations of tensors alone, on words that are
    codes already (0: never seen) and dates that are seconds since 1970-01-01 UTC.

    Args:
        preparation: what was learnt of the raw rows.
    """

    def __init__(self, preparation: TableEncoder | ImageEncoder) -> None:
        super().__init__()
        self.preparation = preparation
        self.raw = raw_inputs(preparation)

    def forward(self, *given: Tensor) -> Tensor:
        """Put the columns together, (batch, inputs) float32."""
        if isinstance(self.preparation, ImageEncoder):
            (pixels,) = given
            # As files have them, colour by colour within each pixel; the network reads each colour
            # as a picture of its own.
            apart = pixels if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
            return apart.flatten(1).to(torch.float32)
        if len(self.raw) == 1 and self.raw[0].kind == "rows":
            return given[0]
        parts = [
            part
            for column, values in zip(self.preparation.columns, given, strict=True)
            for part in _inputs(column, values)
        ]
        return torch.cat(parts, dim=1)


def _inputs(column: ColumnEncoder, values: Tensor) -> Sequence[Tensor]:
    """The inputs that one raw column becomes, (batch, …) each."""
    if column.kind == "date":
        return [part.to(torch.float32).unsqueeze(1) for part in date_numbers(values, column.hours)]
    if column.unlearnt:  # words that no training row had are as if never seen
        known = [
            place * (word not in column.unlearnt) for place, word in enumerate(column.values, 1)
        ]
        values = torch.tensor([0, *known], device=values.device)[values]
    if column.kind == "category" and not column.embedded:
        places = torch.arange(1, len(column.values) + 1, device=values.device)
        return [(values.unsqueeze(1) == places).to(torch.float32)]
    return [values.to(torch.float32).unsqueeze(1)]


def date_numbers(seconds: Tensor, hours: bool) -> list[Tensor]:
    """Year with its fraction, day of the year, weekday (Monday 0) and, asked for, the hour.

    The calendar by whole numbers alone: Hinnant, chrono-Compatible Low-Level Date Algorithms
    (https://howardhinnant.github.io/date_algorithms.html, civil_from_days).

    Args:
        seconds: since 1970-01-01 UTC, (batch,) int64; the smallest number where none is known.
        hours: whether the hour is asked for.

    Returns:
        (batch,) float64 each; NaN where no date is known.
    """
    missing = seconds == NOT_A_TIME
    seconds = torch.where(missing, 0, seconds)
    second = seconds % SECONDS_OF_A_DAY
    days = (seconds - second) // SECONDS_OF_A_DAY
    shifted = days + 719468  # from 0000-03-01, so that a leap day ends its year
    of_era = shifted % 146097
    years = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    from_march = of_era - (365 * years + years // 4 - years // 100)
    late = from_march >= 306  # January and February, of the next year
    year = years + (shifted - of_era) // 146097 * 400 + late.to(torch.int64)
    leap = ((year % 4 == 0) & (year % 100 != 0)) | (year % 400 == 0)
    leap_day = leap.to(torch.int64)
    day = torch.where(late, from_march - 305, from_march + 60 + leap_day)
    hour = (
        (second // 3600).double()
        + (second // 60 % 60).double() / 60
        + (second % 60).double() / 3600
    )
    part = ((day - 1).double() + hour / 24) / (365 + leap_day).double()
    found = [year.double() + part, day.double(), ((days + 3) % 7).double()]
    found += [hour] if hours else []
    return [torch.where(missing, torch.nan, numbers) for numbers in found]


CLASS_NAME, PROBABILITIES = "class_name", "probabilities"


class ExportedModel(nn.Module):
    """What `Trained.predict` does, in operations of tensors alone.

    Args:
        trained: the run. Its network is used as it is; one of half precision is copied and
            computes in 32 bits, as few runtimes have 16 on a CPU, and one elsewhere is copied here.
    """

    def __init__(self, trained: TrainedModel) -> None:
        super().__init__()
        self.prepared = Preprocessing(trained.preparation)
        held = [*trained.network.parameters(), *trained.network.buffers()]
        kinds = {tensor.dtype for tensor in held if tensor.is_floating_point()}
        self.kind = torch.float64 if torch.float64 in kinds else torch.float32
        self.network = trained.network
        if kinds - {self.kind} or any(tensor.device.type != "cpu" for tensor in held):
            self.network = deepcopy(trained.network).to("cpu", self.kind)
        self.trained = [trained]  # in a list: it is no part of the module

    @property
    def inputs(self) -> list[RawInput]:
        """What it takes, in order."""
        return self.prepared.raw

    @property
    def outputs(self) -> list[str]:
        """What it gives, in order."""
        with torch.no_grad():
            given = self(*(raw.example for raw in self.inputs))
        return [PREDICTION_COLUMN, PROBABILITIES][: len(given)]

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Prepare, scale, think, and say what the outputs stand for.

        Returns:
            Numbers in their own units, (batch, targets) float32; or the index of the class,
            (batch,) int64, and, where the loss has them, the probabilities, (batch, classes).
        """
        (trained,) = self.trained
        outputs = self.network(trained.scaling.apply(self.prepared(*given)).to(self.kind))
        found = decode_predictions(outputs, trained.loss, trained.task)
        if trained.task == "regression":
            return (trained.target_scaling.undo(found).to(torch.float32),)
        shares = compute_probabilities(outputs, trained.loss, trained.task)
        return (found,) if shares is None else (found, shares.to(torch.float32))


def export_program(answering: ExportedModel) -> ExportedProgram:
    """Trace the module for batches of any size.

    Raises:
        InputError: where its network cannot be told in operations of tensors alone.
    """
    batch = Dim("batch")
    examples = tuple(raw.example for raw in answering.inputs)
    said = io.StringIO()  # where tracing fails, PyTorch prints all it traced so far
    try:
        with torch.no_grad(), own_warnings_left_out(), redirect_stderr(said):
            program = torch.export.export(
                answering.eval(),
                examples,
                dynamic_shapes=(tuple({0: batch} for _ in examples),),
            )
    except Exception as error:  # whatever a network of the user's may do
        raise InputError(
            f"{type(answering.network).__name__} cannot be exported: {_why(error)} An exported "
            "network is a fixed list of operations on tensors: its forward must not decide by the "
            "values in them or leave PyTorch, and must take batches of any size."
        ) from error
    sys.stderr.write(said.getvalue())
    # What was to learn is to answer now; the network itself stays as it is.
    for name, tensor in program.state_dict.items():
        if isinstance(tensor, nn.Parameter):
            program.state_dict[name] = nn.Parameter(tensor.detach(), requires_grad=False)
    return program


@contextmanager
def own_warnings_left_out() -> Iterator[None]:
    """Leave out what torch.export says of itself; what it says of the network is shown."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        yield


def _why(error: Exception) -> str:
    """What stopped the tracing, in a sentence, and where in the user's file where that is known."""
    text = str(error)
    if "Constraints violated" in text:
        return "it works only for as many rows as it was shown."
    if "data-dependent" in text:
        place = re.search(r'raised this error:\s*File "(.*?)", line (\d+)', text)
        where = f" ({place[1]}, line {place[2]})" if place else ""
        return f"it decides by the values in its tensors{where}."
    return first_line(error)


def first_line(error: BaseException) -> str:
    """The first line of what an error says, as a sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = lines[0] if lines else type(error).__name__
    return line if line.endswith((".", "!", "?")) else f"{line}."
