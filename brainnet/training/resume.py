"""Resume: where a run goes on, and whether it can."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from lightning.pytorch import Trainer
from torch import nn

from brainnet.data.module import DataModule
from brainnet.errors import InputError
from brainnet.training.run_folder import Run
from brainnet.training.stored import (
    OURS,
    SCALING,
    check_weights,
    load_checkpoint,
    load_scaling,
)


@dataclass(frozen=True, slots=True)
class Start:
    """A run that is gone on with, and how far it has come.

    Attributes:
        run: its folder, and the checkpoint where one was named.
        steps: optimizer steps taken.
        epochs: gone through to their end.
        tested: whether it came to its end, test and all.
        metrics: the last value of each curve, by tag; none of a test, which is to come.
    """

    run: Run
    steps: int
    epochs: int
    tested: bool
    metrics: dict[str, float]

    @classmethod
    def find(cls, run: Run, module: nn.Module, data: DataModule) -> Self:
        """Read how far a run has come.

        Args:
            run: the run.
            module: what goes on with it, and takes over its weights.
            data: what it goes on to learn from: the run's own.

        Raises:
            InputError: it holds the weights of another network, its data are no longer the same,
                or it cannot be read.
        """
        checkpoint = load_checkpoint(run.last)
        check_weights(module, checkpoint["state_dict"])
        if checkpoint[OURS].get(SCALING):  # the first runs did not tell
            load_scaling(data, checkpoint, unchanged=True)
        summary = run.folder.read_summary()
        return cls(
            run=run,
            steps=int(checkpoint["global_step"]),
            epochs=_epochs(checkpoint),
            tested=summary.get("state") == "finished",
            metrics=_curves(summary.get("metrics")),
        )

    @property
    def first_step(self) -> int:
        """The first step that is not in the curves of the checkpoint yet."""
        # What the untrained network guesses is logged again where nothing was learnt since.
        return self.steps + 1 if self.steps > 0 else 0

    def check(self, trainer: Trainer) -> None:
        """Raise an InputError where nothing is left to do.

        A run that was stopped in its test, or just before, goes straight to the test.
        """
        most = trainer.max_epochs
        if not self.tested:
            if most is not None and 0 <= most < self.epochs:
                raise InputError(_too_far("gone through", self.epochs, most, "epochs"))
            if 0 <= trainer.max_steps < self.steps:
                raise InputError(_too_far("taken", self.steps, trainer.max_steps, "steps"))
            return
        if most is not None and 0 <= most <= self.epochs:
            raise InputError(_nothing_left("gone through", self.epochs, "epochs"))
        if 0 <= trainer.max_steps <= self.steps:
            raise InputError(_nothing_left("taken", self.steps, "steps"))


def _nothing_left(did: str, number: int, what: str) -> str:
    return (
        f"this run has {did} all of its {number} {what}; there is nothing to go on with. "
        f"Set trainer.max_{what}={2 * number} to train it longer."
    )


def _too_far(did: str, number: int, most: int, what: str) -> str:
    return (
        f"this run has {did} {number} {what} already, more than trainer.max_{what}={most}. Leave "
        f"that out, or set trainer.max_{what}={2 * number} to train it longer."
    )


def _epochs(checkpoint: Mapping[str, Any]) -> int:
    try:
        return int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(
            "the checkpoint does not say how far its run has come, so that it cannot be gone on "
            "with. Use the last.ckpt of a run."
        ) from error


def _curves(metrics: object) -> dict[str, float]:
    # One that was not finite stands in a summary as null.
    return {
        tag: float(value)
        for tag, value in (metrics.items() if isinstance(metrics, Mapping) else ())
        if isinstance(value, int | float) and not tag.endswith("/test")
    }
