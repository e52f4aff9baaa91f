"""About: what an exported file says of itself, so that it can be read without its run."""

from typing import Any

from brainnet import __version__
from brainnet.answering.trained import Trained
from brainnet.data.columns import Columns
from brainnet.exporting.answering import Answering


def about(trained: Trained, answering: Answering) -> dict[str, Any]:
    """Return where the network came from, what it takes and what its answers mean."""
    preparation = answering.prepared.preparation
    return {
        "brainnet": __version__,
        "run": trained.run.folder.path.name,
        "data": str((trained.config.get("data") or {}).get("name") or trained.config.get("name")),
        "checkpoint": trained.checkpoint.name,
        "task": trained.task,
        "inputs": [raw.told() for raw in answering.inputs],
        "columns": list(preparation.names) if isinstance(preparation, Columns) else [],
        "class_names": list(trained.class_names),
        "target_names": list(trained.target_names),
    }
