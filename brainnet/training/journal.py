"""Journal: what a run says about itself in its folder, from its first second to its end."""

import signal
import time
from collections.abc import Mapping
from typing import Any

from brainnet.training.run_folder import RunFolder


class Journal:
    """Keeps `config.yaml` and `summary.json`.

    Over several processes only the first has a folder; in the others nothing is written.

    Args:
        folder: the run's, already made; None in a process that writes nothing.
        config: what is run, resolved.
        about: what else there is to say about it from the start.
        resumed: whether the folder holds an earlier part of the same run.
    """

    def __init__(
        self,
        folder: RunFolder | None,
        config: Mapping[str, Any],
        about: Mapping[str, Any],
        *,
        resumed: bool = False,
    ) -> None:
        self.folder = folder
        self.config = config
        self.steps = 0
        self.epochs = 0
        self.metrics: dict[str, float] = {}
        earlier = folder.read_summary() if folder and resumed else {}
        self._start = time.monotonic() - float(earlier.get("seconds") or 0.0)
        self._about = dict(about)
        if folder is not None:
            folder.write_config(config)
            self.write("running")

    @property
    def seconds(self) -> float:
        """How long the run has taken, all its parts together."""
        return time.monotonic() - self._start

    def write(self, state: str, **more: object) -> None:
        """Write the summary as of now."""
        if self.folder is None:
            return
        self.folder.write_summary(
            {
                "state": state,
                **more,
                "metrics": dict(sorted(self.metrics.items())),
                "steps": self.steps,
                "epochs": self.epochs,
                "seconds": round(self.seconds, 3),
                **self._about,
            }
        )

    def leave(self, number: int) -> None:
        """Say that a second signal ended the run on the spot."""
        self.write("interrupted", signal=signal.Signals(number).name)
