"""Scaling: columns brought to a common size, as measured on the training rows alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

from brainnet.errors import InputError
from brainnet.suggestion import did_you_mean

Kind = Literal["standard", "minmax", "none"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Scaling:
    """What is taken off each column, and what it is then divided by.

    Plain floats, so that it is stored with a run and read again as it was. The kinds:
    "standard" makes mean 0 and standard deviation 1 (that of the rows themselves, divided by their
    number), "minmax" makes 0 to 1, "none" leaves all as it is. A column that never changes is
    brought to 0, whatever it held: there is nothing to divide by.

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

    @classmethod
    def fit(cls, values: Tensor, kind: Kind) -> Self:
        """Measure the columns of `values` (rows, columns).

        Raises:
            InputError: the kind is not known.
        """
        check_kind("normalize", kind)
        # float64: the variance of a column such as 1000.1, 1000.2 drowns in float32's rounding.
        rows = values.double()
        shift, scale = torch.zeros_like(rows[0]), torch.ones_like(rows[0])
        if kind == "standard":
            shift, scale = rows.mean(dim=0), rows.std(dim=0, correction=0)
        elif kind == "minmax":
            shift, scale = rows.amin(dim=0), rows.amax(dim=0) - rows.amin(dim=0)
        constant = rows.amin(dim=0) == rows.amax(dim=0)
        shift = torch.where(constant & (kind != "none"), rows[0], shift)
        scale = torch.where(constant, 1.0, scale)
        return cls(kind, tuple(shift.tolist()), tuple(scale.tolist()))

    def apply(self, values: Tensor) -> Tensor:
        """Scale `values`, in their own type and on their own device.

        Raises:
            InputError: they have other columns than those that were measured.
        """
        shift, scale = self._columns_like(values)
        return (values - shift) / scale

    def undo(self, values: Tensor) -> Tensor:
        """Turn scaled `values` back into the units they were measured in.

        Raises:
            InputError: they have other columns than those that were measured.
        """
        shift, scale = self._columns_like(values)
        return values * scale + shift

    def to_dict(self) -> dict[str, Any]:
        """Return the scaling as strings and lists of floats, which any checkpoint can hold."""
        return {"kind": self.kind, "shift": list(self.shift), "scale": list(self.scale)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Return the scaling that `to_dict` stored."""
        return cls(stored["kind"], tuple(stored["shift"]), tuple(stored["scale"]))

    def _columns_like(self, values: Tensor) -> tuple[Tensor, Tensor]:
        if values.shape[-1:] != (len(self.shift),):
            raise InputError(
                f"this scaling was measured on {len(self.shift)} columns; got values of shape "
                f"{tuple(values.shape)}. Use data with the same columns."
            )
        return values.new_tensor(self.shift), values.new_tensor(self.scale)


def check_kind(name: str, kind: str) -> None:
    """Raise an InputError that names the kinds unless `kind` is one of them."""
    if kind not in KINDS:
        hint = did_you_mean(str(kind), KINDS)
        raise InputError(f"{name} must be one of {', '.join(KINDS)}; got {kind!r}.{hint}")
