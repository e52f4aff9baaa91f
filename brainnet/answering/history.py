"""History: how a stored run learned, and what was seen meanwhile, as its folder tells."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from brainnet.observation.reading import Reading
from brainnet.observation.recording import NAME, read_recording
from brainnet.portrait.subject import Facts
from brainnet.structure.anatomy import places
from brainnet.training.run_folder import RunFolder
from brainnet.training.stored import NETWORK


@dataclass(frozen=True, slots=True)
class History:
    """What a run left behind beside its weights, read when it is asked for.

    Attributes:
        folder: of the run.
        config: of the run.
        checkpoint: the file of the weights.
    """

    folder: RunFolder
    config: Mapping[str, Any]
    checkpoint: Path

    @property
    def name(self) -> str:
        """What the run is called: its folder."""
        return str(self.folder.path)

    def facts(self) -> Facts:
        """What configuration and summary say of how the network learned."""
        summary: dict[str, Any] = self.folder.read_summary() if self.folder.began else {}
        optimizer = self.config.get("optimizer") or {}
        schedule = self.config.get("schedule") or {}
        metrics = {
            tag: value
            for tag, value in (summary.get("metrics") or {}).items()
            if isinstance(value, int | float)
        }
        return Facts(
            name=self.name,
            checkpoint=self.checkpoint.name,
            optimizer=_last_word(optimizer.get("_target_") or optimizer.get("function")),
            learning_rate=optimizer.get("lr"),
            schedule=_last_word(schedule.get("_target_") or schedule.get("function")),
            batch_size=(self.config.get("data") or {}).get("batch_size"),
            steps=summary.get("steps"),
            epochs=summary.get("epochs"),
            metrics=metrics,
            failure=summary.get("reason") if summary.get("state") == "failed" else None,
        )

    def readings(self, network: nn.Module) -> tuple[Reading, ...]:
        """What was seen of the network during training; empty where nobody looked."""
        if not (self.folder.path / NAME).exists():
            return ()
        # The module that trains has the network in it, and its layers by such names.
        own = {f"{NETWORK}{place.name}": place.name for place in places(network)}
        return tuple(
            replace(
                reading,
                layers=tuple(
                    replace(layer, place=own.get(layer.place, layer.place))
                    for layer in reading.layers
                ),
            )
            for reading in read_recording(self.folder.path)
        )


def _last_word(path: object) -> str | None:
    return None if path is None else str(path).rpartition(".")[2]
