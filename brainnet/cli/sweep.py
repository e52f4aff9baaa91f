"""A sweep told at its end: which jobs there were, how they ended, what came of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from brainnet.cli.outcome import BUG, DONE, INTERRUPTED, TERMINATED, TRAINING_FAILED, WRONG_INPUT
from brainnet.errors import InputError
from brainnet.training.run_folder import RunFolder

SWEEP = "multirun.yaml"
# From harmless to grave: input outweighs nothing but success, and a bug of ours all the rest.
GRAVITY = (DONE, WRONG_INPUT, TRAINING_FAILED, BUG, INTERRUPTED, TERMINATED)
SHOWN = ("accuracy/test", "r2/test", "loss/test")


@dataclass(frozen=True, slots=True)
class Ending:
    """How one job ended: its folder, the words that made it differ, its exit code."""

    folder: RunFolder
    words: str
    code: int

    def summary(self) -> dict[str, Any]:
        """What the job wrote of itself; nothing when it never began."""
        try:
            return self.folder.read_summary()
        except InputError:
            return {"state": "not started"}


def worst(endings: Sequence[Ending]) -> int:
    """The gravest exit code; one that is none of ours counts as a bug."""
    codes = (ending.code if ending.code in GRAVITY else BUG for ending in endings)
    return max(codes, key=GRAVITY.index, default=DONE)


def tell_table(endings: Sequence[Ending]) -> None:
    """Show one line for each job on stdout."""
    summaries = [ending.summary() for ending in endings]
    metrics = [summary.get("metrics") or {} for summary in summaries]
    tags = [tag for tag in SHOWN if any(tag in found for found in metrics)]
    table = Table("job", "overrides", "state", *tags, "folder", box=None, pad_edge=False)
    for number, (ending, summary, found) in enumerate(
        zip(endings, summaries, metrics, strict=True)
    ):
        scores = [f"{found[tag]:.4g}" if found.get(tag) is not None else "" for tag in tags]
        state = str(summary["state"])
        table.add_row(str(number), ending.words, state, *scores, str(ending.folder.path))
    console = Console()
    if not console.is_terminal:
        console.width = 200  # a file has no edge to wrap at
    console.print()
    console.print(table)


def tidy(folder: Path) -> None:
    """Take back what Hydra noted of a sweep of which no job began."""
    if folder.is_dir() and [path.name for path in folder.iterdir()] == [SWEEP]:
        (folder / SWEEP).unlink()
