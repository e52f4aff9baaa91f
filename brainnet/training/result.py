"""Result: what came of a run, for whoever started it."""

import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

State = Literal["finished", "interrupted"]

# A loss may rise for a while and all be well; not so, where it ends at this many times its start.
_FAR_ABOVE = 10


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came of a run.

    Attributes:
        folder: where it is; None in the second and further processes of a distributed run.
        state: "finished" or "interrupted"; a run that failed raises instead.
        metrics: the last value of each curve, by tag, and those of the test.
        network: with the weights that did best on the validation rows.
        readings: what `observe` saw, one for each look.
        confusion: of the test: rows of each class (row) by the answer they got (column).
        steps: optimizer steps taken.
        seconds: how long it took, all its parts together.
        signal: the number of the signal that interrupted it.
        best: the loss of `network` on the validation rows, the lowest there was; on the training
            rows where none are validated on. None where nothing was learnt yet.
    """

    folder: Path | None
    state: State
    metrics: dict[str, float]
    network: nn.Module = field(repr=False)
    readings: list[Any] = field(default_factory=list, repr=False)
    confusion: Tensor | None = field(default=None, repr=False)
    steps: int = 0
    seconds: float = 0.0
    signal: int | None = None
    best: float | None = None
    untrained_loss: float | None = None

    @property
    def summary(self) -> str:
        """The result in a few lines: what came of it, where it is, how to look at it."""
        values = [f"{tag} {value:.4g}" for tag, value in sorted(self.metrics.items())]
        lines = [
            f"{self.state} after {self.steps:,} steps in {self.seconds:.1f} s",
            *(f"  {value}" for value in values if "/test" in value or self.state != "finished"),
            *self._burst(),
            f"run      {self.folder}",
        ]
        return "\n".join([*lines, f"look     {_tensorboard()} --logdir {shown(self.folder)}"])

    def _burst(self) -> list[str]:
        """What to do where the loss is finite, but far above that of the untrained network."""
        began, ended = self.untrained_loss, self.metrics.get("loss/train", 0.0)
        if began is None or not ended > _FAR_ABOVE * began:
            return []
        return [
            f"the loss ended at {ended:.3g}, it began at {began:.3g}: try a smaller optimizer.lr "
            "(in Python: learning_rate)"
        ]


def shown(path: object) -> str:
    """A path as it can be typed: in quotes where it holds a space."""
    return f'"{path}"' if " " in str(path) else str(path)


def _tensorboard() -> str:
    """The command as this environment has it: by name where it is on the path."""
    if shutil.which("tensorboard"):
        return "tensorboard"
    beside = Path(sys.executable).with_name("tensorboard")
    found = beside if beside.exists() else f"{sys.executable} -m tensorboard.main"
    here = Path.cwd()
    return str(beside.relative_to(here) if found is beside and here in beside.parents else found)
