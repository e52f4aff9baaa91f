"""Raw input: what an exported network is given, as the data were before any preparation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from brainnet.data.column import Column
from brainnet.data.columns import Columns
from brainnet.data.pixels import Pixels

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


def raw_inputs(preparation: Columns | Pixels) -> list[RawInput]:
    """What a network needs to be given: one table where all are numbers, else column by column.

    Example:
        >>> raw_inputs(Columns.numbers(["age", "height"]))
        [RawInput(name='rows', kind='rows', shape=(2,), values=(), form='')]
        >>> mixed = Columns((Column("age"), Column("colour", "category", ("blue", "red"))))
        >>> [(each.name, each.kind) for each in raw_inputs(mixed)]
        [('age', 'number'), ('colour', 'category')]
    """
    if isinstance(preparation, Pixels):
        colours = (preparation.channels,) if preparation.channels > 1 else ()
        return [RawInput("pixels", "pixels", (preparation.height, preparation.width, *colours))]
    columns = preparation.columns
    if all(column.kind == "number" for column in columns):
        return [RawInput("rows", "rows", (len(columns),))]
    return [
        RawInput(column.name, column.kind, (), column.values, column.form) for column in columns
    ]


class Prepared(nn.Module):
    """Raw inputs as the inputs that the network learnt from, measured but not scaled yet.

    What `Columns.apply` and `Pixels.apply` do, in operations of tensors alone, on words that are
    codes already (0: never seen) and dates that are seconds since 1970-01-01 UTC.

    Args:
        preparation: what was learnt of the raw rows.
    """

    def __init__(self, preparation: Columns | Pixels) -> None:
        super().__init__()
        self.preparation = preparation
        self.raw = raw_inputs(preparation)

    def forward(self, *given: Tensor) -> Tensor:
        """Put the columns together, (batch, inputs) float32."""
        if isinstance(self.preparation, Pixels):
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


def _inputs(column: Column, values: Tensor) -> Sequence[Tensor]:
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
