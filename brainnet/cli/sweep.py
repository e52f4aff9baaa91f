"""A sweep told at its end: which jobs there were, how they ended, what came of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from brainnet.cli.outcome import BUG, DONE, INTERRUPTED, TERMINATED, TRAINING_FAILED, WRONG_INPUT
from brainnet.errors import InputError
from brainnet.figures import figure
from brainnet.training.run_folder import RunFolder

SWEEP = "multirun.yaml"
# From harmless to grave: input outweighs nothing but success, and a bug of ours all the rest.
GRAVITY = (DONE, WRONG_INPUT, TRAINING_FAILED, BUG, INTERRUPTED, TERMINATED)
SHOWN = ("accuracy/test", "r2/test", "loss/test")


@dataclass(frozen=True, slots=True)
class Ending:
    """How one job ended.

    Attributes:
        folder: its own.
        words: that it was run with.
        code: its exit code.
        metric: what a sweep is judged by, the lowest validation loss of the job; None where there
            is none.
    """

    folder: RunFolder
    words: tuple[str, ...]
    code: int
    metric: float | None = None

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


def best(endings: Sequence[Ending]) -> int | None:
    """Which job had the lowest validation loss, the first of several; None where none has one."""
    known = {
        number: ending.metric
        for number, ending in enumerate(endings)
        if ending.metric is not None and math.isfinite(ending.metric)
    }
    return min(known, key=lambda number: known[number], default=None)


def tell_table(endings: Sequence[Ending]) -> None:
    """Show on stdout what all jobs have in common, a line for each with what differs, the best."""
    if not endings:
        return
    common = [word for word in endings[0].words if all(word in each.words for each in endings)]
    place = _common_folder([ending.folder.path for ending in endings])
    summaries = [ending.summary() for ending in endings]
    metrics = [summary.get("metrics") or {} for summary in summaries]
    tags = [tag for tag in SHOWN if any(tag in found for found in metrics)]
    # Words are the user's: a bracket in them is no markup, and none of them is cut.
    folded = [Column(name, overflow="fold") for name in ("overrides", "state", *tags, "folder")]
    table = Table(Column("job", no_wrap=True), *folded, box=None, pad_edge=False)
    winner = best(endings) if len(endings) > 1 else None
    for number, (ending, summary, found) in enumerate(
        zip(endings, summaries, metrics, strict=True)
    ):
        own = " ".join(word for word in ending.words if word not in common)
        scores = [f"{found[tag]:.4g}" if found.get(tag) is not None else "" for tag in tags]
        job = f"{number} *" if number == winner else number
        cells = (job, own, summary["state"], *scores, ending.folder.path.relative_to(place))
        table.add_row(*(Text(str(cell)) for cell in cells))
    console = Console(highlight=False)
    console.print()
    for name, words in (("all jobs", " ".join(common)), ("folder", str(place))):
        if words:
            console.print(Text(f"{name}: {words}"), soft_wrap=True)
    with console.capture() as drawn:
        console.print(table)
    console.file.writelines(f"{line.rstrip()}\n" for line in drawn.get().splitlines())
    if winner is not None:
        loss = figure(endings[winner].metric)
        console.print(Text(f"* the best: job {winner}, whose validation loss was lowest, {loss}"))


def tidy(folder: Path) -> None:
    """Take back what Hydra noted of a sweep of which no job began."""
    if folder.is_dir() and [path.name for path in folder.iterdir()] == [SWEEP]:
        (folder / SWEEP).unlink()


def _common_folder(paths: Sequence[Path]) -> Path:
    """The deepest folder that holds all of them."""
    return next(
        folder for folder in paths[0].parents if all(folder in path.parents for path in paths)
    )
