"""Own rows: those that a stored run learnt from, loaded, split and scaled again as it did."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from brainnet.building.build import Build
from brainnet.building.data import data_from
from brainnet.building.targets import Consent, allowed_roots
from brainnet.data.module import DataModule, Part
from brainnet.data.notes import told_before
from brainnet.data.scaling import Scaling
from brainnet.data.wording import as_names
from brainnet.errors import InputError

PARTS: tuple[Part, ...] = ("train", "validation", "test")

_ROWS_AT_ONCE = 16_384


@dataclass(frozen=True, eq=False)
class OwnRows:
    """The rows of a run, read when they are asked for.

    Attributes:
        config: of the run.
        learnt: what its checkpoint tells of the data; see `DataModule.state_dict`.
        scaling: how the inputs were scaled.
        target_scaling: how the numbers to predict were scaled.
        consent: which classes the run may name, beside the built-in ones; those of the environment
            variable BRAINNET_ALLOW where None.
    """

    config: Mapping[str, Any]
    learnt: Mapping[str, Any]
    scaling: Scaling
    target_scaling: Scaling
    consent: Consent | None = None

    @property
    def data(self) -> DataModule:
        """The rows, split and scaled as the run did.

        Raises:
            InputError: they were handed over in Python and are not stored, or are gone.
        """
        return self._read[0]

    @property
    def changed(self) -> bool:
        """Whether the data hold other rows than those of the run."""
        return self._read[1]

    @cached_property
    def missing(self) -> str | None:
        """Why the rows cannot be had again; None where they can."""
        try:
            return None if len(self.data.dataset) else "there are none"
        except InputError as error:
            return str(error)

    @property
    def target_columns(self) -> list[str]:
        """The columns of a table that hold the right answers, where the run learnt from one."""
        return as_names(self._described.get("target"))

    def part_of(self, number: int) -> Part:
        """What the run used the row of this number for."""
        return next(part for part in PARTS if bool((self.data.numbers(part) == number).any()))

    def training(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the numbers of the training rows, and their inputs (rows, inputs), scaled."""
        for numbers in self.data.numbers("train").split(_ROWS_AT_ONCE):
            yield numbers, self.data.gathered(numbers)[0]

    def note(self) -> str | None:
        """How the rows are counted, where the files hold others, or several do."""
        if self.changed:
            return (
                "The data have changed since the run: its training rows are others now, and so "
                "may be what it used this row for."
            )
        told: list[str] = []
        if self.data.dataset.left_out:
            left_out = self.data.dataset.left_out
            are = "1 row is" if left_out == 1 else f"{left_out:,} rows are"
            told.append(f"{are} not counted: the run left out what has an empty cell.")
        if self._described.get("validation_path") or self._described.get("test_path"):
            told.append("The files are counted through: for training, validation, test.")
        return " ".join(told) or None

    @property
    def _described(self) -> Mapping[str, Any]:
        return self.config.get("data") or {}

    @cached_property
    def _read(self) -> tuple[DataModule, bool]:
        """The rows, and whether they changed since the run."""
        if self._described.get("_target_") is None:
            raise InputError(
                f"the rows of this run ({self._described.get('name', 'arrays')}) were handed over "
                "in Python and are not stored. A row can still be explained: with --input FILE "
                "from a file of the same columns, in Python with explain(trained, row=ROW)."
            )
        build = Build(self.consent or Consent(roots=allowed_roots()))
        with told_before():
            data = data_from(self.config, build)
        if data.inputs != len(self.scaling.shift):
            raise InputError(
                f"{data.dataset.name} has {data.inputs} inputs now, and the network learnt from "
                f"{len(self.scaling.shift)}: the data have changed since the run."
            )
        return data, not self._scaled_as_then(data)

    def _scaled_as_then(self, data: DataModule) -> bool:
        """Scale rows as the run did; returns whether they are still the same."""
        told = {
            **self.learnt,
            "scaling": self.scaling.to_dict(),
            "target_scaling": self.target_scaling.to_dict(),
        }
        same = _alike(data.scaling, self.scaling)
        data.scale_as(told)
        try:
            data.check_unchanged(told)
        except InputError:
            return False
        return same


def _alike(one: Scaling, other: Scaling) -> bool:
    """Whether the same rows were measured, give or take the rounding of another machine."""
    numbers = [(*each.shift, *each.scale) for each in (one, other)]
    return one.kind == other.kind and all(
        math.isclose(mine, theirs, rel_tol=1e-4, abs_tol=1e-6)
        for mine, theirs in zip(*numbers, strict=True)
    )
