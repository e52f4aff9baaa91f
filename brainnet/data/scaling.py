"""Scaling: columns brought to a common range, fitted on the training rows only."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from brainnet.data.validation import check_one_of
from brainnet.errors import InputError

ScalingKind = Literal["standard", "minmax", "none"]
SCALING_KINDS: tuple[ScalingKind, ...] = get_args(ScalingKind)

# Chunks are converted to float64: 4 MB at a time, independent of the size of the table.
_CHUNK_CELLS = 1 << 19


@dataclass(frozen=True, slots=True)
class Scaling:
    """Fitted scaling of columns: `(values - shift) / scale`.

    Stored as plain floats, so that it is restored from a run exactly. "standard" gives mean 0 and
    standard deviation 1 (scikit-learn's `StandardScaler`), "minmax" the range 0 to 1
    (`MinMaxScaler`), "none" changes nothing. A constant column becomes 0.

    Attributes:
        fill: replaces missing numbers (NaN) of each column before scaling: the mean of the column;
            empty if no number may be missing.

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

    kind: ScalingKind
    shift: tuple[float, ...]
    scale: tuple[float, ...]
    fill: tuple[float, ...] = ()

    @classmethod
    def fit(
        cls,
        values: Tensor,
        kind: ScalingKind,
        *,
        rows: Tensor | None = None,
        channels: int | None = None,
        codes: Collection[int] = (),
        impute: bool = False,
    ) -> Self:
        """Fit the scaling to columns of any dtype, (rows, columns).

        Args:
            values: the columns; with `impute`, missing numbers (NaN) are ignored.
            kind: "standard", "minmax" or "none".
            rows: indices of the rows to fit on, without duplicates; None for all rows.
            channels: number of groups of adjacent columns that are scaled as one, as for the
                channels of an image; None for one group per column.
            codes: indices of columns to leave unchanged: codes of embedded categories.
            impute: whether numbers may be missing.
        """
        check_one_of("normalize", kind, SCALING_KINDS)
        columns = values.shape[1]
        groups = columns if channels is None else channels
        low, high = np.full(groups, np.nan), np.full(groups, np.nan)
        shift, scale, fill = np.zeros(groups), np.ones(groups), np.zeros(groups)
        scaler = None
        if kind == "standard" or impute:
            # Imported here: with pandas, it takes as long as a short training.
            from sklearn.preprocessing import StandardScaler

            scaler = StandardScaler()
        for chunk in _iterate_chunks(values, rows, groups):
            if kind == "minmax":
                # Not MinMaxScaler, which keeps NaN once all numbers of a chunk are missing.
                low = np.fmin(low, np.fmin.reduce(chunk))
                high = np.fmax(high, np.fmax.reduce(chunk))
            if scaler is not None:
                with np.errstate(divide="ignore", invalid="ignore"):
                    scaler.partial_fit(chunk)
                # The mean of a column without numbers so far is NaN, which later chunks would keep.
                np.nan_to_num(scaler.mean_, copy=False)
                fill = scaler.mean_
        if kind == "minmax":
            shift, scale = low, np.where(high > low, high - low, 1.0)
        elif kind == "standard" and scaler is not None:
            shift, scale = fill, np.nan_to_num(scaler.scale_, nan=1.0)
        arrays = [np.nan_to_num(a).repeat(columns // groups) for a in (shift, scale, fill)]
        for array, unchanged in zip(arrays, (0.0, 1.0, 0.0), strict=True):
            array[list(codes)] = unchanged
        shifts, scales, fills = (tuple(array.tolist()) for array in arrays)
        return cls(kind, shifts, scales, fills if impute else ())

    def apply(self, values: Tensor) -> Tensor:
        """Scale `values` on their device, in their dtype (bytes as float32)."""
        values = values if values.is_floating_point() else values.float()
        shift, scale, fill = self.to_tensors(values)
        if fill is not None:
            values = torch.where(values.isnan(), fill, values)
        return (values - shift) / scale

    def undo(self, values: Tensor) -> Tensor:
        """Convert scaled `values` to the original units; the inverse of `apply`."""
        shift, scale, _ = self.to_tensors(values)
        return values * scale + shift

    def to_dict(self) -> dict[str, Any]:
        """Return the scaling as strings and lists of floats."""
        lists = {"shift": list(self.shift), "scale": list(self.scale), "fill": list(self.fill)}
        return {"kind": self.kind, **lists}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Return the scaling stored by `to_dict`."""
        return cls(stored["kind"], *(tuple(stored[key]) for key in ("shift", "scale", "fill")))

    def to_tensors(self, values: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return shift, scale and fill (columns,) with the dtype and device of `values`."""
        if values.shape[-1:] != (len(self.shift),):
            raise InputError(
                f"this scaling was fitted on {len(self.shift)} columns; got values of shape "
                f"{tuple(values.shape)}. Use data with the same columns."
            )
        fill = values.new_tensor(self.fill) if self.fill else None
        return values.new_tensor(self.shift), values.new_tensor(self.scale), fill


def scale_in_place(values: Tensor, tensors: tuple[Tensor, Tensor, Tensor | None]) -> Tensor:
    """Scale floats in place, with the bits of `Scaling.apply`; bytes become floats first."""
    values = values if values.is_floating_point() else values.float()
    shift, scale, fill = tensors
    if fill is not None:
        torch.where(values.isnan(), fill, values, out=values)
    return values.sub_(shift).div_(scale)


def _iterate_chunks(
    values: Tensor, rows: Tensor | None, groups: int
) -> Iterator[NDArray[np.float64]]:
    """Yield the chosen rows in order of memory as float64, with one column per group."""
    columns = values.shape[1]
    size = max(1, _CHUNK_CELLS // columns)
    is_chosen = torch.full((len(values),), rows is None)
    if rows is not None:
        # Random access to rows in split order takes four times as long.
        is_chosen[rows] = True
    for chunk, chosen in zip(values.split(size), is_chosen.split(size), strict=True):
        # float32 would round away the variance of a column such as 1000.1, 1000.2.
        numbers = chunk[chosen].double()
        if groups < columns:
            numbers = numbers.reshape(len(numbers), groups, -1).transpose(1, 2).reshape(-1, groups)
        if len(numbers):
            yield numbers.numpy()
