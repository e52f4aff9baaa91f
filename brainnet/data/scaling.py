"""Scaling: columns brought to a common size, as measured on the training rows alone."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from torch import Tensor

from brainnet.data.validation import check_one_of
from brainnet.errors import InputError

Kind = Literal["standard", "minmax", "none"]

KINDS: tuple[Kind, ...] = get_args(Kind)

# Measured as float64, which takes twice the room of what is measured: by parts of 4 MB.
_CELLS_AT_ONCE = 1 << 19


@dataclass(frozen=True, slots=True)
class Scaling:
    """What is taken off each column, and what it is then divided by.

    Plain floats, so that it is stored with a run and read again as it was. The kinds:
    "standard" makes mean 0 and standard deviation 1 (that of the rows themselves, divided by their
    number), "minmax" makes 0 to 1, "none" leaves all as it is. A column that never changes is
    brought to 0, whatever it held: there is nothing to divide by.

    Attributes:
        kind: "standard", "minmax" or "none".
        shift: what is taken off each column.
        scale: what it is then divided by.
        fill: what stands in for a number that is missing (NaN), as measured: the column's mean;
            empty where none may be missing.

    Shape:
        values: (rows, columns)
        return: (rows, columns)

    Example:
        >>> scaling = Scaling.fit(torch.tensor([[1.0, 5.0], [3.0, 5.0]]), "standard")
        >>> scaling.apply(torch.tensor([[4.0, 5.0]]))
        tensor([[2., 0.]])
        >>> scaling.undo(torch.tensor([[2.0, 0.0]]))
        tensor([[4., 5.]])
    """

    kind: Kind
    shift: tuple[float, ...]
    scale: tuple[float, ...]
    fill: tuple[float, ...] = ()

    @classmethod
    def fit(
        cls,
        values: Tensor,
        kind: Kind,
        *,
        rows: Tensor | None = None,
        channels: int | None = None,
        codes: Collection[int] = (),
        impute: bool = False,
    ) -> Self:
        """Measure the columns of `values` (rows, columns).

        Args:
            values: numbers of any type.
            kind: how to scale.
            rows: the numbers of the rows to measure, each once; all where None.
            channels: measure so many groups of neighbouring columns, each as one: the channels of
                a picture. None: each column alone.
            codes: columns that are left as they are: the codes of categories.
            impute: whether a number may be missing (NaN); the others of its column are measured.

        Raises:
            InputError: the kind is not known.
        """
        check_one_of("normalize", kind, KINDS)
        columns = values.shape[1]
        groups = columns if channels is None else channels
        found = _Measures.of(_parts(values, rows, groups))
        mean, deviation, low, high = (
            part.repeat_interleave(columns // groups)
            for part in (found.mean, found.variance.sqrt(), found.low, found.high)
        )
        shift, scale = torch.zeros_like(mean), torch.ones_like(mean)
        if kind == "standard":
            shift, scale = mean, deviation
        elif kind == "minmax":
            shift, scale = low, high - low
        constant = low == high
        shift = torch.where(constant & (kind != "none"), low, shift)
        scale = torch.where(constant, 1.0, scale)
        for column in codes:
            shift[column], scale[column], mean[column] = 0.0, 1.0, 0.0
        fill = tuple(mean.tolist()) if impute else ()
        return cls(kind, tuple(shift.tolist()), tuple(scale.tolist()), fill)

    def apply(self, values: Tensor) -> Tensor:
        """Scale `values`, in their own type (bytes as float32) and on their own device.

        Raises:
            InputError: they have other columns than those that were measured.
        """
        values = values if values.is_floating_point() else values.float()
        shift, scale, fill = self.columns_like(values)
        if fill is not None:
            values = torch.where(values.isnan(), fill, values)
        return (values - shift) / scale

    def undo(self, values: Tensor) -> Tensor:
        """Turn scaled `values` back into the units they were measured in.

        Raises:
            InputError: they have other columns than those that were measured.
        """
        shift, scale, _ = self.columns_like(values)
        return values * scale + shift

    def to_dict(self) -> dict[str, Any]:
        """Return the scaling as strings and lists of floats, which any checkpoint can hold."""
        told = {"kind": self.kind, "shift": list(self.shift), "scale": list(self.scale)}
        return {**told, "fill": list(self.fill)} if self.fill else told

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Return the scaling that `to_dict` stored."""
        shift, scale, fill = stored["shift"], stored["scale"], stored.get("fill", ())
        return cls(stored["kind"], tuple(shift), tuple(scale), tuple(fill))

    def columns_like(self, values: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return shift, scale and fill, each (columns,), of the type and on the device of `values`.

        Raises:
            InputError: `values` have other columns than those that were measured.
        """
        if values.shape[-1:] != (len(self.shift),):
            raise InputError(
                f"this scaling was measured on {len(self.shift)} columns; got values of shape "
                f"{tuple(values.shape)}. Use data with the same columns."
            )
        fill = values.new_tensor(self.fill) if self.fill else None
        return values.new_tensor(self.shift), values.new_tensor(self.scale), fill


@dataclass(frozen=True, slots=True)
class Scaler:
    """The scalings of inputs and targets at work on one device: rows are changed where they lie.

    Attributes:
        inputs: shift, scale and fill of the inputs, as `Scaling.columns_like` gives them.
        targets: those of the targets; None for classes.
    """

    inputs: tuple[Tensor, Tensor, Tensor | None]
    targets: tuple[Tensor, Tensor, Tensor | None] | None

    def to(self, device: torch.device) -> Self:
        """Return the same on another device."""
        return type(self)(
            _moved(self.inputs, device), self.targets and _moved(self.targets, device)
        )

    def __call__(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Scale floats in place; bytes become floats first. Classes stay as they are."""
        inputs = inputs if inputs.is_floating_point() else inputs.float()
        for values, columns in ((inputs, self.inputs), (targets, self.targets)):
            if columns is not None:
                shift, scale, fill = columns
                if fill is not None:
                    torch.where(values.isnan(), fill, values, out=values)
                values.sub_(shift).div_(scale)
        return inputs, targets


@dataclass(frozen=True, slots=True)
class _Measures:
    """What some rows show of each column: how many numbers, and how they lie, (columns,) each."""

    count: Tensor
    mean: Tensor
    variance: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, parts: Iterator[Tensor]) -> Self:
        """Measure rows that come by parts; a column without any number counts as zeros."""
        found = cls._of_part(next(parts))
        for part in parts:
            found = found._with(cls._of_part(part))
        told = found.count > 0
        numbers = (found.mean, found.variance, found.low, found.high)
        return cls(found.count, *(torch.where(told, number, 0.0) for number in numbers))

    @classmethod
    def _of_part(cls, rows: Tensor) -> Self:
        mean = rows.mean(dim=0)
        if not mean.isnan().any():
            # As `var` does, which takes four times as long.
            variance = (rows - mean).square_().mean(dim=0)
            count = torch.full_like(mean, len(rows))
            return cls(count, mean, variance, rows.amin(dim=0), rows.amax(dim=0))
        missing = rows.isnan()
        count = (~missing).sum(dim=0).double()
        mean = rows.nansum(dim=0) / count.clamp_min(1)
        variance = (rows - mean).square().nansum(dim=0) / count.clamp_min(1)
        low = rows.masked_fill(missing, torch.inf).amin(dim=0)
        high = rows.masked_fill(missing, -torch.inf).amax(dim=0)
        return cls(count, mean, variance, low, high)

    def _with(self, other: Self) -> Self:
        """Add other rows: Chan, Golub, LeVeque, "Updating formulae" (1979)."""
        count = self.count + other.count
        share = other.count / count.clamp_min(1)
        apart = other.mean - self.mean
        return type(self)(
            count,
            self.mean + apart * share,
            self.variance * (1 - share)
            + other.variance * share
            + apart.square() * share * (1 - share),
            torch.minimum(self.low, other.low),
            torch.maximum(self.high, other.high),
        )


def _moved(
    columns: tuple[Tensor, Tensor, Tensor | None], device: torch.device
) -> tuple[Tensor, Tensor, Tensor | None]:
    shift, scale, fill = columns
    return shift.to(device), scale.to(device), None if fill is None else fill.to(device)


def _parts(values: Tensor, rows: Tensor | None, groups: int) -> Iterator[Tensor]:
    """Yield the chosen rows as they lie in memory, as float64, one column for each group."""
    columns = values.shape[1]
    most = max(1, _CELLS_AT_ONCE // columns)
    chosen = np.full(len(values), rows is None)
    if rows is not None:  # in their own order, to and fro, they take four times as long
        chosen[rows.numpy()] = True
    for start in range(0, len(values), most):
        found = torch.from_numpy(np.flatnonzero(chosen[start : start + most]))
        if not len(found):
            continue
        # float64: the variance of a column such as 1000.1, 1000.2 drowns in float32's rounding.
        numbers = values[start : start + most].index_select(0, found).double()
        if groups < columns:
            numbers = numbers.reshape(len(found), groups, -1).transpose(1, 2).reshape(-1, groups)
        yield numbers
